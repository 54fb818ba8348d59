//! What is attached to a board beside its processor: sensors on I2C, lines of GPIO, a watchdog.

use crate::units::{Ratio, Volts};

/// What is attached. A board file says what is soldered on; `[hardware]` of the configuration adds what a fitter has
/// wired, and replaces what has the same name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HardwarePlan {
    /// Sensors on I2C.
    pub sensors: Vec<SensorPlan>,
    /// Lines of GPIO.
    pub lines: Lines,
    /// The hardware watchdog, like `/dev/watchdog0`; `None`: not used.
    pub watchdog: Option<String>,
}

/// A sensor on I2C.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorPlan {
    /// Name, as in `source = "i2c:NAME"`.
    pub name: String,
    /// Who can read it.
    pub driver: Driver,
    /// Number of the bus: `/dev/i2c-N`.
    pub bus: u8,
    /// Address of seven bits.
    pub address: u8,
    /// What the governor makes of it.
    pub role: SensorRole,
    /// Resistance of the shunt in ohms, for sensors of current.
    pub shunt: f32,
    /// Readings per second; for accelerometers samples per second.
    pub rate: f32,
    /// Whether this file is sure that it is there: one that is optional and absent is no fault.
    pub optional: bool,
}

/// Who can read a sensor. Several chips share registers, and so a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Driver {
    /// LM75 and its many likes.
    Lm75,
    /// TMP102, TMP112.
    Tmp102,
    /// TMP117.
    Tmp117,
    /// MCP9808.
    Mcp9808,
    /// SHT40, SHT41, SHT45.
    Sht4x,
    /// BME280.
    Bme280,
    /// INA219.
    Ina219,
    /// INA226.
    Ina226,
    /// ADXL345, by its FIFO.
    Adxl345,
    /// LIS3DH, by its FIFO.
    Lis3dh,
}

/// What the governor makes of a sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum SensorRole {
    /// Nothing: it is there for streams.
    #[default]
    Stream,
    /// The air in the cabinet.
    Cabinet,
    /// The supply of the board.
    Supply,
    /// A battery behind the board that is empty and full at these voltages.
    Battery {
        /// Empty.
        empty: Volts,
        /// Full.
        full: Volts,
        /// Below this charge only alarms are judged.
        low: Ratio,
    },
}

/// Lines of GPIO by their use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Shows the state of the gateway by its rhythm.
    pub status_led: Option<Line>,
    /// Is held while all is well and falls when an alarm stands, the gateway is down or power is lost.
    pub alarm_relay: Option<Line>,
    /// Says that the supply ends.
    pub power_fail: Option<Line>,
    /// Says that the cabinet is open.
    pub door: Option<Line>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Chip: `/dev/gpiochipN` without the folder.
    pub chip: String,
    /// Offset on it.
    pub offset: u32,
    /// True when a low level means yes.
    pub active_low: bool,
}

impl Driver {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Lm75,
        Self::Tmp102,
        Self::Tmp117,
        Self::Mcp9808,
        Self::Sht4x,
        Self::Bme280,
        Self::Ina219,
        Self::Ina226,
        Self::Adxl345,
        Self::Lis3dh,
    ];

    /// The word in board files and configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lm75 => "lm75",
            Self::Tmp102 => "tmp102",
            Self::Tmp117 => "tmp117",
            Self::Mcp9808 => "mcp9808",
            Self::Sht4x => "sht4x",
            Self::Bme280 => "bme280",
            Self::Ina219 => "ina219",
            Self::Ina226 => "ina226",
            Self::Adxl345 => "adxl345",
            Self::Lis3dh => "lis3dh",
        }
    }

    /// Names of the values it gives, as channels of a stream. Units: °C, %, hPa, V, A, W, m/s².
    pub fn channels(self) -> &'static [&'static str] {
        match self {
            Self::Lm75 | Self::Tmp102 | Self::Tmp117 | Self::Mcp9808 => &["temperature"],
            Self::Sht4x => &["temperature", "humidity"],
            Self::Bme280 => &["temperature", "humidity", "pressure"],
            Self::Ina219 | Self::Ina226 => &["voltage", "current", "power"],
            Self::Adxl345 | Self::Lis3dh => &["x", "y", "z"],
        }
    }
}
