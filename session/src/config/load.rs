//! Reading the configuration file.

use std::fmt::{self, Display};
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
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
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::EOPNOTSUPP)) => {
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
    let bytes = contents(file).map_err(unreadable)?;
    let config = parse(&bytes, &name).map_err(LoadError::Invalid)?;
    Ok(Loaded {
        config,
        found: true,
        warnings: warnings(path, metadata.permissions().mode()),
    })
}

/// The file may still grow. One byte past the limit tells one that does from one that fits.
fn contents(file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opening must neither wait for the other end of a FIFO nor make a terminal ours. (That no worker
/// inherits the file is the standard library's doing.)
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
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
    crate::text::escape(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
#[cfg_attr(miri, allow(unused_imports, dead_code))]
mod tests {
    use super::*;
    use std::error::Error as _;
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;
    use std::time::Duration;
    use std::{process, thread};

    /// Far more than a refusal takes on a busy machine, far less than a wait for somebody else or
    /// the reading of an endless file.
    const DEADLINE: Duration = Duration::from_secs(5);

    /// A folder of one test, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("session-load-{}-{test}", process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The error as the operator reads it, without the folder. It is the same whether the file was
    /// named or not, once there is something.
    fn refused(folder: &Folder, path: &Path) -> String {
        let [error, other] = [false, true].map(|explicit| {
            let error = load_in_time(path, explicit).unwrap_err();
            match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            }
        });
        assert_eq!(error, other);
        error.replace(&format!("{}/", folder.0.display()), "")
    }

    /// On a thread of its own, so that a load which waits fails its test instead of holding it.
    fn load_in_time(path: &Path, explicit: bool) -> Result<Loaded, LoadError> {
        let (sender, receiver) = mpsc::channel();
        let path = path.to_owned();
        thread::spawn(move || {
            // A test that has given up hears no more.
            let _ = sender.send(load(&path, explicit));
        });
        receiver
            .recv_timeout(DEADLINE)
            .expect("a load that does not wait")
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads files")]
    fn a_file_is_read() {
        let folder = Folder::new("read");
        let path = folder.file("c.json", r#"{ "pollingIntervalSeconds": 7 }"#, 0o644);
        let link = folder.0.join("link.json");
        symlink("c.json", &link).unwrap();
        for path in [path, link] {
            let loaded = load(&path, false).unwrap();
            assert_eq!(loaded.config.polling_interval, Duration::from_secs(7));
            assert!(loaded.found && loaded.warnings.is_empty());
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads files")]
    fn only_a_file_that_was_named_must_be_there() {
        let folder = Folder::new("absent");
        let path = folder.0.join("c.json");
        let loaded = load(&path, false).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(!loaded.found && loaded.warnings.is_empty());
        let error = load(&path, true).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot read `{}`", path.display())
        );
        assert!(
            error
                .source()
                .is_some_and(|source| source.to_string().starts_with("No such file"))
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads files")]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = Folder::new("kinds");
        let at = |name: &str| folder.0.join(name);
        fs::create_dir(at("folder")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("gone.json", at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for (name, expected) in [
            (
                "folder",
                "`folder`: expected a regular file, found a directory",
            ),
            ("fifo", "`fifo`: expected a regular file, found a FIFO"),
            (
                "socket",
                "`socket`: expected a regular file, found a socket, or a device that is not there",
            ),
            (
                "zero",
                "`zero`: expected a regular file, found a character device",
            ),
            (
                "dangling",
                "`dangling`: expected a regular file, found a symbolic link to `gone.json`, which does not exist",
            ),
            (
                "loop",
                "cannot read `loop`: Too many levels of symbolic links (os error 40)",
            ),
            (
                "fifo/c.json",
                "cannot read `fifo/c.json`: Not a directory (os error 20)",
            ),
        ] {
            assert_eq!(refused(&folder, &at(name)), expected);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads files")]
    fn a_file_that_may_not_be_read_is_refused() {
        let folder = Folder::new("unreadable");
        let path = folder.file("c.json", "{}", 0o000);
        // Root reads it all the same.
        if File::open(&path).is_err() {
            let expected = "cannot read `c.json`: Permission denied (os error 13)";
            assert_eq!(refused(&folder, &path), expected);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads files")]
    fn a_file_as_long_as_the_limit_is_read() {
        let folder = Folder::new("long");
        let content = format!("{{{}}}", " ".repeat(MAX_BYTES - 2));
        let path = folder.file("c.json", &content, 0o644);
        assert_eq!(load(&path, true).unwrap().config, Config::default());
    }

    #[test]
    fn a_file_that_grows_is_read_one_byte_past_the_limit() {
        let past = MAX_BYTES + 1;
        for (length, read) in [
            (0, 0),
            (MAX_BYTES, MAX_BYTES),
            (past, past),
            (past * 8, past),
        ] {
            let file = io::repeat(b' ').take(length as u64);
            assert_eq!(contents(file).unwrap().len(), read, "{length}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads files")]
    fn a_huge_file_is_refused_unread() {
        let folder = Folder::new("huge");
        let path = folder.file("c.json", "", 0o644);
        for length in [MAX_BYTES as u64 + 1, 100 << 20, 1 << 40] {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(length)
                .unwrap();
            let expected = format!(
                "c.json:1:1: top level: expected at most {MAX_BYTES} bytes, found {length}"
            );
            assert_eq!(refused(&folder, &path), expected);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads files")]
    fn the_faults_of_a_file_name_it() {
        let folder = Folder::new("faults");
        let path = folder.file("c.json", r#"{ "spare": 1 }"#, 0o644);
        let expected = "c.json:1:12: spare: expected `false`, found `1` (a spare is not built yet)";
        assert_eq!(refused(&folder, &path), expected);
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads files")]
    fn a_file_that_others_can_change_is_read_with_a_warning() {
        let folder = Folder::new("modes");
        for (mode, who) in [
            (0o600, None),
            (0o644, None),
            (0o755, None),
            (0o664, Some("(mode 664) can be changed by its group")),
            (0o646, Some("(mode 646) can be changed by everyone")),
            (0o666, Some("(mode 666) can be changed by everyone")),
        ] {
            let path = folder.file("c.json", "{}", mode);
            let loaded = load(&path, true).unwrap();
            let warning = loaded.warnings.first().map(String::as_str);
            assert_eq!(
                loaded.warnings.len(),
                usize::from(who.is_some()),
                "{mode:o}"
            );
            assert!(
                who.is_none_or(|who| warning.is_some_and(|text| text.contains(who))),
                "{mode:o}"
            );
        }
    }
}
