//! The executable that spawns run.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The running executable, pinned: what is spawned stays the same file, whatever happens to the
/// path on disk.
#[derive(Debug)]
pub(crate) struct Image {
    /// Keeps the descriptor in `path` open; `None` where there is no `/proc`.
    file: Option<File>,
    path: PathBuf,
    identity: (u64, u64),
}

impl Image {
    pub(crate) fn open_running() -> io::Result<Image> {
        if let Ok(file) = File::open(RUNNING) {
            let identity = identity_of(&file.metadata()?);
            let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            return Ok(Image {
                file: Some(file),
                path,
                identity,
            });
        }
        let path = std::path::absolute(path_at_start()?)?;
        let identity = identity_of(&path.metadata()?);
        Ok(Image {
            file: None,
            path,
            identity,
        })
    }

    /// What to give to `exec`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Does a replaced file on disk not matter? Only where `/proc` lets the file be pinned.
    pub(crate) fn is_pinned(&self) -> bool {
        self.file.is_some()
    }
}

const RUNNING: &str = "/proc/self/exe";

/// Device and inode of the executable that this process runs.
pub(crate) fn executable_identity() -> io::Result<(u64, u64)> {
    let data =
        std::fs::metadata(RUNNING).or_else(|_| path_at_start().and_then(std::fs::metadata))?;
    Ok(identity_of(&data))
}

/// The program's name as its user knows it: the last part of `argv[0]`.
pub(crate) fn executable_name() -> Option<String> {
    let first = std::env::args_os().next()?;
    let name = Path::new(&first).file_name().map(OsStr::to_string_lossy)?;
    Some(name.into_owned())
}

fn identity_of(data: &std::fs::Metadata) -> (u64, u64) {
    (data.dev(), data.ino())
}

/// The path that `execve` was given, from the auxiliary vector: right even without `/proc`, and
/// where `argv[0]` is anything at all.
#[cfg(target_os = "linux")]
fn path_at_start() -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: `getauxval` only reads the auxiliary vector.
    let address = unsafe { libc::getauxval(libc::AT_EXECFN) };
    if address == 0 {
        return std::env::current_exe();
    }
    // SAFETY: AT_EXECFN is the address of a NUL-terminated string that lives as long as the
    // process.
    let text = unsafe { std::ffi::CStr::from_ptr(address as *const libc::c_char) };
    Ok(PathBuf::from(OsStr::from_bytes(text.to_bytes())))
}

#[cfg(not(target_os = "linux"))]
fn path_at_start() -> io::Result<PathBuf> {
    std::env::current_exe()
}
