//! The file that the program was started from, as it is now.
//!
//! Whoever deploys replaces it. What runs stays what it is until an operator asks for a reload or
//! a restart; a crash never picks up a new file.

use std::io;
use std::path::PathBuf;

use crate::sys::{self, Image, Stamp};

#[derive(Debug)]
pub(super) struct OnDisk {
    /// `None`: the system does not tell.
    path: Option<PathBuf>,
    told: Standing,
}

/// How the file stands to the image that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Same,
    Other(Stamp),
    Gone,
}

impl OnDisk {
    pub(super) fn find() -> OnDisk {
        OnDisk::at(sys::path_on_disk().ok())
    }

    pub(super) fn at(path: Option<PathBuf>) -> OnDisk {
        OnDisk {
            path,
            told: Standing::Same,
        }
    }

    /// The file, opened, if it is another one than the image with this stamp. A file that is gone
    /// is none to move to.
    pub(super) fn other_than(&self, running: Stamp) -> io::Result<Option<Image>> {
        match (&self.path, self.standing(running)) {
            (Some(path), Standing::Other(_)) => Image::open(path).map(Some),
            (_, Standing::Same | Standing::Gone | Standing::Other(_)) => Ok(None),
        }
    }

    /// What is worth telling about the file: once for each time that it changed.
    pub(super) fn news(&mut self, running: Stamp) -> Option<String> {
        let standing = self.standing(running);
        if std::mem::replace(&mut self.told, standing) == standing {
            return None;
        }
        let path = self.path.as_deref()?.display();
        match standing {
            Standing::Same => None,
            Standing::Other(_) => Some(format!(
                "the file {path} is not the one that runs; `reload` or `restart clean` moves to it"
            )),
            Standing::Gone => Some(format!(
                "the file {path} is gone; workers are started from the image that runs"
            )),
        }
    }

    fn standing(&self, running: Stamp) -> Standing {
        let Some(path) = &self.path else {
            return Standing::Same;
        };
        match Stamp::at(path) {
            Ok(stamp) if stamp == running => Standing::Same,
            Ok(stamp) => Standing::Other(stamp),
            Err(_) => Standing::Gone,
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_changes_is_told_once_and_opened_as_it_is_then() {
        let folder = std::env::temp_dir().join(format!("session-on-disk-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, next) = (folder.join("program"), folder.join("next"));
        fs::write(&path, "one").unwrap();
        let running = Image::open(&path).unwrap().stamp();
        let mut on_disk = OnDisk::at(Some(path.clone()));
        assert_eq!(on_disk.news(running), None);
        assert!(on_disk.other_than(running).unwrap().is_none());

        fs::write(&next, "two").unwrap();
        fs::rename(&next, &path).unwrap();
        let told = on_disk.news(running).unwrap();
        assert!(told.contains("is not the one that runs"), "{told}");
        assert_eq!(on_disk.news(running), None);
        let other = on_disk.other_than(running).unwrap().unwrap();
        assert_ne!(other.stamp(), running);

        fs::remove_file(&path).unwrap();
        let told = on_disk.news(running).unwrap();
        assert!(told.contains("is gone"), "{told}");
        assert!(on_disk.other_than(running).unwrap().is_none());

        // A folder in its place is no image, and neither is a pipe, which is not waited for.
        fs::create_dir(&path).unwrap();
        assert!(on_disk.other_than(running).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_link_that_points_at_another_release_is_another_file() {
        let folder = std::env::temp_dir().join(format!("session-link-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for release in ["1", "2"] {
            fs::create_dir_all(folder.join(release)).unwrap();
            fs::write(folder.join(release).join("program"), release).unwrap();
        }
        let link = folder.join("current");
        std::os::unix::fs::symlink("1", &link).unwrap();
        let on_disk = OnDisk::at(Some(link.join("program")));
        let running = Image::open(&link.join("program")).unwrap().stamp();
        assert!(on_disk.other_than(running).unwrap().is_none());
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("2", &link).unwrap();
        assert!(on_disk.other_than(running).unwrap().is_some());
        fs::remove_dir_all(&folder).unwrap();
    }
}
