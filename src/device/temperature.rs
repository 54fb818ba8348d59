//! Temperature: LM75 and TMP102 by the crates of the ecosystem, TMP117 and MCP9808 by their registers.

use lm75::Lm75;
use lm75::ic::Lm75 as Ic;
use tmp1x2::marker::mode::Continuous;
use tmp1x2::{SlaveAddr, Tmp1x2};

use crate::clock::Uptime;
use crate::device::error::{DeviceError, within};
use crate::device::registers::{Registers, expect_chip};
use crate::device::seam::Samples;
use crate::device::sensor::{Bus, Sensor, add};

/// LM75 and its many likes: 9 bits, half a degree.
pub(in crate::device) struct Lm75Sensor<B>(Lm75<B, Ic>);

/// TMP102 and TMP112: 12 bits, a sixteenth of a degree.
pub(in crate::device) struct Tmp1x2Sensor<B: embedded_hal::i2c::I2c>(Tmp1x2<B, Continuous>);

/// TMP117, data sheet SNOSD82D, table 7-4 and following:
///
/// | register | holds |
/// |---|---|
/// | 0x00 | temperature, two's complement, 1/128 °C; 0x8000 (−256 °C) until the first conversion |
/// | 0x0F | bits 11 to 0: 0x117 |
///
/// The crate `tmp117` 3.0 does the same with fifteen crates of bit fields behind it.
pub(in crate::device) struct Tmp117<B>(Registers<B>);

/// MCP9808, data sheet DS25095A, section 5.1:
///
/// | register | holds |
/// |---|---|
/// | 0x05 | bits 12 to 0: temperature, two's complement, 1/16 °C; above them three flags of alarms |
/// | 0x06 | 0x0054 |
///
/// The crate `mcp9808` 0.4 reads −10 °C as +10 °C, so it is not used.
pub(in crate::device) struct Mcp9808<B>(Registers<B>);

impl<B: Bus> Lm75Sensor<B> {
    pub(in crate::device) fn new(bus: B, address: u8) -> Self {
        Self(Lm75::new(bus, address))
    }
}

impl<B: Bus> Sensor for Lm75Sensor<B> {
    fn start(&mut self) -> Result<(), DeviceError> {
        self.0.enable().map_err(of_lm75)
    }

    fn read(&mut self, now: &dyn Fn() -> Uptime, samples: &mut Samples) -> Result<(), DeviceError> {
        let celsius = self.0.read_temperature().map_err(of_lm75)?;
        add(samples, now(), &[within(celsius, -55.0..=125.0, "°C")?]);
        Ok(())
    }
}

fn of_lm75<E: embedded_hal::i2c::Error + std::fmt::Display>(error: lm75::Error<E>) -> DeviceError {
    match error {
        lm75::Error::I2C(error) => DeviceError::bus(error),
        lm75::Error::InvalidInputData => DeviceError::Unusable("refused its settings"),
    }
}

impl<B: Bus> Tmp1x2Sensor<B> {
    pub(in crate::device) fn new(bus: B, address: u8) -> Self {
        // The pin ADD0 gives the two lowest bits.
        let pin = SlaveAddr::Alternative(address & 2 != 0, address & 1 != 0);
        Self(Tmp1x2::new(bus, pin))
    }
}

impl<B: Bus> Sensor for Tmp1x2Sensor<B> {
    fn start(&mut self) -> Result<(), DeviceError> {
        self.0.set_conversion_rate(tmp1x2::ConversionRate::_4Hz).map_err(of_tmp1x2)
    }

    fn read(&mut self, now: &dyn Fn() -> Uptime, samples: &mut Samples) -> Result<(), DeviceError> {
        let celsius = self.0.read_temperature().map_err(of_tmp1x2)?;
        add(samples, now(), &[within(celsius, -55.0..=128.0, "°C")?]);
        Ok(())
    }
}

fn of_tmp1x2<E: embedded_hal::i2c::Error + std::fmt::Display>(error: tmp1x2::Error<E>) -> DeviceError {
    match error {
        tmp1x2::Error::I2C(error) => DeviceError::bus(error),
    }
}

impl<B: Bus> Tmp117<B> {
    const CHIP: u16 = 0x117;

    pub(in crate::device) fn new(bus: B, address: u8) -> Self {
        Self(Registers::new(bus, address))
    }
}

impl<B: Bus> Sensor for Tmp117<B> {
    fn start(&mut self) -> Result<(), DeviceError> {
        expect_chip(self.0.word(0x0f)? & 0x0fff, Self::CHIP)
    }

    fn read(&mut self, now: &dyn Fn() -> Uptime, samples: &mut Samples) -> Result<(), DeviceError> {
        let raw = self.0.word(0x00)?.cast_signed();
        add(samples, now(), &[within(f32::from(raw) / 128.0, -55.0..=150.0, "°C")?]);
        Ok(())
    }
}

impl<B: Bus> Mcp9808<B> {
    const CHIP: u16 = 0x0054;

    pub(in crate::device) fn new(bus: B, address: u8) -> Self {
        Self(Registers::new(bus, address))
    }
}

impl<B: Bus> Sensor for Mcp9808<B> {
    fn start(&mut self) -> Result<(), DeviceError> {
        expect_chip(self.0.word(0x06)?, Self::CHIP)
    }

    fn read(&mut self, now: &dyn Fn() -> Uptime, samples: &mut Samples) -> Result<(), DeviceError> {
        let raw = self.0.word(0x05)?;
        // The flags go, the sign comes to the top.
        let sixteenths = (raw << 3).cast_signed() >> 3;
        add(samples, now(), &[within(f32::from(sixteenths) / 16.0, -40.0..=125.0, "°C")?]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use super::*;

    const NACK: ErrorKind = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);

    /// The first value that a sensor gives for the bytes of its temperature register.
    fn read(sensor: &mut impl Sensor) -> Result<f32, DeviceError> {
        let mut samples = Samples::of(0);
        sensor.read(&|| Uptime(7), &mut samples)?;
        let [row] = &samples.rows[..] else { panic!("one row") };
        assert_eq!(row.at, 7);
        Ok(row.values[0])
    }

    fn given<S: Sensor>(
        make: impl Fn(Mock) -> S,
        (address, pointer): (u8, u8),
        bytes: [u8; 2],
    ) -> Result<f32, DeviceError> {
        let mut mock = Mock::new(&[Transaction::write_read(address, vec![pointer], bytes.to_vec())]);
        let value = read(&mut make(mock.clone()));
        mock.done();
        value
    }

    #[test]
    fn lm75_counts_in_halves() {
        let lm75 = |bytes| given(|mock| Lm75Sensor::new(mock, 0x4f), (0x4f, 0), bytes);
        for (bytes, expected) in
            [([0x19, 0x00], 25.0), ([0x19, 0x80], 25.5), ([0xe7, 0x00], -25.0), ([0xff, 0x80], -0.5)]
        {
            assert_eq!(lm75(bytes), Ok(expected));
        }
        assert!(matches!(lm75([0x80, 0x00]), Err(DeviceError::Absurd { value: -128.0, .. })));
    }

    #[test]
    fn tmp102_counts_in_sixteenths_in_both_formats() {
        let tmp102 = |bytes| given(|mock| Tmp1x2Sensor::new(mock, 0x4a), (0x4a, 0), bytes);
        // Table 8 of the data sheet; the last bit says that there are 13 bits.
        for (bytes, expected) in
            [([0x64, 0x00], 100.0), ([0x00, 0x40], 0.25), ([0xe7, 0x00], -25.0), ([0x3c, 0x01], 120.0)]
        {
            assert_eq!(tmp102(bytes), Ok(expected));
        }
        assert!(matches!(tmp102([0x80, 0x00]), Err(DeviceError::Absurd { .. })));
        // Above 128 °C, in 13 bits.
        assert!(matches!(tmp102([0x4b, 0x01]), Err(DeviceError::Absurd { value: 150.0, .. })));
    }

    #[test]
    fn tmp117_that_has_not_measured_yet_is_not_minus_256() {
        let tmp117 = |bytes| given(|mock| Tmp117::new(mock, 0x48), (0x48, 0), bytes);
        for (bytes, expected) in
            [([0x0c, 0x80], 25.0), ([0x00, 0x01], 0.007_812_5), ([0xff, 0xff], -0.007_812_5)]
        {
            assert_eq!(tmp117(bytes), Ok(expected));
        }
        assert!(matches!(tmp117([0x80, 0x00]), Err(DeviceError::Absurd { value: -256.0, .. })));
    }

    #[test]
    fn mcp9808_is_right_below_zero_and_whatever_its_alarms_say() {
        let mcp = |bytes| given(|mock| Mcp9808::new(mock, 0x18), (0x18, 5), bytes);
        for (bytes, expected) in
            [([0x01, 0x94], 25.25), ([0xe1, 0x94], 25.25), ([0x1f, 0x60], -10.0), ([0xff, 0xf8], -0.5)]
        {
            assert_eq!(mcp(bytes), Ok(expected), "{bytes:02x?}");
        }
        assert!(mcp([0x0f, 0xff]).is_err(), "255 °C");
    }

    #[test]
    fn another_chip_at_the_address_is_named_before_anything_is_believed() {
        let mut mock = Mock::new(&[
            Transaction::write_read(0x48, vec![0x0f], vec![0x00, 0x75]),
            Transaction::write_read(0x48, vec![0x0f], vec![0x51, 0x17]),
            Transaction::write_read(0x19, vec![0x06], vec![0x00, 0x54]),
            Transaction::write_read(0x19, vec![0x06], vec![0x00, 0x33]),
        ]);
        let mut tmp117 = Tmp117::new(mock.clone(), 0x48);
        assert_eq!(tmp117.start(), Err(DeviceError::OtherChip { found: 0x075, expected: 0x117 }));
        assert_eq!(tmp117.start(), Ok(()), "the revision does not matter");
        let mut mcp = Mcp9808::new(mock.clone(), 0x19);
        assert_eq!(mcp.start(), Ok(()));
        assert!(mcp.start().unwrap_err().to_string().contains("another chip"));
        mock.done();
    }

    #[test]
    fn a_chip_that_does_not_answer_is_silence_and_a_broken_bus_is_not() {
        let transactions = [
            Transaction::write_read(0x48, vec![0], vec![0, 0]).with_error(NACK),
            Transaction::write_read(0x48, vec![0], vec![0, 0]).with_error(ErrorKind::Bus),
            Transaction::write(0x48, vec![1, 0]).with_error(NACK),
        ];
        let mut mock = Mock::new(&transactions);
        let mut tmp102 = Tmp1x2Sensor::new(mock.clone(), 0x48);
        let silent = read(&mut tmp102).unwrap_err();
        let broken = read(&mut tmp102).unwrap_err();
        assert!(silent.is_silence() && !broken.is_silence(), "{silent} {broken}");
        let mut lm75 = Lm75Sensor::new(mock.clone(), 0x48);
        assert!(lm75.start().unwrap_err().is_silence());
        mock.done();
    }
}
