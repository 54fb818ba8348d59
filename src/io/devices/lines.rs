//! Lines of GPIO: of the kernel, or files that stand in for them.
//!
//! Below a root that is not `/`, the line 17 of gpiochip0 is the file `gpio/gpiochip0/17`, holding the level: 0 or 1.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gpiocdev::Request;
use gpiocdev::line::{EdgeDetection, Value};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use crate::board::Line;
use crate::io::files::{open_at_once, read_at_once};

/// A contact of a door bounces for some milliseconds; a person opens no door faster.
const DOOR_DEBOUNCE: Duration = Duration::from_millis(20);

/// How often files that stand in for inputs are looked at.
const FILE_PERIOD: Duration = Duration::from_millis(10);

/// Longest file that stands in for a line.
const FILE_MAX: u64 = 16;

/// Why a line cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The kernel does not give it.
    #[error("{line}: {why}; check gpiodetect and gpioinfo, and the group of the service (gpio)")]
    Refused {
        /// Which.
        line: String,
        /// What the kernel said.
        why: String,
    },
    /// The file that stands in for it cannot be used.
    #[error("use {}, which stands for a line and holds 0 or 1", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An output.
#[derive(Debug)]
pub struct OutputLine(Backing);

/// An input.
#[derive(Debug)]
pub struct InputPin {
    backing: Backing,
    /// What was told last.
    told: bool,
}

#[derive(Debug)]
enum Backing {
    Kernel { request: Request, name: String },
    File { path: PathBuf, active_low: bool },
}

impl OutputLine {
    /// Takes the line and makes it say no.
    pub fn open(root: &Path, line: &Line) -> Result<Self, LineError> {
        if root != Path::new("/") {
            let output = Self(Backing::File { path: file_of(root, line), active_low: line.active_low });
            output.set(false)?;
            return Ok(output);
        }
        let mut builder = Request::builder();
        builder.on_chip(format!("/dev/{}", line.chip)).with_consumer("tidegate").with_line(line.offset);
        if line.active_low {
            builder.as_active_low();
        }
        let request = builder.as_output(Value::Inactive).request().map_err(|error| refused(line, &error))?;
        Ok(Self(Backing::Kernel { request, name: name_of(line) }))
    }

    /// Says yes or no.
    pub fn set(&self, yes: bool) -> Result<(), LineError> {
        match &self.0 {
            Backing::Kernel { request, name } => request
                .set_lone_value(if yes { Value::Active } else { Value::Inactive })
                .map_err(|error| LineError::Refused { line: name.clone(), why: error.to_string() }),
            Backing::File { path, active_low } => {
                let file = |source| LineError::File { path: path.clone(), source };
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(file)?;
                }
                let mut written = OpenOptions::new();
                let written = open_at_once(path, written.write(true).create(true).truncate(true));
                let level = if yes == *active_low { b"0\n" } else { b"1\n" };
                written.and_then(|mut written| written.write_all(level)).map_err(file)
            }
        }
    }
}

impl InputPin {
    /// Takes the line as it is now.
    pub fn open(root: &Path, line: &Line, debounce: bool) -> Result<Self, LineError> {
        let backing = if root == Path::new("/") {
            let mut builder = Request::builder();
            builder.on_chip(format!("/dev/{}", line.chip)).with_consumer("tidegate").with_line(line.offset);
            builder.as_input();
            if line.active_low {
                builder.as_active_low();
            }
            if debounce {
                builder.with_debounce_period(DOOR_DEBOUNCE);
            }
            let request = builder
                .with_edge_detection(EdgeDetection::BothEdges)
                .request()
                .map_err(|error| refused(line, &error))?;
            Backing::Kernel { request, name: name_of(line) }
        } else {
            Backing::File { path: file_of(root, line), active_low: line.active_low }
        };
        let mut pin = Self { backing, told: false };
        pin.told = pin.level()?;
        Ok(pin)
    }

    /// What was told last: at first, what it said when it was opened.
    pub fn told(&self) -> bool {
        self.told
    }

    /// What it says now, if that is not what was told last. Events of the kernel that cancel each other are one look.
    pub fn change(&mut self) -> Result<Option<bool>, LineError> {
        if let Backing::Kernel { request, name } = &self.backing {
            let told =
                |error: gpiocdev::Error| LineError::Refused { line: name.clone(), why: error.to_string() };
            while request.has_edge_event().map_err(told)? {
                request.read_edge_event().map_err(told)?;
            }
        }
        let level = self.level()?;
        Ok((std::mem::replace(&mut self.told, level) != level).then_some(level))
    }

    fn level(&self) -> Result<bool, LineError> {
        match &self.backing {
            Backing::Kernel { request, name } => request
                .lone_value()
                .map(|value| value == Value::Active)
                .map_err(|error| LineError::Refused { line: name.clone(), why: error.to_string() }),
            Backing::File { path, active_low } => match read_at_once(path, FILE_MAX) {
                Ok(text) => Ok((text.trim_ascii() == b"1") != *active_low),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(source) => Err(LineError::File { path: path.clone(), source }),
            },
        }
    }
}

/// Waits until an input may have changed, at most this long.
pub fn wait_for_edge(pins: &[&InputPin], timeout: Duration) {
    let mut descriptors = Vec::with_capacity(pins.len());
    let mut has_files = false;
    for pin in pins {
        match &pin.backing {
            Backing::Kernel { request, .. } => {
                descriptors.push(PollFd::from_borrowed_fd(request.as_fd(), PollFlags::IN));
            }
            Backing::File { .. } => has_files = true,
        }
    }
    let timeout = if has_files { timeout.min(FILE_PERIOD) } else { timeout };
    let timeout = Timespec::try_from(timeout).ok();
    // A wait that is interrupted is a short one.
    poll(&mut descriptors, timeout.as_ref()).unwrap_or_default();
}

fn file_of(root: &Path, line: &Line) -> PathBuf {
    root.join("gpio").join(&line.chip).join(line.offset.to_string())
}

fn name_of(line: &Line) -> String {
    format!("{}:{}", line.chip, line.offset)
}

fn refused(line: &Line, error: &gpiocdev::Error) -> LineError {
    LineError::Refused { line: name_of(line), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(active_low: bool) -> Line {
        Line { chip: "gpiochip0".to_owned(), offset: 17, active_low }
    }

    #[test]
    fn an_output_says_no_until_it_is_told_and_an_active_low_one_the_other_way_round() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("gpio/gpiochip0/17");
        for (active_low, no, yes) in [(false, "0\n", "1\n"), (true, "1\n", "0\n")] {
            let output = OutputLine::open(root.path(), &line(active_low)).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), no);
            output.set(true).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), yes);
        }
    }

    #[test]
    fn an_input_tells_each_change_once() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("gpio/gpiochip0/17");
        let mut pin = InputPin::open(root.path(), &line(true), true).unwrap();
        assert!(!pin.told(), "a line that is not there says no, whatever its polarity");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "0").unwrap();
        assert_eq!((pin.change().unwrap(), pin.change().unwrap()), (Some(true), None));
        fs::write(&path, "1").unwrap();
        assert_eq!((pin.change().unwrap(), pin.told()), (Some(false), false));
    }

    #[test]
    fn a_chip_that_is_not_there_is_named_with_what_to_do() {
        let line = Line { chip: "gpiochip250".to_owned(), ..line(false) };
        for error in [
            OutputLine::open(Path::new("/"), &line).err(),
            InputPin::open(Path::new("/"), &line, false).err(),
        ] {
            let text = error.expect("no machine has so many").to_string();
            assert!(text.starts_with("gpiochip250:17: ") && text.contains("gpiodetect"), "{text}");
        }
    }
}
