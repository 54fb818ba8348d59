//! The hardware watchdog: a timer of the board that resets it unless it is fed.
//!
//! # Invariants
//! * Opening arms it: that happens only where the configuration names the device, never in a check or a self-test.
//! * It is disarmed by an orderly end only. A process that dies leaves it armed, which is what it is for.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::io::files::{open_at_once, read_at_once};

/// Shortest time to a reset that is accepted. The supervisor feeds once a second, and in an orderly end between steps of
/// which the longest may take 6 s.
pub const TIMEOUT_MIN: Duration = Duration::from_secs(8);

/// Longest file of the driver that is read: an identity has 32 bytes.
const FACT_MAX: u64 = 64;

/// What the driver takes as the word that the end is meant.
const MAGIC_CLOSE: &[u8] = b"V";

/// Anything else feeds.
const FEED: &[u8] = b"\n";

/// Why a hardware watchdog cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    /// Its driver does not tell of it.
    #[error(
        "hardware watchdog {}: read {}: load its driver, or take hardware.watchdog out of the configuration",
        device,
        path.display()
    )]
    Unknown {
        /// The device.
        device: String,
        /// The file that was looked for.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It resets the board sooner than it can be fed in peace.
    #[error(
        "hardware watchdog {device}: resets after {found:?}, at least 8 s are needed: set a longer timeout of its driver"
    )]
    TooShort {
        /// The device.
        device: String,
        /// What the driver says.
        found: String,
    },
    /// It cannot be opened, fed or closed.
    #[error("hardware watchdog {device}: {doing}: {remedy}")]
    Device {
        /// The device.
        device: String,
        /// What was tried.
        doing: &'static str,
        /// What to do about it.
        remedy: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// What the driver of a watchdog says without anyone opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchdogFacts {
    /// Name of the driver's device.
    pub identity: Option<String>,
    /// Time to a reset.
    pub timeout: Duration,
    /// Whether somebody has it open: it can be opened once.
    pub active: bool,
}

impl fmt::Display for WatchdogFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = self.identity.as_deref().unwrap_or("unnamed");
        let state = if self.active { "in use" } else { "free" };
        write!(f, "{identity}, {} s, {state}", self.timeout.as_secs())
    }
}

/// An armed watchdog. Whoever drops it without [`WatchdogDevice::close`] leaves it armed.
#[derive(Debug)]
pub struct WatchdogDevice {
    device: String,
    file: File,
    timeout: Duration,
}

/// Reads what `/sys/class/watchdog` says of a device like `/dev/watchdog0`; arms nothing.
///
/// # Errors
/// When the driver is not there or its timeout is shorter than it may be.
pub fn watchdog_facts(root: &Path, device: &str) -> Result<WatchdogFacts, WatchdogError> {
    let folder = root.join("sys/class/watchdog").join(name_of(device));
    let path = folder.join("timeout");
    let found = text_of(&path).map_err(|source| WatchdogError::Unknown {
        device: device.to_owned(),
        path,
        source,
    })?;
    let timeout = found.parse().ok().map(Duration::from_secs);
    let text = |file: &str| text_of(&folder.join(file)).ok();
    match timeout.filter(|&timeout| timeout >= TIMEOUT_MIN) {
        Some(timeout) => Ok(WatchdogFacts {
            identity: text("identity").filter(|identity| !identity.is_empty()),
            timeout,
            active: text("state").is_some_and(|state| state == "active"),
        }),
        None => Err(WatchdogError::TooShort { device: device.to_owned(), found }),
    }
}

/// What a file of the driver says, without the end of its line.
fn text_of(path: &Path) -> io::Result<String> {
    let bytes = read_at_once(path, FACT_MAX)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

impl WatchdogDevice {
    /// Opens a device like `/dev/watchdog0`, which arms it.
    ///
    /// # Errors
    /// When there is none, its timeout is too short, or somebody else has it.
    pub fn open(root: &Path, device: &str) -> Result<Self, WatchdogError> {
        let facts = watchdog_facts(root, device)?;
        let path = root.join(device.trim_start_matches('/'));
        // Never made: a file of that name that is no device would be fed for nothing. Never waited for either: the thread that
        // feeds also hears the end of the supply.
        let file =
            open_at_once(&path, OpenOptions::new().write(true)).map_err(|source| WatchdogError::Device {
                device: device.to_owned(),
                doing: "open",
                remedy: remedy(&source),
                source,
            })?;
        Ok(Self { device: device.to_owned(), file, timeout: facts.timeout })
    }

    /// Time to a reset after the last feeding.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Puts the reset off.
    ///
    /// # Errors
    /// When the driver refuses: the board will be reset.
    pub fn feed(&mut self) -> Result<(), WatchdogError> {
        self.write(FEED, "feed")
    }

    /// Disarms it and lets go of it: the end is meant.
    ///
    /// # Errors
    /// When the driver refuses: the board will be reset.
    pub fn close(mut self) -> Result<(), WatchdogError> {
        self.write(MAGIC_CLOSE, "disarm")
    }

    fn write(&mut self, word: &[u8], doing: &'static str) -> Result<(), WatchdogError> {
        self.file.write_all(word).map_err(|source| WatchdogError::Device {
            device: self.device.clone(),
            doing,
            remedy: "the board will be reset; look for its driver in the log of the kernel",
            source,
        })
    }
}

/// What to do when it cannot be opened.
fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "allow it in the unit: DeviceAllow= and the group of the device"
    } else if error.kind() == io::ErrorKind::ResourceBusy {
        "somebody else feeds it, systemd by RuntimeWatchdogSec=: one only"
    } else {
        "name the device of the board, or take hardware.watchdog out of the configuration"
    }
}

/// `watchdog0` of `/dev/watchdog0`; `/dev/watchdog` is another name of the first.
fn name_of(device: &str) -> &str {
    match device.rsplit('/').next() {
        None | Some("watchdog") => "watchdog0",
        Some(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A root with a watchdog of this timeout; its device is an ordinary file that keeps what it is told.
    fn root(timeout: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in ["sys/class/watchdog/watchdog0", "dev"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("sys/class/watchdog/watchdog0/timeout"), timeout).unwrap();
        fs::write(
            root.path().join("sys/class/watchdog/watchdog0/identity"),
            "Broadcom BCM2835 Watchdog timer\n",
        )
        .unwrap();
        fs::write(root.path().join("sys/class/watchdog/watchdog0/state"), "inactive\n").unwrap();
        fs::write(root.path().join("dev/watchdog0"), "").unwrap();
        root
    }

    fn told(root: &tempfile::TempDir) -> String {
        fs::read_to_string(root.path().join("dev/watchdog0")).unwrap()
    }

    #[test]
    fn an_orderly_end_disarms_and_a_crash_does_not() {
        let there = root("15\n");
        let mut watchdog = WatchdogDevice::open(there.path(), "/dev/watchdog0").unwrap();
        assert_eq!(watchdog.timeout(), Duration::from_secs(15));
        watchdog.feed().unwrap();
        watchdog.feed().unwrap();
        assert_eq!(told(&there), "\n\n");
        watchdog.close().unwrap();
        assert_eq!(told(&there), "\n\nV");
        let there = root("15\n");
        let mut watchdog = WatchdogDevice::open(there.path(), "/dev/watchdog0").unwrap();
        watchdog.feed().unwrap();
        drop(watchdog);
        assert!(!told(&there).contains('V'), "a drop is a crash");
    }

    #[test]
    fn looking_at_it_does_not_arm_it() {
        let there = root("60\n");
        // Anything opened for writing would fail on a folder.
        fs::remove_file(there.path().join("dev/watchdog0")).unwrap();
        fs::create_dir(there.path().join("dev/watchdog0")).unwrap();
        let facts = watchdog_facts(there.path(), "/dev/watchdog").unwrap();
        assert_eq!(facts.timeout, Duration::from_mins(1));
        assert_eq!(facts.identity.as_deref(), Some("Broadcom BCM2835 Watchdog timer"));
        assert!(!facts.active);
        assert!(WatchdogDevice::open(there.path(), "/dev/watchdog0").is_err());
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_remedy() {
        for (timeout, says) in [("7\n", "at least 8 s"), ("soon\n", "at least 8 s"), ("", "at least 8 s")] {
            let there = root(timeout);
            let error = WatchdogDevice::open(there.path(), "/dev/watchdog0").unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("/dev/watchdog0"), "{error}");
            assert_eq!(told(&there), "", "armed before it was looked at");
        }
        let error = WatchdogDevice::open(root("15").path(), "/dev/watchdog1").unwrap_err().to_string();
        assert!(error.contains("load its driver"), "{error}");
        let there = root("15");
        fs::remove_file(there.path().join("dev/watchdog0")).unwrap();
        let error = WatchdogDevice::open(there.path(), "/dev/watchdog0").unwrap_err().to_string();
        assert!(error.contains("open: name the device"), "{error}");
        assert!(
            !there.path().join("dev/watchdog0").try_exists().unwrap(),
            "a file was made in the place of the device"
        );
    }
}
