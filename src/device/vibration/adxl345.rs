//! ADXL345 through its FIFO.
//!
//! | register | use (data sheet rev. G, register map) |
//! |---|---|
//! | 0x00 `DEVID` | 0xE5 |
//! | 0x2C `BW_RATE` | bits 3 to 0: 3,200 Hz halved for each step below 15 |
//! | 0x2D `POWER_CTL` | bit 3: measure |
//! | 0x30 `INT_SOURCE` | bit 0: overrun, until the data are read |
//! | 0x31 `DATA_FORMAT` | bit 3: full resolution, 1/256 g; bits 1 and 0: ±16 g |
//! | 0x32 `DATAX0` … `DATAZ1` | six bytes, the lower one first; reading them takes one entry out of the FIFO |
//! | 0x38 `FIFO_CTL` | bits 7 and 6: 00 bypass, which empties it, 10 stream |
//! | 0x39 `FIFO_STATUS` | bits 5 to 0: entries |
//!
//! Why not a crate: `adxl345-eh-driver` 0.2 knows the data registers only, so samples between two readings are lost.

use crate::device::error::DeviceError;
use crate::device::registers::{Registers, expect_chip};
use crate::device::sensor::Bus;
use crate::device::vibration::{Axes, Fifo, Fill, GRAVITY};

const DEVID: u8 = 0x00;
const BW_RATE: u8 = 0x2c;
const POWER_CTL: u8 = 0x2d;
const INT_SOURCE: u8 = 0x30;
const DATA_FORMAT: u8 = 0x31;
const DATA: u8 = 0x32;
const FIFO_CTL: u8 = 0x38;
const FIFO_STATUS: u8 = 0x39;

const CHIP: u16 = 0xe5;

/// Code and rate of what a bus can carry: 1,600 samples of 9 bytes are a third of 400 kHz.
const RATES: [(u8, f32); 11] = [
    (4, 1.5625),
    (5, 3.125),
    (6, 6.25),
    (7, 12.5),
    (8, 25.0),
    (9, 50.0),
    (10, 100.0),
    (11, 200.0),
    (12, 400.0),
    (13, 800.0),
    (14, 1_600.0),
];

/// The chip.
pub(in crate::device) struct Adxl345<B> {
    registers: Registers<B>,
    code: u8,
    rate: f32,
}

/// Code and rate: the slowest that is not below the one asked for.
pub(in crate::device) fn rate(asked: f32) -> (u8, f32) {
    RATES.into_iter().find(|&(_, each)| each >= asked).unwrap_or((14, 1_600.0))
}

impl<B: Bus> Adxl345<B> {
    /// The slowest rate of the chip that is not below the one asked for.
    pub(in crate::device) fn new(bus: B, address: u8, rate: f32) -> Self {
        let (code, rate) = self::rate(rate);
        Self { registers: Registers::new(bus, address), code, rate }
    }
}

impl<B: Bus> Fifo for Adxl345<B> {
    fn rate(&self) -> f32 {
        self.rate
    }

    fn start(&mut self) -> Result<(), DeviceError> {
        expect_chip(self.registers.byte(DEVID)?.into(), CHIP)?;
        // Standby while it is set up.
        self.registers.set(&[
            (POWER_CTL, 0x00),
            (DATA_FORMAT, 0x0b),
            (BW_RATE, self.code),
            (FIFO_CTL, 0x00),
            (FIFO_CTL, 0x80),
            (POWER_CTL, 0x08),
        ])
    }

    fn fill(&mut self) -> Result<Fill, DeviceError> {
        let overrun = self.registers.byte(INT_SOURCE)? & 1 != 0;
        let count = usize::from(self.registers.byte(FIFO_STATUS)? & 0x3f);
        if count > 33 {
            return Err(DeviceError::Unusable("says that its FIFO holds more than it can: check the wiring"));
        }
        Ok(Fill { count, overrun })
    }

    fn take(&mut self, count: usize, axes: &mut Axes) -> Result<(), DeviceError> {
        for _ in 0..count {
            let mut bytes = [0; 6];
            self.registers.read(DATA, &mut bytes)?;
            let [x0, x1, y0, y1, z0, z1] = bytes;
            let axis = |low, high| f32::from(i16::from_le_bytes([low, high])) / 256.0 * GRAVITY;
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

    use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use super::*;
    use crate::clock::Uptime;
    use crate::device::seam::Samples;
    use crate::device::sensor::Sensor;
    use crate::device::vibration::Vibration;

    const AT: u8 = 0x53;

    fn ask(register: u8, answer: &[u8]) -> Transaction {
        Transaction::write_read(AT, vec![register], answer.to_vec())
    }

    fn set(register: u8, value: u8) -> Transaction {
        Transaction::write(AT, vec![register, value])
    }

    fn started(code: u8) -> Vec<Transaction> {
        vec![
            ask(0x00, &[0xe5]),
            set(0x2d, 0),
            set(0x31, 0x0b),
            set(0x2c, code),
            set(0x38, 0),
            set(0x38, 0x80),
            set(0x2d, 8),
        ]
    }

    #[test]
    fn the_fifo_is_read_oldest_first_with_the_times_of_its_samples() {
        let mut asked = started(10);
        asked.extend([
            ask(0x30, &[0x82]),
            ask(0x39, &[2]),
            ask(0x32, &[0x00, 0x01, 0x00, 0xff, 0x80, 0x00]),
            ask(0x32, &[0x00, 0x10, 0x00, 0xf0, 0x00, 0x00]),
        ]);
        let mut mock = Mock::new(&asked);
        let mut sensor = Vibration::new(Adxl345::new(mock.clone(), AT, 90.0));
        let mut samples = Samples::of(0);
        sensor.start().unwrap();
        sensor.read(&|| Uptime(50_000_000), &mut samples).unwrap();
        mock.done();
        let g = |values: [f32; 3]| values.map(|value| value / GRAVITY);
        assert_eq!(g(samples.rows[0].values), [1.0, -1.0, 0.5]);
        assert_eq!(g(samples.rows[1].values), [16.0, -16.0, 0.0]);
        assert_eq!((samples.rows[0].at, samples.rows[1].at), (40_000_000, 50_000_000));
        assert_eq!(samples.overrun, 0);
    }

    #[test]
    fn an_overrun_is_counted_and_a_full_fifo_gives_no_more_than_it_holds() {
        let mut asked = vec![ask(0x30, &[0x83]), ask(0x39, &[33])];
        asked.extend((0..32).map(|_| ask(0x32, &[0; 6])));
        let mut mock = Mock::new(&asked);
        let mut sensor = Vibration::new(Adxl345::new(mock.clone(), AT, 100.0));
        let mut samples = Samples::of(0);
        sensor.read(&|| Uptime(1_000_000_000), &mut samples).unwrap();
        mock.done();
        assert_eq!((samples.rows.len(), samples.overrun), (32, 1));
    }

    #[test]
    fn a_chip_that_lost_its_settings_is_a_fault_and_not_silence_for_ever() {
        let asked: Vec<Transaction> = (0..3).flat_map(|_| [ask(0x30, &[0]), ask(0x39, &[0])]).collect();
        let mut mock = Mock::new(&asked);
        let mut sensor = Vibration::new(Adxl345::new(mock.clone(), AT, 100.0));
        let mut read = |ms: u64| sensor.read(&|| Uptime(ms * 1_000_000), &mut Samples::of(0));
        assert_eq!((read(0), read(600)), (Ok(()), Ok(())));
        assert!(matches!(read(700), Err(DeviceError::Unusable(_))));
        mock.done();
    }

    #[test]
    fn nonsense_and_silence_are_errors() {
        let nack = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data);
        let mut mock = Mock::new(&[
            ask(0x00, &[0x33]),
            ask(0x30, &[0xff]),
            ask(0x39, &[0xff]),
            ask(0x30, &[0]).with_error(nack),
            ask(0x30, &[0]),
            ask(0x39, &[1]),
            ask(0x32, &[0; 6]).with_error(ErrorKind::ArbitrationLoss),
        ]);
        let mut chip = Adxl345::new(mock.clone(), AT, 100.0);
        assert_eq!(chip.start(), Err(DeviceError::OtherChip { found: 0x33, expected: 0xe5 }));
        assert!(matches!(chip.fill(), Err(DeviceError::Unusable(_))));
        assert!(chip.fill().unwrap_err().is_silence());
        let mut sensor = Vibration::new(chip);
        let mut samples = Samples::of(0);
        assert!(sensor.read(&|| Uptime::ZERO, &mut samples).is_err());
        assert!(samples.rows.is_empty());
        mock.done();
    }
}
