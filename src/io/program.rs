//! This very program, run again for what needs a process of its own.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Stdio};

/// Standard output of this program with these arguments; what it says to people goes where ours does.
///
/// # Errors
/// If it cannot be started or ends with a code other than 0.
pub fn own_output<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> io::Result<Vec<u8>> {
    let program = std::env::current_exe()?;
    let ended =
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if ended.status.success() {
        Ok(ended.stdout)
    } else {
        Err(io::Error::other(format!("this program, run again, ended with {}", ended.status)))
    }
}
