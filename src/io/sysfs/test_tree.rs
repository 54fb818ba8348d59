//! Fake roots for tests.

use std::fs;

use crate::io::sysfs::Sysfs;

/// A fake root with these files.
pub(in crate::io::sysfs) fn tree(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Sysfs) {
    let root = tempfile::tempdir().unwrap();
    for (file, bytes) in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let sysfs = Sysfs::at(root.path());
    (root, sysfs)
}
