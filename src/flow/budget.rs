//! What heat and memory allow at the moment.

use super::Priority;

/// What the governor allows now. The latest one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Level of the ladder.
    pub level: Level,
    /// Only every n-th window of a source is judged (1: all of them).
    pub stretch: u32,
    /// The least urgent lane that is still judged; `None`: nothing is.
    pub admit: Admit,
    /// Why the level is not nominal.
    pub reason: BudgetReason,
}

/// Which lanes are still judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admit {
    /// Everything.
    All,
    /// Alarm and normal lanes.
    Normal,
    /// The alarm lane only.
    Alarm,
    /// Nothing: samples are counted and stored state is kept, no model runs.
    Nothing,
}

/// Rung of the ladder. Ordered: hotter is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything runs.
    #[default]
    Nominal,
    /// Hops are stretched.
    Warm,
    /// Bulk work is shed as well.
    Hot,
    /// Only alarm streams are judged.
    Critical,
}

/// Why the level is what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BudgetReason {
    /// Nothing is short.
    #[default]
    None,
    /// Temperature against the trip points.
    Temperature,
    /// The temperature cannot be trusted: lost, frozen or absurd.
    SensorFault,
    /// Memory of the process against the budget.
    Memory,
}

impl Budget {
    /// No limits.
    pub const NOMINAL: Self =
        Self { level: Level::Nominal, stretch: 1, admit: Admit::All, reason: BudgetReason::None };
}

impl Admit {
    /// Whether a lane is judged.
    pub fn allows(self, priority: Priority) -> bool {
        match self {
            Self::All => true,
            Self::Normal => priority <= Priority::Normal,
            Self::Alarm => priority == Priority::Alarm,
            Self::Nothing => false,
        }
    }
}

impl Level {
    /// The word used on MQTT.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nominal => "nominal",
            Self::Warm => "warm",
            Self::Hot => "hot",
            Self::Critical => "critical",
        }
    }
}

impl BudgetReason {
    /// The word used on MQTT.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Temperature => "temperature",
            Self::SensorFault => "sensor-fault",
            Self::Memory => "memory",
        }
    }
}
