//! The root below which everything lies, and the numbered folders of a class.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::io::sysfs::file::SysfsError;

/// Reads the small files of Linux.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
}

impl Sysfs {
    /// Below this root: `/` on a device.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(in crate::io::sysfs) fn path(&self, file: &str) -> PathBuf {
        self.root.join(file.trim_start_matches('/'))
    }

    /// The folders of a class with a name and a number, in the order of the numbers; empty where there is no such class.
    pub(in crate::io::sysfs) fn numbered(
        &self,
        class: &str,
        name: &str,
        most: usize,
    ) -> Result<Vec<PathBuf>, SysfsError> {
        let folder = self.path(class);
        let number = |entry: &str| entry.strip_prefix(name)?.parse::<u32>().ok();
        let mut numbers: Vec<u32> = names(&folder)?.iter().filter_map(|entry| number(entry)).collect();
        numbers.sort_unstable();
        numbers.truncate(most);
        Ok(numbers.iter().map(|number| folder.join(format!("{name}{number}"))).collect())
    }

    /// All folders of a class in the order of their names; empty where there is no such class.
    pub(in crate::io::sysfs) fn named(&self, class: &str, most: usize) -> Result<Vec<PathBuf>, SysfsError> {
        let folder = self.path(class);
        let mut names = names(&folder)?;
        names.sort_unstable();
        names.truncate(most);
        Ok(names.iter().map(|name| folder.join(name)).collect())
    }
}

fn names(folder: &Path) -> Result<Vec<String>, SysfsError> {
    match fs::read_dir(folder) {
        Ok(entries) => {
            Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str().map(str::to_owned)).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(SysfsError::Read { path: folder.to_owned(), source }),
    }
}
