//! `[gateway]` and `[budget]`: who this is and what it may use.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::section::Section;
use crate::governor::CabinetLimits;
use crate::units::{Bytes, Celsius};

/// Names are parts of topics and of event ids: short, lower case, no separators.
const NAME_RULE: &str = "1 to 32 of a-z, 0-9 and -";
const NAME_CHARS_MAX: usize = 32;

/// A gateway with less has no room for the engine's code and one model; more than 64 GiB is a slip of the pen.
const MEMORY_MIN: Bytes = Bytes(16 << 20);
const MEMORY_MAX: Bytes = Bytes(64 << 30);

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
    /// Cores for inference.
    pub cpu: f32,
    /// The temperature to stay below.
    pub temperature: TemperatureLimit,
    /// What the air in the cabinet may have; `None`: it limits nothing.
    pub cabinet: Option<CabinetLimits>,
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
        let memory = section.quantity("memory", MEMORY_MIN..=MEMORY_MAX).unwrap_or(Bytes(96 << 20));
        #[expect(clippy::cast_possible_truncation, reason = "a number of cores")]
        let cpu = section.number("cpu", 0.05..=64.0).unwrap_or(1.5) as f32;
        let temperature = match section.text("temperature") {
            None | Some("auto") => TemperatureLimit::Auto,
            Some(_) => section
                .quantity("temperature", Celsius(30.0)..=Celsius(120.0))
                .map_or(TemperatureLimit::Auto, TemperatureLimit::Fixed),
        };
        let cabinet = section.has("cabinet").then(|| read_cabinet(section.section("cabinet"))).flatten();
        section.finish();
        Self { memory, cpu, temperature, cabinet }
    }
}

fn read_cabinet(section: Section<'_>) -> Option<CabinetLimits> {
    let limit = |key| {
        section.required(key, CABINET_RULE)?;
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
