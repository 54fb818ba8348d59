//! A use from 0 to 1 and beyond to a level, with hysteresis and dwell.

use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::{BudgetReason, Level};
use crate::governor::config::{DWELL_FACTOR, GovernorConfig, HYSTERESIS, MEMORY};
use crate::governor::demand::{Demand, Rungs};

/// The level one quantity asks for.
///
/// Up after two readings in a row, at once to the lower of what they ask for; down by one step after a dwell in
/// which no reading justified the level. The dwell grows with the time for which the level was needed lately. Both
/// count from readings, not from the entry of the level, which is what makes the ladder monotone: a hotter board
/// has needed each level for longer and more recently.
#[derive(Debug)]
pub(crate) struct Ladder {
    rungs: Rungs,
    dwell: Duration,
    dwell_max: Duration,
    level: Level,
    /// Why it stands there: of the last reading that justified it.
    reason: BudgetReason,
    /// What the previous reading used.
    before: f32,
    /// When a reading last justified the level, or the level last changed.
    held_at: Uptime,
    read_at: Option<Uptime>,
    needs: [Need; 4],
}

/// How much a level was needed lately.
#[derive(Debug)]
struct Need {
    level: Level,
    /// When a reading last justified it.
    at: Option<Uptime>,
    /// Seconds for which it was justified, and the dwell after each, fading with age.
    seconds: f32,
}

impl Ladder {
    pub(crate) fn new(config: &GovernorConfig, rungs: Rungs) -> Self {
        let need = |level| Need { level, at: None, seconds: 0.0 };
        Self {
            rungs,
            dwell: config.dwell,
            dwell_max: config.dwell_max.max(config.dwell),
            level: Level::Nominal,
            reason: BudgetReason::None,
            before: f32::NEG_INFINITY,
            held_at: Uptime::ZERO,
            read_at: None,
            needs: [Level::Warm, Level::Hot, Level::Critical, Level::Emergency].map(need),
        }
    }

    pub(crate) fn level(&self) -> Level {
        self.level
    }

    pub(crate) fn reason(&self) -> BudgetReason {
        self.reason
    }

    /// Takes a reading.
    pub(crate) fn climb(&mut self, demand: Demand, at: Uptime) {
        self.remember(demand.used, at);
        let confirmed = demand.used.min(std::mem::replace(&mut self.before, demand.used));
        self.step(self.rungs.reached(confirmed), demand, at);
    }

    /// Takes a reading that needs no second one: what it says cannot be a slip of a sensor, or cannot wait.
    pub(crate) fn climb_at_once(&mut self, demand: Demand, at: Uptime) {
        self.before = self.before.max(demand.used);
        self.climb(demand, at);
    }

    fn step(&mut self, asked: Level, demand: Demand, at: Uptime) {
        let is_up = asked > self.level;
        self.level = self.level.max(asked);
        if is_up || demand.used >= self.exit(self.level) {
            self.held_at = at;
            self.reason = if self.level == Level::Nominal { BudgetReason::None } else { demand.reason };
        } else if at.since(self.held_at) >= self.dwell_of(self.level) {
            self.level = self.rungs.below(self.level);
            self.held_at = at;
            if self.level == Level::Nominal {
                self.reason = BudgetReason::None;
            }
        }
    }

    /// Adds the time since the last reading to every level this one justifies, or one within the dwell did: a need
    /// of a second that comes back every minute is one of a minute.
    fn remember(&mut self, used: f32, at: Uptime) {
        let passed = self.read_at.map_or(Duration::ZERO, |before| at.since(before)).as_secs_f32();
        self.read_at = Some(at);
        let fade = (-passed / MEMORY.as_secs_f32()).exp();
        for need in &mut self.needs {
            if used >= self.rungs.entry(need.level) - HYSTERESIS {
                need.at = Some(at);
            }
            let is_needed = need.at.is_some_and(|last| at.since(last) < self.dwell);
            need.seconds = need.seconds * fade + if is_needed { passed } else { 0.0 };
        }
    }

    fn dwell_of(&self, level: Level) -> Duration {
        let needed = self.needs.iter().find(|need| need.level == level).map_or(0.0, |need| need.seconds);
        // The dwell after a need counts as need, so that the first short one is forgiven.
        let again = (needed - self.dwell.as_secs_f32()).max(0.0);
        Duration::from_secs_f32(again * DWELL_FACTOR).clamp(self.dwell, self.dwell_max)
    }

    fn exit(&self, level: Level) -> f32 {
        self.rungs.entry(level) - HYSTERESIS
    }
}
