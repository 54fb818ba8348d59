//! `[gateway]` and `[budget]`: who this is and what it may use.

use std::path::PathBuf;
use std::sync::Arc;

use crate::board::Profile;
use crate::config::section::Section;
use crate::governor::CabinetLimits;
use crate::units::{Bytes, Celsius};

/// Names are parts of topics and of event ids: short, lower case, no separators.
const NAME_RULE: &str = "1 to 32 of a-z, 0-9 and -";
const NAME_CHARS_MAX: usize = 32;

/// The smallest `budget.memory`: a gateway with less has no room for the engine's code and one model.
pub const MEMORY_MIN: Bytes = Bytes(16 << 20);

/// The largest `budget.memory`: more is a slip of the pen.
pub const MEMORY_MAX: Bytes = Bytes(64 << 30);

/// Where neither the configuration nor a board file says it: what a Raspberry Pi 4 gets.
const MEMORY_BUILT_IN: Bytes = Bytes(96 << 20);
const CPU_BUILT_IN: f32 = 1.5;

/// A cabinet that is warm below freezing or not yet hot at the boiling point is a slip of the pen.
const CABINET_RULE: &str = "0 °C to 100 °C";
/// Sensors step by up to half a degree.
const CABINET_STEP: f32 = 1.0;

/// Who this gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Name of the plant or ship.
    pub site: Arc<str>,
    /// Name of the gateway within the site.
    pub id: Arc<str>,
    /// Name of a board profile; `None` to recognise it.
    pub board: Option<String>,
    /// Where the outbox and other state live.
    pub state_dir: PathBuf,
}

/// What the process may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetSettings {
    /// Memory of the process, models included.
    pub memory: Bytes,
    /// Who says so.
    pub memory_from: ValueSource,
    /// Cores for inference.
    pub cpu: f32,
    /// Who says so.
    pub cpu_from: ValueSource,
    /// The temperature to stay below.
    pub temperature: TemperatureLimit,
    /// What the air in the cabinet may have; `None`: it limits nothing.
    pub cabinet: Option<CabinetLimits>,
}

/// Who says what a value is. Each goes before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// The configuration.
    Configuration,
    /// The file of the board.
    Board,
    /// The program.
    BuiltIn,
}

impl ValueSource {
    /// The words for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Board => "board",
            Self::BuiltIn => "built in",
        }
    }

    /// A value of the configuration, or the one that is built in.
    fn of<T>(said: Option<T>, built_in: T) -> (T, Self) {
        said.map_or((built_in, Self::BuiltIn), |said| (said, Self::Configuration))
    }
}

/// Where the limit of temperature comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TemperatureLimit {
    /// The lowest trip point of the board.
    Auto,
    /// This.
    Fixed(Celsius),
}

impl Gateway {
    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        let name = |key| {
            let text = section.required(key, NAME_RULE);
            if let Some(text) = text.filter(|text| !is_name(text)) {
                section.fault(key, format!("{text:?}"), NAME_RULE);
            }
            Arc::from(text.unwrap_or_default())
        };
        let site = name("site");
        let id = name("id");
        let board = section.text("board").filter(|board| *board != "auto").map(str::to_owned);
        let state_dir = PathBuf::from(section.text("state_dir").unwrap_or("/var/lib/tidegate"));
        if !state_dir.is_absolute() {
            section.fault("state_dir", format!("{} is relative", state_dir.display()), "an absolute path");
        }
        section.finish();
        Self { site, id, board, state_dir }
    }
}

impl BudgetSettings {
    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        let memory = section.quantity("memory", MEMORY_MIN..=MEMORY_MAX);
        let (memory, memory_from) = ValueSource::of(memory, MEMORY_BUILT_IN);
        #[expect(clippy::cast_possible_truncation, reason = "a number of cores")]
        let cpu = section.number("cpu", 0.05..=64.0).map(|cores| cores as f32);
        let (cpu, cpu_from) = ValueSource::of(cpu, CPU_BUILT_IN);
        let temperature = if section.says("temperature", "auto") {
            None
        } else {
            section.quantity("temperature", Celsius(30.0)..=Celsius(120.0))
        };
        let temperature = temperature.map_or(TemperatureLimit::Auto, TemperatureLimit::Fixed);
        let cabinet = section.has("cabinet").then(|| read_cabinet(section.section("cabinet"))).flatten();
        section.finish();
        Self { memory, memory_from, cpu, cpu_from, temperature, cabinet }
    }

    /// What holds on a board: what the configuration does not say, its file does.
    #[must_use]
    pub fn on(self, board: &Profile) -> Self {
        let mut here = self;
        if here.memory_from != ValueSource::Configuration {
            (here.memory, here.memory_from) = (board.budget.memory, ValueSource::Board);
        }
        if here.cpu_from != ValueSource::Configuration {
            (here.cpu, here.cpu_from) = (board.budget.cpu, ValueSource::Board);
        }
        here
    }
}

fn read_cabinet(section: Section<'_>) -> Option<CabinetLimits> {
    let limit = |key| {
        section.require(key, CABINET_RULE);
        section.quantity(key, Celsius(0.0)..=Celsius(100.0))
    };
    let limits = limit("warm").zip(limit("hot")).map(|(warm, hot)| CabinetLimits { warm, hot });
    let apart = limits.filter(|limits| limits.hot.0 >= limits.warm.0 + CABINET_STEP);
    if let (Some(CabinetLimits { warm, hot }), None) = (limits, apart) {
        section.fault("hot", format!("{hot} where warm is {warm}"), "at least 1 °C above warm");
    }
    section.finish();
    apart
}

/// Whether a text can be a part of a topic and of an event id.
pub(in crate::config) fn is_name(text: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= NAME_CHARS_MAX && text.chars().all(ok)
}
