//! An I2C bus as the drivers see it, of the kernel or of files, and what can go wrong on it.

use std::path::{Path, PathBuf};

use embedded_hal::i2c::{Error, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};
use linux_embedded_hal::i2cdev::linux::LinuxI2CError;
use linux_embedded_hal::{Delay, I2CError, I2cdev};
use rustix::io::Errno;

use crate::board::SensorPlan;
use crate::device::{DeviceError, Sensor, sensor};
use crate::io::devices::RegisterFiles;

/// An I2C bus. One per sensor: the kernel keeps the address with the open file.
pub enum I2cBus {
    /// A bus of the kernel.
    Kernel(I2cdev),
    /// Files that stand in for one.
    Files(RegisterFiles),
}

/// Why a transaction failed.
///
/// Drivers of buses tell the same thing by different numbers: a chip that is not there is `ENXIO` on most,
/// `EREMOTEIO` on a Raspberry Pi and `ETIMEDOUT` on a bus that hangs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// There is no such bus.
    #[error("{} is not there: enable I2C on this board and load i2c-dev", path.display())]
    NoBus {
        /// Its device.
        path: PathBuf,
    },
    /// The bus may not be opened.
    #[error("{} may not be opened: add the service to its group (i2c)", path.display())]
    Denied {
        /// Its device.
        path: PathBuf,
    },
    /// Nothing acknowledged the address or the data.
    #[error("no answer: check power, wiring and address")]
    NoAnswer,
    /// The bus hung until the kernel gave up.
    #[error("the bus timed out: a line may be held low, check wiring and pull-ups")]
    TimedOut,
    /// A driver of the kernel has the address.
    #[error("a driver of the kernel uses this address: unload it or read its hwmon files")]
    Busy,
    /// The adapter cannot do what was asked.
    #[error("this adapter has no plain I2C transfers")]
    Unsupported,
    /// Anything else.
    #[error("bus error: {0}")]
    Other(String),
}

/// Opens bus `number` for one sensor: `/dev/i2c-N`, or below any other root the folder of that name with one file of
/// registers per chip.
///
/// # Errors
/// When the kernel has no such bus or does not let us open it. Files are looked for at each transaction.
pub fn open_bus(root: &Path, number: u8) -> Result<I2cBus, BusError> {
    let path = root.join(format!("dev/i2c-{number}"));
    if root != Path::new("/") {
        return Ok(I2cBus::Files(RegisterFiles::at(path)));
    }
    I2cdev::new(&path).map(I2cBus::Kernel).map_err(|error| match errno(&error) {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => BusError::NoBus { path },
        Some(Errno::ACCESS | Errno::PERM) => BusError::Denied { path },
        _other => refusal(&error),
    })
}

/// Opens the bus of a sensor and puts its driver on it. The chip is not spoken to yet.
///
/// # Errors
/// When there is no such bus, it may not be opened, or the chip cannot have this address.
pub fn open_sensor(plan: &SensorPlan, root: &Path) -> Result<Box<dyn Sensor>, DeviceError> {
    let bus = open_bus(root, plan.bus)
        .map_err(|error| DeviceError::Bus { why: error.to_string(), silent: false })?;
    sensor(plan, bus, Delay)
}

impl ErrorType for I2cBus {
    type Error = BusError;
}

impl I2c for I2cBus {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), BusError> {
        match self {
            Self::Kernel(bus) => {
                bus.transaction(address, operations).map_err(|error: I2CError| refusal(error.inner()))
            }
            Self::Files(files) => files.transaction(address, operations),
        }
    }
}

impl Error for BusError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoAnswer => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown),
            Self::Busy | Self::Other(_) => ErrorKind::Bus,
            Self::NoBus { .. } | Self::Denied { .. } | Self::TimedOut | Self::Unsupported => ErrorKind::Other,
        }
    }
}

fn errno(error: &LinuxI2CError) -> Option<Errno> {
    match error {
        LinuxI2CError::Errno(number) => Some(Errno::from_raw_os_error(*number)),
        LinuxI2CError::Io(error) => error.raw_os_error().map(Errno::from_raw_os_error),
    }
}

/// What a refused transaction means.
fn refusal(error: &LinuxI2CError) -> BusError {
    match errno(error) {
        Some(Errno::NXIO | Errno::REMOTEIO | Errno::NODEV) => BusError::NoAnswer,
        Some(Errno::TIMEDOUT) => BusError::TimedOut,
        Some(Errno::BUSY) => BusError::Busy,
        Some(Errno::OPNOTSUPP | Errno::NOTTY) => BusError::Unsupported,
        _other => BusError::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_kernel_mean_what_a_fitter_can_act_on() {
        // ENXIO, EREMOTEIO, ENODEV, ETIMEDOUT, EBUSY, EOPNOTSUPP on Linux.
        for (number, expected) in [
            (6, BusError::NoAnswer),
            (121, BusError::NoAnswer),
            (19, BusError::NoAnswer),
            (110, BusError::TimedOut),
            (16, BusError::Busy),
            (95, BusError::Unsupported),
        ] {
            assert_eq!(refusal(&LinuxI2CError::Errno(number)), expected, "{number}");
        }
        assert!(matches!(refusal(&LinuxI2CError::Errno(5)), BusError::Other(_)));
    }

    #[test]
    fn a_bus_that_is_not_there_is_named_with_what_to_do() {
        let error = open_bus(Path::new("/"), 255).err().expect("no machine has so many");
        assert!(error.to_string().contains("/dev/i2c-255 is not there"), "{error}");
    }
}
