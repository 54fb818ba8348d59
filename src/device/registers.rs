//! A chip as a set of registers on I2C: the first byte of a transaction says which, the others are what it holds.

use crate::device::error::DeviceError;
use crate::device::sensor::Bus;

/// The registers of one chip.
pub(in crate::device) struct Registers<B> {
    bus: B,
    address: u8,
}

impl<B: Bus> Registers<B> {
    /// Those of the chip at this address.
    pub(in crate::device) fn new(bus: B, address: u8) -> Self {
        Self { bus, address }
    }

    /// A register of one byte.
    pub(in crate::device) fn byte(&mut self, register: u8) -> Result<u8, DeviceError> {
        let mut byte = [0];
        self.read(register, &mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }

    /// A register of two bytes, the higher one first.
    pub(in crate::device) fn word(&mut self, register: u8) -> Result<u16, DeviceError> {
        let mut bytes = [0; 2];
        self.read(register, &mut bytes)?;
        Ok(u16::from_be_bytes(bytes))
    }

    /// As many bytes as there is room for, in one transaction.
    pub(in crate::device) fn read(&mut self, register: u8, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.bus.write_read(self.address, &[register], bytes).map_err(DeviceError::bus)
    }

    /// Sets registers of one byte, in order.
    pub(in crate::device) fn set(&mut self, values: &[(u8, u8)]) -> Result<(), DeviceError> {
        let mut each = values.iter();
        each.try_for_each(|&(register, value)| self.bus.write(self.address, &[register, value]))
            .map_err(DeviceError::bus)
    }
}

/// Whether the number a chip gives of itself is the one of the chip that a driver is for.
///
/// # Errors
/// With both numbers, if it is not.
pub(in crate::device) fn expect_chip(found: u16, expected: u16) -> Result<(), DeviceError> {
    if found == expected { Ok(()) } else { Err(DeviceError::OtherChip { found, expected }) }
}
