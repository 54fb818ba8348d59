//! Climate: `SHT4x` and BME280, by the crates of the ecosystem. Both measure when asked.

use bme280::i2c::BME280;
use bme280::{Configuration, IIRFilter, Oversampling};
use embedded_hal::delay::DelayNs;
use sht4x::{Address, Precision, Sht4x};

use crate::clock::Uptime;
use crate::device::error::{DeviceError, within};
use crate::device::seam::Samples;
use crate::device::sensor::{Bus, Sensor, add};

/// SHT40, SHT41, SHT45. Takes 8 ms to measure.
pub(in crate::device) struct Sht4xSensor<B, D> {
    chip: Sht4x<B, D>,
    delay: D,
}

/// BME280. Takes 10 ms to measure; its crate waits for 40. A BMP280 at its address is taken too and says a humidity
/// of 0.
pub(in crate::device) struct Bme280Sensor<B, D> {
    chip: BME280<B>,
    delay: D,
}

impl<B: Bus, D: DelayNs + Send> Sht4xSensor<B, D> {
    pub(in crate::device) fn new(bus: B, address: u8, delay: D) -> Self {
        let address = match address {
            0x45 => Address::Address0x45,
            0x46 => Address::Address0x46,
            _usual => Address::Address0x44,
        };
        Self { chip: Sht4x::new_with_address(bus, address), delay }
    }
}

impl<B: Bus, D: DelayNs + Send> Sensor for Sht4xSensor<B, D> {
    fn start(&mut self) -> Result<(), DeviceError> {
        self.chip.soft_reset(&mut self.delay).map_err(of_sht4x)
    }

    fn read(&mut self, now: &dyn Fn() -> Uptime, samples: &mut Samples) -> Result<(), DeviceError> {
        let measured = self.chip.measure(Precision::High, &mut self.delay).map_err(of_sht4x)?;
        let celsius = within(measured.temperature_milli_celsius() as f32 / 1e3, -40.0..=125.0, "°C")?;
        // The formula reaches from -6 to 119 %; the data sheet (section 4.6) says to cut there.
        let humidity = (measured.humidity_milli_percent() as f32 / 1e3).clamp(0.0, 100.0);
        add(samples, now(), &[celsius, humidity]);
        Ok(())
    }
}

fn of_sht4x<E: embedded_hal::i2c::Error + std::fmt::Display>(error: sht4x::Error<E>) -> DeviceError {
    match error {
        sht4x::Error::I2c(error) => DeviceError::bus(error),
        sht4x::Error::Crc => DeviceError::Checksum,
        _newer => DeviceError::Unusable("answers what its driver does not know"),
    }
}

impl<B: Bus, D: DelayNs + Send> Bme280Sensor<B, D> {
    pub(in crate::device) fn new(bus: B, address: u8, delay: D) -> Self {
        Self { chip: BME280::new(bus, address), delay }
    }
}

impl<B: Bus, D: DelayNs + Send> Sensor for Bme280Sensor<B, D> {
    /// Settings for weather monitoring of the data sheet (section 3.5.1): no oversampling, no filter.
    fn start(&mut self) -> Result<(), DeviceError> {
        let settings = Configuration::default()
            .with_humidity_oversampling(Oversampling::Oversampling1X)
            .with_pressure_oversampling(Oversampling::Oversampling1X)
            .with_temperature_oversampling(Oversampling::Oversampling1X)
            .with_iir_filter(IIRFilter::Off);
        self.chip.init_with_config(&mut self.delay, settings).map_err(of_bme280)
    }

    fn read(&mut self, now: &dyn Fn() -> Uptime, samples: &mut Samples) -> Result<(), DeviceError> {
        let measured = self.chip.measure(&mut self.delay).map_err(of_bme280)?;
        // Its crate cuts at the ends of the range: what stands exactly there was beyond.
        let celsius = within(measured.temperature, -39.999..=84.999, "°C")?;
        let hectopascal = within(measured.pressure / 100.0, 300.001..=1_099.999, "hPa")?;
        add(samples, now(), &[celsius, measured.humidity, hectopascal]);
        Ok(())
    }
}

fn of_bme280<E: embedded_hal::i2c::Error + std::fmt::Display>(error: bme280::Error<E>) -> DeviceError {
    match error {
        bme280::Error::Bus(error) => DeviceError::bus(error),
        bme280::Error::UnsupportedChip => DeviceError::Unusable("is no BME280: check driver and address"),
        bme280::Error::CompensationFailed | bme280::Error::InvalidData => {
            DeviceError::Unusable("answers what cannot be: check the sensor and its wiring")
        }
        bme280::Error::NoCalibrationData | bme280::Error::Delay => DeviceError::Unusable("was not set up"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "exact numbers of the data sheet")]

    use embedded_hal::i2c::ErrorKind;
    use embedded_hal_mock::eh1::delay::NoopDelay;
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use super::*;

    fn read(sensor: &mut impl Sensor) -> Result<[f32; 3], DeviceError> {
        let mut samples = Samples::of(0);
        sensor.read(&|| Uptime::ZERO, &mut samples)?;
        Ok(samples.rows[0].values)
    }

    /// An `SHT4x` that answers its high-precision command with these six bytes.
    fn sht(answer: [u8; 6]) -> Result<[f32; 3], DeviceError> {
        let mut mock =
            Mock::new(&[Transaction::write(0x44, vec![0xfd]), Transaction::read(0x44, answer.to_vec())]);
        let values = read(&mut Sht4xSensor::new(mock.clone(), 0x44, NoopDelay::new()));
        mock.done();
        values
    }

    #[test]
    fn sht4x_values_follow_the_formulas_of_the_data_sheet_and_humidity_is_cut_at_its_ends() {
        // 0xBEEF with its checksum 0x92 is the example of the data sheet.
        let values = sht([0xbe, 0xef, 0x92, 0xbe, 0xef, 0x92]).unwrap();
        let share = f32::from(0xbeef_u16) / 65_535.0;
        assert!((values[0] - (-45.0 + 175.0 * share)).abs() < 0.01, "{values:?}");
        assert!((values[1] - (-6.0 + 125.0 * share)).abs() < 0.01, "{values:?}");
        assert!(values[2].is_nan(), "it has two channels");
        // 0x0000 has the checksum 0x81, 0xffff has 0xac.
        assert_eq!(sht([0xbe, 0xef, 0x92, 0x00, 0x00, 0x81]).unwrap()[1], 0.0);
        assert_eq!(sht([0xbe, 0xef, 0x92, 0xff, 0xff, 0xac]).unwrap()[1], 100.0);
    }

    #[test]
    fn sht4x_answers_that_were_garbled_or_cannot_be_are_errors() {
        assert_eq!(sht([0xbe, 0xee, 0x92, 0xbe, 0xef, 0x92]), Err(DeviceError::Checksum));
        assert!(matches!(sht([0xff, 0xff, 0xac, 0xbe, 0xef, 0x92]), Err(DeviceError::Absurd { .. })));
        assert!(matches!(sht([0x00, 0x00, 0x81, 0xbe, 0xef, 0x92]), Err(DeviceError::Absurd { .. })));
    }

    #[test]
    fn sht4x_that_went_away_between_command_and_answer_is_an_error_of_the_bus() {
        let mut mock = Mock::new(&[
            Transaction::write(0x44, vec![0x94]),
            Transaction::write(0x44, vec![0xfd]),
            Transaction::read(0x44, vec![0; 6]).with_error(ErrorKind::Other),
        ]);
        let mut sensor = Sht4xSensor::new(mock.clone(), 0x44, NoopDelay::new());
        sensor.start().unwrap();
        let error = read(&mut sensor).unwrap_err();
        assert!(matches!(error, DeviceError::Bus { silent: false, .. }), "{error}");
        mock.done();
    }

    /// What a BME280 is asked at its start, answered with the calibration of the example in the data sheet of its
    /// family (BMP280, section 3.12), and humidity calibrated to what chips carry.
    fn bme_start(id: u8) -> Vec<Transaction> {
        let write_read =
            |register: u8, answer: &[u8]| Transaction::write_read(0x76, vec![register], answer.to_vec());
        let words: [u16; 12] = [
            27_504,
            26_435,
            (-1_000_i16).cast_unsigned(),
            36_477,
            (-10_685_i16).cast_unsigned(),
            3_024,
            2_855,
            140,
            (-7_i16).cast_unsigned(),
            15_500,
            (-14_600_i16).cast_unsigned(),
            6_000,
        ];
        let mut calibration: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        calibration.extend([0, 75]);
        let mut asked = vec![write_read(0xd0, &[id])];
        if id == 0x60 {
            asked.extend([
                Transaction::write(0x76, vec![0xe0, 0xb6]),
                write_read(0x88, &calibration),
                write_read(0xe1, &[0x6a, 0x01, 0x00, 0x13, 0x29, 0x03, 0x1e]),
                write_read(0xf4, &[0]),
                Transaction::write(0x76, vec![0xf2, 1]),
                write_read(0xf4, &[0]),
                Transaction::write(0x76, vec![0xf4, 0x24]),
                write_read(0xf5, &[0]),
                Transaction::write(0x76, vec![0xf5, 0]),
            ]);
        }
        asked
    }

    fn bme(data: [u8; 8]) -> Result<[f32; 3], DeviceError> {
        let mut asked = bme_start(0x60);
        asked.extend([
            Transaction::write_read(0x76, vec![0xf4], vec![0x24]),
            Transaction::write_read(0x76, vec![0xf4], vec![0x24]),
            Transaction::write(0x76, vec![0xf4, 0x25]),
            Transaction::write_read(0x76, vec![0xf7], data.to_vec()),
        ]);
        let mut mock = Mock::new(&asked);
        let mut sensor = Bme280Sensor::new(mock.clone(), 0x76, NoopDelay::new());
        sensor.start().unwrap();
        let values = read(&mut sensor);
        mock.done();
        values
    }

    #[test]
    fn bme280_computes_the_example_of_the_data_sheet() {
        // Raw pressure 415,148 and temperature 519,888: 1006.53 hPa and 25.08 °C.
        let values = bme([0x65, 0x5a, 0xc0, 0x7e, 0xed, 0x00, 0x6d, 0x00]).unwrap();
        assert!((values[0] - 25.08).abs() < 0.01 && (values[2] - 1006.53).abs() < 0.1, "{values:?}");
        assert!((0.0..100.0).contains(&values[1]), "{values:?}");
    }

    #[test]
    fn bme280_beyond_its_range_is_no_85_degrees() {
        let hot = bme([0x65, 0x5a, 0xc0, 0xff, 0xff, 0xf0, 0x6d, 0x00]);
        assert!(matches!(hot, Err(DeviceError::Absurd { .. })), "{hot:?}");
    }

    #[test]
    fn another_chip_in_the_place_of_a_bme280_is_named() {
        let mut mock = Mock::new(&bme_start(0x61));
        let mut sensor = Bme280Sensor::new(mock.clone(), 0x76, NoopDelay::new());
        assert!(sensor.start().unwrap_err().to_string().contains("is no BME280"));
        mock.done();
    }
}
