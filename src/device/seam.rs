//! The seam between the gateway and its hardware: plain data both ways, so that a separate process can serve it later.
//!
//! What crosses is bounded, holds no handle and shares no memory. Times are the uptime of the side that reads the
//! sensors, in nanoseconds; two processes tie their uptimes together when they connect.

use heapless::Vec as Bounded;
use serde::{Deserialize, Serialize};

use crate::flow::{HardwareReading, PowerReading, PowerSource, Sensed};
use crate::units::{Celsius, Ratio, Volts, Watts};

/// Most values a sensor gives at one moment: three axes; climate and power have as many.
pub const VALUES_MAX: usize = 3;

/// Most rows of one report: the depth of the FIFOs.
pub const ROWS_MAX: usize = 32;

/// The place of the door among the sensors: after all of them.
pub const DOOR: u16 = u16::MAX;

/// Most bytes of a text of a fault.
pub const TEXT_MAX: usize = 160;

/// What the gateway asks of its hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HardwareCommand {
    /// Show this rhythm on the status light.
    Led(LedPattern),
    /// Hold the alarm relay or let it fall.
    Relay(RelayState),
    /// All is well: feed the hardware watchdog.
    FeedWatchdog,
}

/// The rhythm of the status light: who stands before the cabinet sees what the gateway thinks of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedPattern {
    /// The gateway is not running: dark.
    #[default]
    Off,
    /// Up: one short blink a second.
    Up,
    /// Degraded: two short blinks a second.
    Degraded,
    /// An alarm stands: fast.
    Alarm,
    /// Paused by an operator: long.
    Paused,
}

/// The alarm relay. It fails safe: without power, without a program and in an alarm it is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayState {
    /// De-energised: an alarm stands, or nobody knows.
    #[default]
    Fallen,
    /// Energised: all is well.
    Held,
}

/// What the hardware tells the gateway.
#[expect(clippy::large_enum_variant, reason = "goes from one call to the next and is not kept")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HardwareReport {
    /// What a sensor measured.
    Samples(Samples),
    /// What the governor hears.
    Reading(Reading),
    /// An input changed.
    Edge {
        /// Which.
        line: InputLine,
        /// Whether it now says yes.
        state: bool,
        /// When, in nanoseconds of uptime.
        at: u64,
    },
    /// Something does not work, or works again.
    Fault(HardwareFault),
}

/// Rows of one sensor, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// Its place in the hardware plan.
    pub sensor: u16,
    /// Values by channel of its driver; what it has not is NaN.
    pub rows: Bounded<Row, ROWS_MAX>,
    /// Rows that its FIFO lost since the last report.
    pub overrun: u32,
}

/// What a sensor measured at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// When, in nanoseconds of uptime.
    pub at: u64,
    /// By channel of the driver.
    pub values: [f32; VALUES_MAX],
}

/// An input line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputLine {
    /// The supply ends.
    PowerFail,
    /// The cabinet is open.
    Door,
}

/// Something does not work, or works again: told once on entering and once on leaving.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardwareFault {
    /// What: the name of the sensor or the line.
    pub what: Text,
    /// Why it does not work, with the remedy; `None`: it works again.
    pub why: Option<Text>,
}

/// A text of bounded length.
pub type Text = heapless::String<TEXT_MAX>;

/// [`HardwareReading`] as it crosses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The warmest cabinet sensor, °C.
    pub cabinet: Sense,
    /// What feeds the board.
    pub source: Source,
    /// Charge of the battery, 0 to 1.
    pub charge: Sense,
    /// Voltage of the supply or the battery.
    pub voltage: Sense,
    /// What the board draws, W.
    pub draw: Sense,
    /// The supply ends now.
    pub failing: bool,
}

/// A measurement as it crosses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Sense {
    /// Nothing is there to measure it.
    #[default]
    Absent,
    /// Something is there and says nothing to be believed.
    Lost,
    /// This was measured.
    Known(f32),
}

/// What feeds the board, as it crosses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Nothing tells.
    #[default]
    Unknown,
    /// What does not run down.
    Mains,
    /// A battery.
    Battery,
}

/// As much of a text as crosses.
pub fn text(text: &str) -> Text {
    let mut bounded = Text::new();
    for letter in text.chars() {
        if bounded.push(letter).is_err() {
            break;
        }
    }
    bounded
}

impl Samples {
    /// No rows of this sensor yet.
    pub fn of(sensor: u16) -> Self {
        Self { sensor, rows: Bounded::new(), overrun: 0 }
    }
}

impl LedPattern {
    /// The word used in logs and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Alarm => "alarm",
            Self::Paused => "paused",
        }
    }
}

impl InputLine {
    /// The word used in configurations and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PowerFail => "power_fail",
            Self::Door => "door",
        }
    }
}

impl From<HardwareReading> for Reading {
    fn from(reading: HardwareReading) -> Self {
        let power = reading.power;
        Self {
            cabinet: Sense::of(reading.cabinet, |celsius| celsius.0),
            source: match power.source {
                PowerSource::Unknown => Source::Unknown,
                PowerSource::Mains => Source::Mains,
                PowerSource::Battery => Source::Battery,
            },
            charge: Sense::of(power.charge, Ratio::get),
            voltage: Sense::of(power.voltage, |volts| volts.0),
            draw: Sense::of(power.draw, |watts| watts.0),
            failing: power.failing,
        }
    }
}

impl From<Reading> for HardwareReading {
    fn from(reading: Reading) -> Self {
        let power = PowerReading {
            source: match reading.source {
                Source::Unknown => PowerSource::Unknown,
                Source::Mains => PowerSource::Mains,
                Source::Battery => PowerSource::Battery,
            },
            charge: reading.charge.believed(Ratio::new),
            voltage: reading.voltage.believed(|volts| volts.is_finite().then_some(Volts(volts))),
            draw: reading.draw.believed(|watts| watts.is_finite().then_some(Watts(watts))),
            failing: reading.failing,
        };
        Self {
            cabinet: reading.cabinet.believed(|degrees| degrees.is_finite().then_some(Celsius(degrees))),
            power,
        }
    }
}

impl Sense {
    fn of<T>(sensed: Sensed<T>, number: impl Fn(T) -> f32) -> Self {
        match sensed {
            Sensed::Absent => Self::Absent,
            Sensed::Lost => Self::Lost,
            Sensed::Known(value) => Self::Known(number(value)),
        }
    }

    /// What the other side says, if it can be: a number that is none is a sensor that says nothing.
    fn believed<T>(self, quantity: impl Fn(f32) -> Option<T>) -> Sensed<T> {
        match self {
            Self::Absent => Sensed::Absent,
            Self::Lost => Sensed::Lost,
            Self::Known(number) => quantity(number).map_or(Sensed::Lost, Sensed::Known),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a frame must hold once two processes meet here: 32 rows of three numbers and a time each, and what says so.
    const REPORT_BYTES_MAX: usize = 1_024;

    /// The same of a command.
    const COMMAND_BYTES_MAX: usize = 8;

    fn sense() -> impl Strategy<Value = Sense> {
        prop_oneof![Just(Sense::Absent), Just(Sense::Lost), (-1e6_f32..1e6).prop_map(Sense::Known)]
    }

    fn row() -> impl Strategy<Value = Row> {
        (any::<u64>(), any::<[i16; 3]>())
            .prop_map(|(at, values)| Row { at, values: values.map(|value| f32::from(value) / 7.0) })
    }

    fn report() -> impl Strategy<Value = HardwareReport> {
        let rows = proptest::collection::vec(row(), 0..=ROWS_MAX);
        let samples = (any::<u16>(), rows, any::<u32>()).prop_map(|(sensor, rows, overrun)| {
            HardwareReport::Samples(Samples { sensor, rows: rows.into_iter().collect(), overrun })
        });
        let power = (sense(), sense(), sense(), sense(), any::<bool>()).prop_map(
            |(cabinet, charge, voltage, draw, failing)| {
                let source = if failing { Source::Battery } else { Source::Mains };
                HardwareReport::Reading(Reading { cabinet, source, charge, voltage, draw, failing })
            },
        );
        let edge = (any::<bool>(), any::<u64>()).prop_map(|(state, at)| {
            let line = if state { InputLine::Door } else { InputLine::PowerFail };
            HardwareReport::Edge { line, state, at }
        });
        let fault = (".{0,300}", proptest::option::of(".{0,300}")).prop_map(|(what, why)| {
            HardwareReport::Fault(HardwareFault { what: text(&what), why: why.map(|why| text(&why)) })
        });
        prop_oneof![samples, power, edge, fault]
    }

    proptest! {
        #[test]
        fn every_report_comes_back_as_it_was_and_none_is_longer_than_stated(report in report()) {
            let mut buffer = [0; REPORT_BYTES_MAX];
            let bytes = postcard::to_slice(&report, &mut buffer).unwrap();
            let (back, rest) = postcard::take_from_bytes::<HardwareReport>(bytes).unwrap();
            prop_assert_eq!(back, report);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn no_bytes_of_a_stranger_are_a_report_beyond_its_limits(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(HardwareReport::Reading(reading)) = postcard::from_bytes::<HardwareReport>(&bytes) {
                // Whatever the other side says, what the governor hears are numbers.
                let heard = HardwareReading::from(reading);
                prop_assert!(heard.cabinet.known().is_none_or(|cabinet| cabinet.0.is_finite()));
                prop_assert!(heard.power.charge.known().is_none_or(|charge| (0.0..=1.0).contains(&charge.get())));
            }
        }
    }

    #[test]
    fn every_command_comes_back_as_it_was_and_none_is_longer_than_stated() {
        let leds =
            [LedPattern::Off, LedPattern::Up, LedPattern::Degraded, LedPattern::Alarm, LedPattern::Paused];
        let relays = [RelayState::Fallen, RelayState::Held].map(HardwareCommand::Relay);
        let commands = leds.map(HardwareCommand::Led).into_iter().chain(relays);
        for command in commands.chain([HardwareCommand::FeedWatchdog]) {
            let mut buffer = [0; COMMAND_BYTES_MAX];
            let bytes = postcard::to_slice(&command, &mut buffer).unwrap();
            assert_eq!(postcard::from_bytes::<HardwareCommand>(bytes).unwrap(), command);
        }
    }

    #[test]
    fn a_reading_means_the_same_on_both_sides() {
        let reading = HardwareReading {
            cabinet: Sensed::Known(Celsius(41.5)),
            power: PowerReading {
                source: PowerSource::Battery,
                charge: Sensed::Known(Ratio::new(0.5).unwrap()),
                voltage: Sensed::Known(Volts(12.1)),
                draw: Sensed::Lost,
                failing: true,
            },
        };
        assert_eq!(HardwareReading::from(Reading::from(reading)), reading);
        let absurd =
            Reading { charge: Sense::Known(7.0), cabinet: Sense::Known(f32::NAN), ..Reading::default() };
        let heard = HardwareReading::from(absurd);
        assert_eq!((heard.power.charge, heard.cabinet), (Sensed::Lost, Sensed::Lost));
    }
}
