//! What heat and memory allow at the moment.

use std::time::Duration;

use super::Priority;
use crate::units::Millicores;

/// What the governor allows now. The latest one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Level of the ladder.
    pub level: Level,
    /// Only every n-th window of a source is judged (1: all of them).
    pub stretch: u32,
    /// The least urgent lane that is still judged; `None`: nothing is.
    pub admit: Admit,
    /// Which form of a model runs, where it has several.
    pub variant: VariantRule,
    /// Processor time the models may take.
    pub cpu: Millicores,
    /// How long work that is not urgent may be held back to fill a batch; zero: not at all.
    pub gather: Duration,
    /// Flash-heavy work that can wait does: drawing stored events together, taking over models. A supply that sags
    /// while flash is written is how cards are corrupted.
    pub spare_flash: bool,
    /// Why the level is not nominal.
    pub reason: BudgetReason,
}

/// Which form of a model runs. What is cheap and what is small was measured on this board, not taken from its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VariantRule {
    /// The first of its manifest: the best.
    #[default]
    Best,
    /// The one that takes the least processor time.
    Cheapest,
    /// The one that takes the least memory.
    Smallest,
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
    /// Work is gathered into batches as far as deadlines allow.
    Warm,
    /// Hops are stretched and bulk work is shed as well.
    Hot,
    /// Only alarm streams are judged.
    Critical,
    /// Nothing is judged: what comes in is counted, what is stored is kept and sent.
    Emergency,
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
    /// Memory of the process against the budget, or what the system has left.
    Memory,
    /// The supply is too weak at this moment.
    UnderVoltage,
    /// Mains are lost and the battery runs down.
    Battery,
    /// The power-fail input says that the supply ends now.
    PowerFail,
    /// The cabinet is too warm.
    Cabinet,
    /// The firmware or the kernel holds the clock of the processor down.
    Throttled,
}

impl Budget {
    /// No limits.
    pub const NOMINAL: Self = Self {
        level: Level::Nominal,
        stretch: 1,
        admit: Admit::All,
        variant: VariantRule::Best,
        cpu: Millicores::UNLIMITED,
        gather: Duration::ZERO,
        spare_flash: false,
        reason: BudgetReason::None,
    };
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
    /// All of them, the coolest first.
    pub const ALL: [Self; 5] = [Self::Nominal, Self::Warm, Self::Hot, Self::Critical, Self::Emergency];

    /// The word used on MQTT.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nominal => "nominal",
            Self::Warm => "warm",
            Self::Hot => "hot",
            Self::Critical => "critical",
            Self::Emergency => "emergency",
        }
    }
}

impl BudgetReason {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::Temperature,
        Self::SensorFault,
        Self::Memory,
        Self::UnderVoltage,
        Self::Battery,
        Self::PowerFail,
        Self::Cabinet,
        Self::Throttled,
    ];

    /// The word used on MQTT.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Temperature => "temperature",
            Self::SensorFault => "sensor-fault",
            Self::Memory => "memory",
            Self::UnderVoltage => "under-voltage",
            Self::Battery => "battery",
            Self::PowerFail => "power-fail",
            Self::Cabinet => "cabinet",
            Self::Throttled => "throttled",
        }
    }
}
