//! Reading the configuration file.

use std::fmt::{self, Display};
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::limits::MAX_BYTES;
use super::{Config, Faults, parse, text};

/// A configuration, and what there is to say about its file.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// False if there was no file, so that the configuration is the default one.
    pub(crate) found: bool,
    pub(crate) warnings: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The file cannot be opened or read.
    Read { path: PathBuf, source: io::Error },
    /// The file is there, but is no file that a configuration could stand in.
    Unfit { path: PathBuf, found: String },
    /// The file was read, and this is wrong with it.
    Invalid(Faults),
}

impl Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Read { path, .. } => write!(out, "cannot read `{}`", shown(path)),
            LoadError::Unfit { path, found } => {
                write!(
                    out,
                    "`{}`: expected a regular file, found {found}",
                    shown(path)
                )
            }
            LoadError::Invalid(faults) => faults.fmt(out),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoadError::Read { source, .. } => Some(source),
            LoadError::Unfit { .. } | LoadError::Invalid(_) => None,
        }
    }
}

/// Reads the file at `path`. If it was not named (`explicit`), it may be absent.
pub(crate) fn load(path: &Path, explicit: bool) -> Result<Loaded, LoadError> {
    let unreadable = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let unfit = |found| LoadError::Unfit {
        path: path.to_owned(),
        found,
    };
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link shows that a file was meant to be there, so it is never taken for none.
            if let Ok(target) = fs::read_link(path) {
                let target = shown(&target);
                return Err(unfit(format!(
                    "a symbolic link to `{target}`, which does not exist"
                )));
            }
            if explicit {
                return Err(unreadable(error));
            }
            return Ok(Loaded {
                config: Config::default(),
                found: false,
                warnings: Vec::new(),
            });
        }
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            return Err(unfit(String::from(
                "a socket, or a device that is not there",
            )));
        }
        Err(error) => return Err(unreadable(error)),
    };

    // All that follows asks the open file, never the name, which may by now lead elsewhere.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unfit(kind(metadata.file_type()).to_owned()));
    }
    let name = path.to_string_lossy();
    if metadata.len() > MAX_BYTES as u64 {
        let fault = text::too_long(metadata.len());
        return Err(LoadError::Invalid(Faults::one(&name, fault)));
    }
    let mut bytes = Vec::new();
    // The file may still grow. One byte past the limit tells one that does from one that fits.
    let limit = MAX_BYTES as u64 + 1;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    let config = parse(&bytes, &name).map_err(LoadError::Invalid)?;
    Ok(Loaded {
        config,
        found: true,
        warnings: warnings(path, metadata.permissions().mode()),
    })
}

/// Opening must neither wait for the other end of a FIFO nor make a terminal ours.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn warnings(path: &Path, mode: u32) -> Vec<String> {
    let path = shown(path);
    let who = match (mode & 0o020 != 0, mode & 0o002 != 0) {
        (_, true) => "everyone",
        (true, false) => "its group",
        (false, false) => return Vec::new(),
    };
    let mode = mode & 0o777;
    vec![format!(
        "`{path}` (mode {mode:03o}) can be changed by {who}; take that away with `chmod go-w`"
    )]
}

fn kind(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_char_device() {
        "a character device"
    } else if kind.is_block_device() {
        "a block device"
    } else {
        "a special file"
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
