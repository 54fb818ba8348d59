//! Power: INA219 and INA226, by the crates of the ecosystem. Current and power are computed here from the two voltages
//! that the chips measure: their own registers for them need a calibration that is lost with the supply.

use ina219::SyncIna219;
use ina219::address::Address;
use ina219::calibration::UnCalibrated;
use ina219::configuration::Configuration;
use ina219::errors::{BusVoltageReadError, ShuntVoltageReadError};
use ina226::{AVG, Config, INA226, MODE, VBUSCT, VSHCT};

use crate::clock::Uptime;
use crate::device::error::{DeviceError, within};
use crate::device::seam::Samples;
use crate::device::sensor::{Bus, Sensor, add};

/// Largest voltage across a shunt, in mV, exclusive: at the end of the range the current is more than was measured.
const INA219_SHUNT: f32 = 319.99;
const INA226_SHUNT: f32 = 81.91;

/// INA219: up to 26 V; 4 mV and 10 µV.
pub(in crate::device) struct Ina219Sensor<B> {
    chip: SyncIna219<B, UnCalibrated>,
    shunt: f32,
}

/// INA226: up to 36 V; 1.25 mV and 2.5 µV.
pub(in crate::device) struct Ina226Sensor<B> {
    chip: INA226<B>,
    shunt: f32,
}

impl<B: Bus> Ina219Sensor<B> {
    pub(in crate::device) fn new(bus: B, address: u8, shunt: f32) -> Result<Self, DeviceError> {
        let address = Address::from_byte(address)
            .map_err(|_| DeviceError::Unusable("the chip cannot have this address"))?;
        Ok(Self { chip: SyncIna219::new_unchecked(bus, address, UnCalibrated), shunt })
    }
}

impl<B: Bus> Sensor for Ina219Sensor<B> {
    fn start(&mut self) -> Result<(), DeviceError> {
        self.chip.set_configuration(Configuration::default()).map_err(DeviceError::bus)
    }

    fn read(&mut self, now: &dyn Fn() -> Uptime, samples: &mut Samples) -> Result<(), DeviceError> {
        let volts = match self.chip.bus_voltage() {
            Ok(bus) => f32::from(bus.voltage_mv()) / 1e3,
            Err(BusVoltageReadError::I2cError(error)) => return Err(DeviceError::bus(error)),
            Err(BusVoltageReadError::BusVoltageOutOfRange { is, .. }) => f32::from(is.voltage_mv()) / 1e3,
        };
        let millivolts = match self.chip.shunt_voltage() {
            Ok(shunt) => f32::from(shunt.shunt_voltage_10uv()) / 100.0,
            Err(ShuntVoltageReadError::I2cError(error)) => return Err(DeviceError::bus(error)),
            Err(ShuntVoltageReadError::ShuntVoltageOutOfRange { is, .. }) => {
                f32::from(is.shunt_voltage_10uv()) / 100.0
            }
        };
        let values = power(within(volts, 0.0..=26.0, "V")?, shunt(millivolts, INA219_SHUNT)?, self.shunt);
        add(samples, now(), &values);
        Ok(())
    }
}

impl<B: Bus> Ina226Sensor<B> {
    pub(in crate::device) fn new(bus: B, address: u8, shunt: f32) -> Self {
        Self { chip: INA226::new(bus, address), shunt }
    }
}

impl<B: Bus> Sensor for Ina226Sensor<B> {
    /// Means of 16 readings of 1.1 ms each: ripple of a supply is no change of load.
    fn start(&mut self) -> Result<(), DeviceError> {
        let config = Config {
            avg: AVG::_16,
            vbusct: VBUSCT::_1100us,
            vshct: VSHCT::_1100us,
            mode: MODE::ShuntBusVoltageContinuous,
        };
        self.chip.set_configuration(&config).map_err(DeviceError::bus)
    }

    fn read(&mut self, now: &dyn Fn() -> Uptime, samples: &mut Samples) -> Result<(), DeviceError> {
        let volts = f32::from(self.chip.bus_voltage_raw().map_err(DeviceError::bus)?) * 1.25e-3;
        let millivolts = f32::from(self.chip.shunt_voltage_raw().map_err(DeviceError::bus)?) * 2.5e-3;
        let values = power(within(volts, 0.0..=36.0, "V")?, shunt(millivolts, INA226_SHUNT)?, self.shunt);
        add(samples, now(), &values);
        Ok(())
    }
}

fn shunt(millivolts: f32, most: f32) -> Result<f32, DeviceError> {
    within(millivolts, -most..=most, "mV at the shunt")
}

/// Voltage, current and power.
fn power(volts: f32, millivolts: f32, ohms: f32) -> [f32; 3] {
    let amperes = millivolts / 1e3 / ohms;
    [volts, amperes, volts * amperes]
}

#[cfg(test)]
mod tests {
    use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use super::*;

    fn read(sensor: &mut impl Sensor) -> Result<[f32; 3], DeviceError> {
        let mut samples = Samples::of(0);
        sensor.read(&|| Uptime::ZERO, &mut samples)?;
        Ok(samples.rows[0].values)
    }

    fn ina219(bus: u16, shunt: i16) -> Result<[f32; 3], DeviceError> {
        let mut mock = Mock::new(&[
            Transaction::write_read(0x40, vec![2], bus.to_be_bytes().to_vec()),
            Transaction::write_read(0x40, vec![1], shunt.to_be_bytes().to_vec()),
        ]);
        let values = read(&mut Ina219Sensor::new(mock.clone(), 0x40, 0.1).unwrap());
        mock.done();
        values
    }

    fn ina226(bus: u16, shunt: i16) -> Result<[f32; 3], DeviceError> {
        let mut mock = Mock::new(&[
            Transaction::write(0x41, vec![2]),
            Transaction::read(0x41, bus.to_be_bytes().to_vec()),
            Transaction::write(0x41, vec![1]),
            Transaction::read(0x41, shunt.to_be_bytes().to_vec()),
        ]);
        let values = read(&mut Ina226Sensor::new(mock.clone(), 0x41, 0.01));
        mock.done();
        values
    }

    fn near(found: Result<[f32; 3], DeviceError>, expected: [f32; 3]) {
        let found = found.unwrap();
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?} {expected:?}");
    }

    #[test]
    fn ina219_gives_volts_amperes_and_watts_both_ways() {
        // 3,000 steps of 4 mV, the three lowest bits are flags; 50 mV at 0.1 ohm.
        near(ina219(3_000 << 3 | 2, 5_000), [12.0, 0.5, 6.0]);
        near(ina219(3_000 << 3, -1_000), [12.0, -0.1, -1.2]);
    }

    #[test]
    fn ina226_gives_volts_amperes_and_watts_both_ways() {
        near(ina226(4_000, 2_000), [5.0, 0.5, 2.5]);
        near(ina226(4_000, -2_000), [5.0, -0.5, -2.5]);
    }

    #[test]
    fn a_voltage_beyond_the_chip_and_a_current_beyond_the_shunt_are_errors_and_no_values() {
        for absurd in
            [ina219(7_000 << 3, 0), ina219(3_000 << 3, 32_000), ina226(0x7fff, 0), ina226(4_000, i16::MIN)]
        {
            assert!(matches!(absurd, Err(DeviceError::Absurd { .. })), "{absurd:?}");
        }
    }

    #[test]
    fn a_chip_that_goes_between_its_two_registers_gives_no_half_row() {
        let nack = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
        let mut mock = Mock::new(&[
            Transaction::write(0x40, vec![0, 0x39, 0x9f]),
            Transaction::write_read(0x40, vec![2], vec![0x5d, 0xc0]),
            Transaction::write_read(0x40, vec![1], vec![0, 0]).with_error(nack),
            Transaction::write(0x41, vec![0, 0x45, 0x27]).with_error(nack),
        ]);
        let mut ina219 = Ina219Sensor::new(mock.clone(), 0x40, 0.1).unwrap();
        ina219.start().unwrap();
        assert!(read(&mut ina219).unwrap_err().is_silence());
        assert!(Ina226Sensor::new(mock.clone(), 0x41, 0.1).start().unwrap_err().is_silence());
        mock.done();
    }
}
