//! A folder of our own in the temporary directory, gone when it is dropped.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// Only for us: models are loaded from it.
const MODE: u32 = 0o700;

/// A temporary folder.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder; its name begins with `prefix`.
    ///
    /// # Errors
    /// When the temporary directory cannot be written to.
    pub fn new(prefix: &str) -> io::Result<Self> {
        let path =
            std::env::temp_dir().join(format!("{prefix}-{}-{:08x}", std::process::id(), fastrand::u32(..)));
        // Not recursive: a folder that is there already is somebody else's.
        DirBuilder::new().mode(MODE).create(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file below it, folders included. Whoever reads it meanwhile sees the old or the new content, never half.
    ///
    /// # Errors
    /// When the disk is full or the folder is gone.
    pub fn write(&self, file: &str, content: &[u8]) -> io::Result<()> {
        let target = self.path.join(file);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        if target.is_dir() {
            fs::remove_dir(&target)?;
        }
        let beside = target.with_extension("new");
        fs::write(&beside, content)?;
        fs::rename(beside, target)
    }

    /// Takes away a file below it; one that is not there is gone already.
    ///
    /// # Errors
    /// When the folder is not ours any more.
    pub fn remove(&self, file: &str) -> io::Result<()> {
        let target = self.path.join(file);
        let removed = if target.is_dir() { fs::remove_dir(target) } else { fs::remove_file(target) };
        removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    }

    /// Puts an empty folder in the place of a file: whoever reads it gets an error.
    ///
    /// # Errors
    /// When the disk is full or the folder is gone.
    pub fn obstruct(&self, file: &str) -> io::Result<()> {
        self.remove(file)?;
        fs::create_dir_all(self.path.join(file))
    }

    /// Lets a name below it stand for something elsewhere.
    ///
    /// # Errors
    /// When the name is taken or the folder is gone.
    pub fn link(&self, name: &str, to: &Path) -> io::Result<()> {
        let target = self.path.join(name);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        symlink(to, target)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays until the system clears its temporary directory.
        drop(fs::remove_dir_all(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_goes_with_its_owner_and_leaves_what_it_links_to() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "kept").unwrap();
        let scratch = Scratch::new("tidegate-test").unwrap();
        let path = scratch.path().to_owned();
        scratch.write("a/b.txt", b"one").unwrap();
        scratch.write("a/b.txt", b"two").unwrap();
        scratch.obstruct("a/b.txt").unwrap();
        assert!(fs::read(path.join("a/b.txt")).is_err());
        scratch.remove("a/b.txt").unwrap();
        scratch.remove("a/b.txt").unwrap();
        scratch.obstruct("a/b.txt").unwrap();
        scratch.write("a/b.txt", b"two").unwrap();
        scratch.link("c/elsewhere", outside.path()).unwrap();
        assert_eq!(fs::read(path.join("a/b.txt")).unwrap(), b"two");
        assert_eq!(fs::read(path.join("c/elsewhere/kept")).unwrap(), b"kept");
        drop(scratch);
        assert!(!path.try_exists().unwrap());
        assert!(outside.path().join("kept").try_exists().unwrap());
    }
}
