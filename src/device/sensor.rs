//! A sensor: one chip on a bus, set up and read.

use std::fmt::Display;
use std::time::Duration;

use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

use crate::board::{Driver, SensorPlan};
use crate::clock::Uptime;
use crate::device::climate::{Bme280Sensor, Sht4xSensor};
use crate::device::error::DeviceError;
use crate::device::power::{Ina219Sensor, Ina226Sensor};
use crate::device::seam::{Row, Samples, VALUES_MAX};
use crate::device::temperature::{Lm75Sensor, Mcp9808, Tmp1x2Sensor, Tmp117};
use crate::device::vibration::{Adxl345, Lis3dh, Vibration, adxl345, lis3dh};

/// From its start to its first reading: the slowest, an LM75, measures in 300 ms and says 0 °C until then.
pub const SETTLE: Duration = Duration::from_millis(300);

/// A chip that can be read.
pub trait Sensor: Send {
    /// Sets the chip up. Again after each failure: it may have lost its power in between.
    fn start(&mut self) -> Result<(), DeviceError>;

    /// Adds what was measured since the last time, in order; `now` is when the answer came.
    fn read(&mut self, now: &dyn Fn() -> Uptime, samples: &mut Samples) -> Result<(), DeviceError>;
}

/// What the drivers need of a bus: that it says what is wrong.
pub trait Bus: I2c<Error: Display> + Send {}

impl<B: I2c<Error: Display> + Send> Bus for B {}

/// The driver of a sensor, on a bus of its own.
///
/// # Errors
/// When the chip cannot have this address.
pub fn sensor<B, D>(plan: &SensorPlan, bus: B, delay: D) -> Result<Box<dyn Sensor>, DeviceError>
where
    B: Bus + 'static,
    D: DelayNs + Send + 'static,
{
    let address = plan.address;
    if !addresses(plan.driver).contains(&address) {
        return Err(DeviceError::Unusable("the chip cannot have this address"));
    }
    Ok(match plan.driver {
        Driver::Lm75 => Box::new(Lm75Sensor::new(bus, address)),
        Driver::Tmp102 => Box::new(Tmp1x2Sensor::new(bus, address)),
        Driver::Tmp117 => Box::new(Tmp117::new(bus, address)),
        Driver::Mcp9808 => Box::new(Mcp9808::new(bus, address)),
        Driver::Sht4x => Box::new(Sht4xSensor::new(bus, address, delay)),
        Driver::Bme280 => Box::new(Bme280Sensor::new(bus, address, delay)),
        Driver::Ina219 => Box::new(Ina219Sensor::new(bus, address, plan.shunt)?),
        Driver::Ina226 => Box::new(Ina226Sensor::new(bus, address, plan.shunt)),
        Driver::Adxl345 => Box::new(Vibration::new(Adxl345::new(bus, address, plan.rate))),
        Driver::Lis3dh => Box::new(Vibration::new(Lis3dh::new(bus, address, plan.rate))),
    })
}

/// Samples per second that a sensor gives when its plan asks for so many: accelerometers have rates of their own, and the
/// slowest that is no less is taken.
pub fn rate_of(plan: &SensorPlan) -> f32 {
    match plan.driver {
        Driver::Adxl345 => adxl345::rate(plan.rate).1,
        Driver::Lis3dh => lis3dh::rate(plan.rate).1,
        Driver::Lm75
        | Driver::Tmp102
        | Driver::Tmp117
        | Driver::Mcp9808
        | Driver::Sht4x
        | Driver::Bme280
        | Driver::Ina219
        | Driver::Ina226 => plan.rate,
    }
}

/// Addresses a chip can be set to by its pins.
pub fn addresses(driver: Driver) -> &'static [u8] {
    match driver {
        Driver::Lm75 => &[0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f],
        Driver::Tmp102 | Driver::Tmp117 => &[0x48, 0x49, 0x4a, 0x4b],
        Driver::Mcp9808 => &[0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f],
        Driver::Sht4x => &[0x44, 0x45, 0x46],
        Driver::Bme280 => &[0x76, 0x77],
        Driver::Ina219 | Driver::Ina226 => {
            &[0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f]
        }
        Driver::Adxl345 => &[0x1d, 0x53],
        Driver::Lis3dh => &[0x18, 0x19],
    }
}

/// Unit of a channel.
pub fn unit_of(channel: &str) -> &'static str {
    match channel {
        "temperature" => "°C",
        "humidity" => "%",
        "pressure" => "hPa",
        "voltage" => "V",
        "current" => "A",
        "power" => "W",
        "x" | "y" | "z" => "m/s²",
        _unitless => "",
    }
}

/// Adds one row taken at this moment.
pub(in crate::device) fn add(samples: &mut Samples, at: Uptime, values: &[f32]) {
    let mut row = Row { at: at.0, values: [f32::NAN; VALUES_MAX] };
    for (slot, value) in row.values.iter_mut().zip(values) {
        *slot = *value;
    }
    if samples.rows.push(row).is_err() {
        // Full: told as lost, like what a FIFO loses.
        samples.overrun = samples.overrun.saturating_add(1);
    }
}
