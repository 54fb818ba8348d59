//! What is attached to a board beside its processor: sensors on I2C, lines of GPIO, a watchdog.

use std::str::FromStr;

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

/// Two things that want the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The key under which both stand: `sensors` or `lines`.
    pub key: &'static str,
    /// What both want.
    pub problem: String,
}

impl HardwarePlan {
    /// What is there when this is soldered on and that was wired: what was wired replaces what has the same name.
    ///
    /// The watchdog is used only where the configuration says so: whoever opens it must feed it.
    #[must_use]
    pub fn with(&self, wired: &Self) -> Self {
        let renewed = |sensor: &&SensorPlan| wired.sensors.iter().any(|other| other.name == sensor.name);
        let kept = self.sensors.iter().filter(|sensor| !renewed(sensor));
        let line = |wired: &Option<Line>, soldered: &Option<Line>| wired.clone().or_else(|| soldered.clone());
        Self {
            sensors: kept.chain(&wired.sensors).cloned().collect(),
            lines: Lines {
                status_led: line(&wired.lines.status_led, &self.lines.status_led),
                alarm_relay: line(&wired.lines.alarm_relay, &self.lines.alarm_relay),
                power_fail: line(&wired.lines.power_fail, &self.lines.power_fail),
                door: line(&wired.lines.door, &self.lines.door),
            },
            watchdog: wired.watchdog.clone(),
        }
    }

    /// Every name, place on a bus and line that is used twice.
    pub fn clashes(&self) -> Vec<Clash> {
        let mut clashes = Vec::new();
        for (place, sensor) in self.sensors.iter().enumerate() {
            let before = || self.sensors.iter().take(place);
            if before().any(|other| other.name == sensor.name) {
                let problem = format!("the name {:?} twice", sensor.name);
                clashes.push(Clash { key: "sensors", problem });
            } else if let Some(other) =
                before().find(|other| (other.bus, other.address) == (sensor.bus, sensor.address))
            {
                let (bus, address) = (sensor.bus, sensor.address);
                let problem =
                    format!("{:?} and {:?} both at bus {bus}, {address:#04x}", other.name, sensor.name);
                clashes.push(Clash { key: "sensors", problem });
            }
        }
        let lines: Vec<(&str, &Line)> = self.lines.used().collect();
        for (place, (name, line)) in lines.iter().enumerate() {
            let same = |other: &&(&str, &Line)| (&other.1.chip, other.1.offset) == (&line.chip, line.offset);
            if let Some((other, _)) = lines.iter().take(place).find(same) {
                let problem = format!("{other} and {name} both on {}:{}", line.chip, line.offset);
                clashes.push(Clash { key: "lines", problem });
            }
        }
        clashes
    }
}

impl Lines {
    /// The lines that are used, with their keys.
    pub fn used(&self) -> impl Iterator<Item = (&'static str, &Line)> {
        let all = [
            ("status_led", &self.status_led),
            ("alarm_relay", &self.alarm_relay),
            ("power_fail", &self.power_fail),
            ("door", &self.door),
        ];
        all.into_iter().filter_map(|(name, line)| line.as_ref().map(|line| (name, line)))
    }
}

/// A text does not name a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is written like gpiochip0:17 or gpiochip0:22 active-low")]
pub struct LineError;

impl FromStr for Line {
    type Err = LineError;

    /// Reads `gpiochip0:17` or `gpiochip0:22 active-low`.
    fn from_str(text: &str) -> Result<Self, LineError> {
        /// No chip has more: the largest banks of any board have a few hundred.
        const OFFSET_MAX: u32 = 1_023;
        let (place, word) = text.split_once(' ').unwrap_or((text, ""));
        let active_low = match word.trim() {
            "" => false,
            "active-low" => true,
            _ => return Err(LineError),
        };
        let (chip, offset) = place.split_once(':').ok_or(LineError)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = chip.strip_prefix("gpiochip").filter(|number| digits(number) && number.len() <= 3);
        // A zero in front would make it another name, and two names of one line no clash.
        let number = number.filter(|number| *number == "0" || !number.starts_with('0'));
        let offset = Some(offset).filter(|offset| digits(offset)).and_then(|offset| offset.parse().ok());
        let offset = offset.filter(|&offset| offset <= OFFSET_MAX).ok_or(LineError)?;
        number.map(|_| Self { chip: chip.to_owned(), offset, active_low }).ok_or(LineError)
    }
}

impl Driver {
    /// Whether it measures the current of a supply or a battery.
    pub fn measures_current(self) -> bool {
        self.channels().contains(&"current")
    }

    /// Whether it measures vibration: many samples a second, by a FIFO.
    pub fn measures_vibration(self) -> bool {
        self.channels().contains(&"x")
    }

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
