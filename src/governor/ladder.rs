//! A use from 0 to 1 and beyond to a level, with hysteresis and dwell.

use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::Level;
use crate::governor::config::{DWELL_FACTOR, GovernorConfig, HYSTERESIS, MEMORY};

/// Entries of the levels above nominal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rungs {
    pub(crate) warm: f32,
    pub(crate) hot: f32,
    pub(crate) critical: f32,
}

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
    /// What the previous reading asked for.
    asked: Level,
    /// When a reading last justified the level, or the level last changed.
    held_at: Uptime,
    read_at: Option<Uptime>,
    /// Seconds for which readings justified warm, hot and critical, fading with age.
    needed: [(Level, f32); 3],
}

impl Ladder {
    pub(crate) fn new(rungs: Rungs, config: &GovernorConfig) -> Self {
        Self {
            rungs,
            dwell: config.dwell,
            dwell_max: config.dwell_max.max(config.dwell),
            level: Level::Nominal,
            asked: Level::Nominal,
            held_at: Uptime::ZERO,
            read_at: None,
            needed: [(Level::Warm, 0.0), (Level::Hot, 0.0), (Level::Critical, 0.0)],
        }
    }

    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// Takes a reading; returns whether it justifies the level there is now.
    pub(crate) fn climb(&mut self, used: f32, at: Uptime) -> bool {
        self.remember(used, at);
        let asks = self.level_of(used);
        let confirmed = asks.min(self.asked);
        self.asked = asks;
        if confirmed > self.level {
            self.level = confirmed;
            self.held_at = at;
            return true;
        }
        let justified = used >= self.exit(self.level);
        if justified {
            self.held_at = at;
        } else if at.since(self.held_at) >= self.dwell_of(self.level) {
            self.level = below(self.level);
            self.held_at = at;
        }
        justified
    }

    /// Adds the time since the last reading to every level this one justifies.
    fn remember(&mut self, used: f32, at: Uptime) {
        let passed = self.read_at.map_or(Duration::ZERO, |before| at.since(before)).as_secs_f32();
        self.read_at = Some(at);
        let fade = (-passed / MEMORY.as_secs_f32()).exp();
        let exits = self.needed.map(|(level, _)| self.exit(level));
        for ((_, needed), exit) in self.needed.iter_mut().zip(exits) {
            *needed = *needed * fade + if used >= exit { passed } else { 0.0 };
        }
    }

    fn dwell_of(&self, level: Level) -> Duration {
        let needed = self.needed.iter().find(|(of, _)| *of == level).map_or(0.0, |&(_, needed)| needed);
        Duration::from_secs_f32(needed * DWELL_FACTOR).clamp(self.dwell, self.dwell_max)
    }

    fn exit(&self, level: Level) -> f32 {
        self.entry(level) - HYSTERESIS
    }

    fn level_of(&self, used: f32) -> Level {
        if used >= self.rungs.critical {
            Level::Critical
        } else if used >= self.rungs.hot {
            Level::Hot
        } else if used >= self.rungs.warm {
            Level::Warm
        } else {
            Level::Nominal
        }
    }

    fn entry(&self, level: Level) -> f32 {
        match level {
            Level::Nominal => f32::NEG_INFINITY,
            Level::Warm => self.rungs.warm,
            Level::Hot => self.rungs.hot,
            // Nothing asks for it yet.
            Level::Critical | Level::Emergency => self.rungs.critical,
        }
    }
}

fn below(level: Level) -> Level {
    match level {
        Level::Nominal | Level::Warm => Level::Nominal,
        Level::Hot => Level::Warm,
        Level::Critical => Level::Hot,
        Level::Emergency => Level::Critical,
    }
}
