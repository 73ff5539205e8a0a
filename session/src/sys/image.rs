//! The executable that spawns run.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An executable, pinned: what is spawned stays the same file, whatever happens to its path.
#[derive(Debug)]
pub(crate) struct Image {
    /// Keeps the descriptor in `path` open; `None` where there is no `/proc`.
    file: Option<File>,
    path: PathBuf,
    stamp: Stamp,
}

/// What tells one file from another that has taken its path, or was written over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl Image {
    pub(crate) fn open_running() -> io::Result<Image> {
        if let Ok(file) = File::open(RUNNING) {
            return Image::pin(file);
        }
        Image::unpinned(std::path::absolute(path_at_start()?)?)
    }

    /// The executable at this path, whatever it is now. Anything but a plain file is refused
    /// unread.
    pub(crate) fn open(path: &Path) -> io::Result<Image> {
        // A named pipe would otherwise hold this thread until somebody writes to it.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no plain file"));
        }
        match Path::new(RUNNING).exists() {
            true => Image::pin(file),
            false => Image::unpinned(path.to_owned()),
        }
    }

    fn pin(file: File) -> io::Result<Image> {
        let stamp = Stamp::of(&file.metadata()?);
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Image {
            file: Some(file),
            path,
            stamp,
        })
    }

    fn unpinned(path: PathBuf) -> io::Result<Image> {
        let stamp = Stamp::of(&path.metadata()?);
        Ok(Image {
            file: None,
            path,
            stamp,
        })
    }

    /// A copy that only this process has: for a file that may not be executed any more. It has an
    /// identity of its own and the stamp of the file.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn copy_to_memory(&self) -> io::Result<Image> {
        use std::io::Seek;
        use std::os::fd::{FromRawFd, OwnedFd};
        let mut file = self
            .file
            .as_ref()
            .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        // SAFETY: the name is a NUL-terminated string that outlives the call.
        let raw = unsafe { libc::memfd_create(c"session".as_ptr(), libc::MFD_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so the descriptor is open, and nobody else has it.
        let mut copy = File::from(unsafe { OwnedFd::from_raw_fd(raw) });
        file.rewind()?;
        io::copy(&mut file, &mut copy)?;
        // What is open for writing cannot be executed: the copy is opened anew, for reading.
        let copy = File::open(format!("/proc/self/fd/{}", copy.as_raw_fd()))?;
        Ok(Image {
            stamp: self.stamp,
            ..Image::pin(copy)?
        })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn copy_to_memory(&self) -> io::Result<Image> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What to give to `exec`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode of what is executed.
    pub(crate) fn identity(&self) -> io::Result<(u64, u64)> {
        let data = match &self.file {
            Some(file) => file.metadata()?,
            None => self.path.metadata()?,
        };
        Ok(identity_of(&data))
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Does a replaced file on disk not matter? Only where `/proc` lets the file be pinned.
    pub(crate) fn is_pinned(&self) -> bool {
        self.file.is_some()
    }
}

impl Stamp {
    /// Of the file at this path.
    pub(crate) fn at(path: &Path) -> io::Result<Stamp> {
        path.metadata().map(|data| Stamp::of(&data))
    }

    fn of(data: &Metadata) -> Stamp {
        Stamp {
            device: data.dev(),
            inode: data.ino(),
            modified: (data.mtime(), data.mtime_nsec()),
        }
    }
}

/// Where the program was started from, links left as they are, so that one that is pointed at
/// another release is seen.
pub(crate) fn path_on_disk() -> io::Result<PathBuf> {
    let path = path_at_start()?;
    // Started by descriptor: only the kernel knows a name for it.
    if path.starts_with("/proc") || path.starts_with("/dev/fd") {
        return std::env::current_exe();
    }
    std::path::absolute(path)
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

fn identity_of(data: &Metadata) -> (u64, u64) {
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
