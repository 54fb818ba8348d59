//! When each sensor is read, started and tried again, and when it is at fault.
//!
//! A sensor is started, given time to measure, and read at its rate. One that fails is started anew before each further
//! try; after three failures in a row it is at fault, told once, and tried at growing intervals, so that a bus that hangs
//! for a second at each try holds up the others for a sixtieth of the time and no more.

use std::time::Duration;

use crate::board::SensorPlan;
use crate::clock::Uptime;
use crate::device::sensor::{SETTLE, rate_of};

/// Failures in a row from which on a sensor is at fault: one garbled transfer is no fault.
const FAULT_AFTER: u32 = 3;

/// Longest interval between two tries.
const RETRY_MAX: Duration = Duration::from_mins(1);

/// Shortest interval between two tries.
const RETRY_MIN: Duration = Duration::from_millis(500);

/// A FIFO of 32 is read when half of it is full: a thread may be late by the other half.
const FIFO_HALF: f32 = 16.0;

/// Intervals of a FIFO: no oftener than the bus is worth waking for, no later than a window should wait.
const FIFO_MIN: f32 = 0.01;
const FIFO_MAX: f32 = 1.0;

/// The sensors of a board by their place in its plan.
#[derive(Clone, Debug)]
pub struct Schedule(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    interval: Duration,
    due: Uptime,
    is_started: bool,
    failures: u32,
    /// It has answered once: from then on it is missed, even if it is optional.
    has_answered: bool,
    optional: bool,
    state: State,
}

/// What is known of a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unknown,
    Working,
    AtFault,
}

/// A fault begins or ends; each is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultChange {
    /// It is at fault from now on.
    Entered,
    /// It works again.
    Left,
}

impl Schedule {
    /// Everything is due at once.
    pub fn new(plans: &[SensorPlan], now: Uptime) -> Self {
        let entry = |plan: &SensorPlan| Entry {
            interval: interval(plan),
            due: now,
            is_started: false,
            failures: 0,
            has_answered: false,
            optional: plan.optional,
            state: State::Unknown,
        };
        Self(plans.iter().map(entry).collect())
    }

    /// What is due first: its place, when, and whether it must be started before it can be read.
    pub fn next(&self) -> Option<(usize, Uptime, bool)> {
        let first = self.0.iter().enumerate().min_by_key(|(_, entry)| entry.due)?;
        Some((first.0, first.1.due, !first.1.is_started))
    }

    /// The chip is set up and measures.
    pub fn started(&mut self, place: usize, now: Uptime) {
        if let Some(entry) = self.0.get_mut(place) {
            entry.is_started = true;
            entry.due = now.after(SETTLE);
        }
    }

    /// It has been read.
    pub fn read(&mut self, place: usize, now: Uptime) -> Option<FaultChange> {
        let entry = self.0.get_mut(place)?;
        entry.failures = 0;
        entry.has_answered = true;
        // In step with its rate; what was missed because others took long is not made up for.
        let next = entry.due.after(entry.interval);
        entry.due = if next > now { next } else { now.after(entry.interval) };
        let before = std::mem::replace(&mut entry.state, State::Working);
        (before == State::AtFault).then_some(FaultChange::Left)
    }

    /// It could not be started or read; `silent`: nothing answered.
    pub fn failed(&mut self, place: usize, now: Uptime, silent: bool) -> Option<FaultChange> {
        let entry = self.0.get_mut(place)?;
        entry.is_started = false;
        entry.failures = entry.failures.saturating_add(1);
        let doubled = entry.failures.saturating_sub(FAULT_AFTER).min(16);
        entry.due = now.after((RETRY_MIN * (1 << doubled)).min(RETRY_MAX));
        let is_missed = entry.has_answered || !entry.optional || !silent;
        if entry.failures < FAULT_AFTER || entry.state == State::AtFault || !is_missed {
            return None;
        }
        entry.state = State::AtFault;
        Some(FaultChange::Entered)
    }
}

fn interval(plan: &SensorPlan) -> Duration {
    let rate = rate_of(plan).max(1e-3);
    let seconds = if plan.driver.measures_vibration() {
        (FIFO_HALF / rate).clamp(FIFO_MIN, FIFO_MAX)
    } else {
        1.0 / rate
    };
    Duration::from_secs_f32(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Driver, SensorRole};

    fn plan(driver: Driver, rate: f32, optional: bool) -> SensorPlan {
        SensorPlan {
            name: "it".to_owned(),
            driver,
            bus: 1,
            address: 0x48,
            role: SensorRole::Stream,
            shunt: 0.1,
            rate,
            optional,
        }
    }

    fn ms(ms: u64) -> Uptime {
        Uptime(ms * 1_000_000)
    }

    #[test]
    fn a_sensor_is_started_given_time_and_then_read_in_step() {
        let mut schedule = Schedule::new(&[plan(Driver::Tmp102, 2.0, false)], ms(0));
        assert_eq!(schedule.next(), Some((0, ms(0), true)));
        schedule.started(0, ms(10));
        assert_eq!(schedule.next(), Some((0, ms(310), false)));
        assert_eq!(schedule.read(0, ms(315)), None);
        assert_eq!(schedule.next(), Some((0, ms(810), false)));
        // Held up by others: no burst afterwards.
        assert_eq!(schedule.read(0, ms(5_000)), None);
        assert_eq!(schedule.next(), Some((0, ms(5_500), false)));
    }

    #[test]
    fn a_fault_is_told_once_when_it_begins_and_once_when_it_ends() {
        let mut schedule = Schedule::new(&[plan(Driver::Tmp102, 1.0, false)], ms(0));
        let mut told = Vec::new();
        for minute in 0..10 {
            told.push(schedule.failed(0, ms(minute * 60_000), minute % 2 == 0));
        }
        assert_eq!(told.iter().flatten().collect::<Vec<_>>(), [&FaultChange::Entered]);
        assert_eq!(told[2], Some(FaultChange::Entered), "the third failure is a fault");
        schedule.started(0, ms(600_000));
        assert_eq!(schedule.read(0, ms(600_300)), Some(FaultChange::Left));
        assert_eq!(schedule.read(0, ms(601_300)), None);
    }

    #[test]
    fn a_bus_that_hangs_for_a_second_at_each_try_holds_the_others_up_ever_less() {
        let plans = [plan(Driver::Tmp102, 1.0, false), plan(Driver::Sht4x, 1.0, false)];
        let mut schedule = Schedule::new(&plans, ms(0));
        let (mut now, mut hung, mut reads) = (ms(0), Duration::ZERO, 0);
        while now < ms(600_000) {
            let Some((place, due, start)) = schedule.next() else { panic!("nothing is due") };
            now = now.max(due);
            if place == 0 {
                now = now.after(Duration::from_secs(1));
                hung += Duration::from_secs(1);
                schedule.failed(0, now, false);
            } else if start {
                schedule.started(1, now);
            } else {
                schedule.read(1, now);
                reads += 1;
            }
        }
        assert!(hung < Duration::from_secs(20) && reads > 570, "{hung:?} {reads}");
    }

    #[test]
    fn one_that_is_optional_may_be_absent_but_not_go_or_be_another() {
        let optional = || Schedule::new(&[plan(Driver::Tmp102, 1.0, true)], ms(0));
        let mut absent = optional();
        assert!((0..10).all(|n| absent.failed(0, ms(n), true).is_none()));
        let mut went = optional();
        went.read(0, ms(0));
        assert_eq!((0..10).filter_map(|n| went.failed(0, ms(n), true)).count(), 1);
        let mut another = optional();
        assert_eq!((0..10).filter_map(|n| another.failed(0, ms(n), false)).count(), 1);
    }

    #[test]
    fn a_fifo_is_emptied_when_it_is_half_full() {
        for (rate, expected) in [(100.0, 160.0), (400.0, 40.0), (1_600.0, 10.0), (1.0, 1_000.0)] {
            let found = interval(&plan(Driver::Adxl345, rate, false));
            assert!((found.as_secs_f32() * 1e3 - expected).abs() < 0.1, "{rate}: {found:?}");
        }
    }
}
