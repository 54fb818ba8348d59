//! What the outbox asks of a disk: the seam between the protocol and the operating system.
//!
//! # Invariants
//! All files lie in one directory and are named without a path. Nothing is durable before [`Disk::sync`] (content) and
//! [`Disk::sync_dir`] (names) have returned, and a crash may lose, shorten or tear everything that is not.

use std::io;

/// The reading half: enough to inspect an outbox, and unable to change it.
pub trait DiskRead {
    /// Names of all files, in any order.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn list(&mut self) -> io::Result<Vec<String>>;

    /// Length of a file in bytes.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    fn len(&mut self, name: &str) -> io::Result<u64>;

    /// Reads from `offset` until `into` is full or the file ends, and returns how many bytes that were.
    ///
    /// # Errors
    /// `InvalidData` when the medium has lost these bytes: the caller skips them and counts the loss. Any other kind
    /// means that the question could not be asked (too many open files, no such file) and nothing is known of the bytes.
    fn read_at(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

/// A directory that can be written.
pub trait Disk: DiskRead {
    /// Makes a new, empty file.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, which is at most the length of the file.
    ///
    /// # Errors
    /// When not all was written; an unknown part of it may have been.
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes an empty file `len` bytes long, all zeros and really written, so that writing within it later needs no new
    /// space and changes nothing but content.
    ///
    /// # Errors
    /// When there is no room; the file may have any length then.
    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()>;

    /// Bytes a write of a segment should start at a multiple of, and be a multiple of: 512 or 4,096.
    fn unit(&mut self) -> u64;

    /// Makes the content of a file durable, not its name.
    ///
    /// # Errors
    /// Final: what of the content reached the medium is unknown from then on, and asking again proves nothing.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Makes the names of all files durable.
    ///
    /// # Errors
    /// As final as for [`Disk::sync`].
    fn sync_dir(&mut self) -> io::Result<()>;

    /// Gives a file another name, in one step; a file that had it is gone. After a crash it has the old or the new name
    /// until the directory is synced.
    ///
    /// # Errors
    /// When the file keeps its name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Space that is left on the file system for this user.
    ///
    /// # Errors
    /// When the file system does not say.
    fn free_bytes(&mut self) -> io::Result<u64>;

    /// Takes a file away. The name may come back after a crash until the directory is synced.
    ///
    /// # Errors
    /// When the file is still there.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}
