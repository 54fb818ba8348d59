//! A bus of files: each chip is a text file of its registers, written by a test, by the demo or by hand.
//!
//! `dev/i2c-1/48` is the chip at address 0x48 of bus 1. A line `00: 19 80` holds what a read at pointer 0x00 gives,
//! in hexadecimal, in the order of the wire. A line `error: timed-out` (or `no-answer`, `bus`) makes every transaction
//! fail so; no file is a chip that is not there. What is written to a register is read back unless the file has a line
//! for it, and is lost with the program.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use embedded_hal::i2c::Operation;

use crate::io::devices::BusError;
use crate::io::files::read_at_once;

/// Longest file of registers: 256 registers with a FIFO of 192 bytes fit easily.
const FILE_MAX: u64 = 64 << 10;

/// What an idle bus reads as: nobody pulls it low.
const IDLE: u8 = 0xFF;

/// The chips of one bus.
#[derive(Debug)]
pub struct RegisterFiles {
    folder: PathBuf,
    /// By address: where the next read begins, and what was written.
    chips: BTreeMap<u8, Chip>,
}

#[derive(Debug, Default)]
struct Chip {
    pointer: u8,
    written: BTreeMap<u8, Vec<u8>>,
}

impl RegisterFiles {
    /// A bus whose chips are the files of this folder.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, chips: BTreeMap::new() }
    }

    pub(in crate::io::devices) fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), BusError> {
        let registers = read_registers(&self.folder, address)?;
        let chip = self.chips.entry(address).or_default();
        for operation in operations {
            match operation {
                Operation::Write(bytes) => chip.take(bytes),
                Operation::Read(buffer) => chip.give(&registers, buffer),
            }
        }
        Ok(())
    }
}

impl Chip {
    fn take(&mut self, bytes: &[u8]) {
        let Some((&pointer, data)) = bytes.split_first() else { return };
        self.pointer = pointer;
        if !data.is_empty() {
            self.written.insert(pointer, data.to_vec());
        }
    }

    fn give(&self, registers: &BTreeMap<u8, Vec<u8>>, buffer: &mut [u8]) {
        let held = registers.get(&self.pointer).or_else(|| self.written.get(&self.pointer));
        let held = held.map_or(&[][..], Vec::as_slice).iter().copied();
        for (byte, value) in buffer.iter_mut().zip(held.chain(std::iter::repeat(IDLE))) {
            *byte = value;
        }
    }
}

/// Writes the registers of a chip so that a reader sees either the old or the new ones.
///
/// # Errors
/// When the folder cannot be made or written to.
pub fn write_registers(root: &Path, bus: u8, address: u8, registers: &[(u8, &[u8])]) -> io::Result<()> {
    let folder = root.join(format!("dev/i2c-{bus}"));
    fs::create_dir_all(&folder)?;
    let aside = folder.join(format!(".{address:02x}"));
    let mut file = fs::File::create(&aside)?;
    for (register, bytes) in registers {
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(file, "{register:02x}: {}", bytes.join(" "))?;
    }
    fs::rename(aside, folder.join(format!("{address:02x}")))
}

fn read_registers(folder: &Path, address: u8) -> Result<BTreeMap<u8, Vec<u8>>, BusError> {
    let path = folder.join(format!("{address:02x}"));
    let fault = |error: io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            BusError::NoAnswer
        } else if error.kind() == io::ErrorKind::WouldBlock {
            BusError::TimedOut
        } else {
            BusError::Other(error.to_string())
        }
    };
    let bytes = read_at_once(&path, FILE_MAX).map_err(fault)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut registers = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let shown: String = line.chars().take(40).collect();
        let malformed = || BusError::Other(format!("line {shown:?} is not like \"00: 19 80\""));
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        if name == "error" {
            return Err(match value.trim() {
                "no-answer" => BusError::NoAnswer,
                "timed-out" => BusError::TimedOut,
                other => BusError::Other(other.to_owned()),
            });
        }
        let byte = |digits: &str| u8::from_str_radix(digits, 16).map_err(|_| malformed());
        let bytes = value.split_whitespace().map(byte).collect::<Result<Vec<u8>, _>>()?;
        registers.insert(byte(name.trim())?, bytes);
    }
    Ok(registers)
}

#[cfg(test)]
mod tests {
    use embedded_hal::i2c::I2c;

    use super::*;
    use crate::io::devices::open_bus;

    #[test]
    fn a_chip_is_a_file_and_a_missing_file_a_chip_that_does_not_answer() {
        let root = tempfile::tempdir().unwrap();
        let mut bus = open_bus(root.path(), 1).unwrap();
        let mut two = [0; 2];
        assert_eq!(bus.write_read(0x48, &[0], &mut two), Err(BusError::NoAnswer));
        write_registers(root.path(), 1, 0x48, &[(0, &[0x19, 0x80]), (1, &[0x60, 0xa0])]).unwrap();
        bus.write_read(0x48, &[0], &mut two).unwrap();
        assert_eq!(two, [0x19, 0x80]);
        // The pointer stays where it was put: some drivers write and read in two transactions.
        bus.write(0x48, &[1]).unwrap();
        bus.read(0x48, &mut two).unwrap();
        assert_eq!(two, [0x60, 0xa0]);
        // A register of the file wins over what was written; others keep it.
        bus.write(0x48, &[0, 1, 2]).unwrap();
        bus.write(0x48, &[9, 7]).unwrap();
        bus.write_read(0x48, &[9], &mut two).unwrap();
        assert_eq!(two, [7, IDLE]);
        bus.write_read(0x48, &[0], &mut two).unwrap();
        assert_eq!(two, [0x19, 0x80]);
        assert_eq!(bus.read(0x49, &mut two), Err(BusError::NoAnswer));
    }

    #[test]
    fn a_file_can_make_its_chip_fail_and_a_file_of_nonsense_is_a_bus_error() {
        let root = tempfile::tempdir().unwrap();
        let mut bus = open_bus(root.path(), 3).unwrap();
        fs::create_dir_all(root.path().join("dev/i2c-3")).unwrap();
        for (text, expected) in [
            ("error: timed-out\n", BusError::TimedOut),
            ("# a comment\nerror: no-answer\n", BusError::NoAnswer),
            ("00: zz\n", BusError::Other("line \"00: zz\" is not like \"00: 19 80\"".to_owned())),
        ] {
            fs::write(root.path().join("dev/i2c-3/1a"), text).unwrap();
            assert_eq!(bus.read(0x1a, &mut [0]), Err(expected), "{text}");
        }
    }
}
