//! LIS3DH through its FIFO.
//!
//! | register | use (data sheet rev. 2, section 8) |
//! |---|---|
//! | 0x0F `WHO_AM_I` | 0x33 |
//! | 0x20 `CTRL_REG1` | bits 7 to 4: rate; bits 2 to 0: axes |
//! | 0x23 `CTRL_REG4` | bit 7: no half-updated values; bits 5 and 4: 10 is ±8 g; bit 3: 12 bits, 4 mg a step |
//! | 0x24 `CTRL_REG5` | bit 6: FIFO |
//! | 0x28 `OUT_X_L` … `OUT_Z_H` | the FIFO; with bit 7 of the address any number of entries in one transaction |
//! | 0x2E `FIFO_CTRL_REG` | bits 7 and 6: 00 bypass, which empties it, 10 stream |
//! | 0x2F `FIFO_SRC_REG` | bit 6: overrun, bit 5: empty, bits 4 to 0: entries, 31 when there are 32 |
//!
//! Why not a crate: `lis3dh` 0.5 turns the FIFO on and tells its level, but takes each entry by a transaction of its own:
//! nearly twice the time on the bus. It brings seventeen crates along.

use crate::device::error::DeviceError;
use crate::device::registers::{Registers, expect_chip};
use crate::device::seam::ROWS_MAX;
use crate::device::sensor::Bus;
use crate::device::vibration::{Axes, Fifo, Fill, GRAVITY};

const WHO_AM_I: u8 = 0x0f;
const CTRL_REG1: u8 = 0x20;
const CTRL_REG4: u8 = 0x23;
const CTRL_REG5: u8 = 0x24;
const OUT_X_L: u8 = 0x28;
const FIFO_CTRL: u8 = 0x2e;
const FIFO_SRC: u8 = 0x2f;

/// Set in the address of a register: go on to the next after each byte.
const AUTO_INCREMENT: u8 = 0x80;

const CHIP: u16 = 0x33;

/// Code and rate.
const RATES: [(u8, f32); 8] =
    [(1, 1.0), (2, 10.0), (3, 25.0), (4, 50.0), (5, 100.0), (6, 200.0), (7, 400.0), (9, 1_344.0)];

/// The chip.
pub(in crate::device) struct Lis3dh<B> {
    registers: Registers<B>,
    code: u8,
    rate: f32,
}

/// Code and rate: the slowest that is not below the one asked for.
pub(in crate::device) fn rate(asked: f32) -> (u8, f32) {
    RATES.into_iter().find(|&(_, each)| each >= asked).unwrap_or((9, 1_344.0))
}

impl<B: Bus> Lis3dh<B> {
    /// The slowest rate of the chip that is not below the one asked for.
    pub(in crate::device) fn new(bus: B, address: u8, rate: f32) -> Self {
        let (code, rate) = self::rate(rate);
        Self { registers: Registers::new(bus, address), code, rate }
    }
}

impl<B: Bus> Fifo for Lis3dh<B> {
    fn rate(&self) -> f32 {
        self.rate
    }

    fn start(&mut self) -> Result<(), DeviceError> {
        expect_chip(self.registers.byte(WHO_AM_I)?.into(), CHIP)?;
        self.registers.set(&[
            (CTRL_REG4, 0xa8),
            (CTRL_REG5, 0x40),
            (FIFO_CTRL, 0x00),
            (FIFO_CTRL, 0x80),
            (CTRL_REG1, self.code << 4 | 0x07),
        ])
    }

    fn fill(&mut self) -> Result<Fill, DeviceError> {
        let source = self.registers.byte(FIFO_SRC)?;
        let (overrun, empty) = (source & 0x40 != 0, source & 0x20 != 0);
        if overrun && empty {
            return Err(DeviceError::Unusable("says that its FIFO is full and empty: check the wiring"));
        }
        let count = if overrun { ROWS_MAX } else { usize::from(source & 0x1f) };
        Ok(Fill { count: if empty { 0 } else { count }, overrun })
    }

    fn take(&mut self, count: usize, axes: &mut Axes) -> Result<(), DeviceError> {
        let mut bytes = [0; 6 * ROWS_MAX];
        let Some(bytes) = bytes.get_mut(..6 * count) else { return Ok(()) };
        self.registers.read(OUT_X_L | AUTO_INCREMENT, bytes)?;
        let (rows, _) = bytes.as_chunks::<6>();
        for &[x0, x1, y0, y1, z0, z1] in rows {
            // Twelve bits, at the top of sixteen.
            let axis = |low, high| f32::from(i16::from_le_bytes([low, high]) >> 4) * 0.004 * GRAVITY;
            if axes.push([axis(x0, x1), axis(y0, y1), axis(z0, z1)]).is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "exact numbers of the data sheet")]

    use embedded_hal::i2c::ErrorKind;
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use super::*;
    use crate::clock::Uptime;
    use crate::device::seam::Samples;
    use crate::device::sensor::Sensor;
    use crate::device::vibration::Vibration;

    const AT: u8 = 0x19;

    fn ask(register: u8, answer: &[u8]) -> Transaction {
        Transaction::write_read(AT, vec![register], answer.to_vec())
    }

    #[test]
    fn the_whole_fifo_comes_in_one_transaction() {
        let mut mock = Mock::new(&[
            ask(0x0f, &[0x33]),
            Transaction::write(AT, vec![0x23, 0xa8]),
            Transaction::write(AT, vec![0x24, 0x40]),
            Transaction::write(AT, vec![0x2e, 0x00]),
            Transaction::write(AT, vec![0x2e, 0x80]),
            Transaction::write(AT, vec![0x20, 0x77]),
            ask(0x2f, &[2]),
            ask(0xa8, &[0xa0, 0x0f, 0x60, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf0, 0x7f]),
        ]);
        let mut sensor = Vibration::new(Lis3dh::new(mock.clone(), AT, 400.0));
        let mut samples = Samples::of(3);
        sensor.start().unwrap();
        sensor.read(&|| Uptime(10_000_000), &mut samples).unwrap();
        mock.done();
        let g = |values: [f32; 3]| values.map(|value| (value / GRAVITY * 1e3).round() / 1e3);
        assert_eq!(g(samples.rows[0].values), [1.0, -1.0, 0.0]);
        assert_eq!(g(samples.rows[1].values), [0.0, 0.0, 8.188]);
        assert_eq!((samples.rows[0].at, samples.rows[1].at), (7_500_000, 10_000_000));
    }

    #[test]
    fn a_full_fifo_is_thirty_two_and_an_overrun() {
        let mut mock = Mock::new(&[ask(0x2f, &[0xdf]), ask(0xa8, &[0; 192])]);
        let mut sensor = Vibration::new(Lis3dh::new(mock.clone(), AT, 100.0));
        let mut samples = Samples::of(0);
        sensor.read(&|| Uptime(1_000_000_000), &mut samples).unwrap();
        mock.done();
        assert_eq!((samples.rows.len(), samples.overrun), (32, 1));
    }

    #[test]
    fn nonsense_another_chip_and_a_broken_bus_are_errors() {
        let mut mock = Mock::new(&[
            ask(0x0f, &[0xe5]),
            ask(0x2f, &[0xff]),
            ask(0x2f, &[0x20]),
            ask(0x2f, &[1]),
            ask(0xa8, &[0; 6]).with_error(ErrorKind::Bus),
        ]);
        let mut chip = Lis3dh::new(mock.clone(), AT, 100.0);
        assert_eq!(chip.start(), Err(DeviceError::OtherChip { found: 0xe5, expected: 0x33 }));
        assert!(matches!(chip.fill(), Err(DeviceError::Unusable(_))));
        assert_eq!(chip.fill(), Ok(Fill { count: 0, overrun: false }));
        assert!(Vibration::new(chip).read(&|| Uptime::ZERO, &mut Samples::of(0)).is_err());
        mock.done();
    }
}
