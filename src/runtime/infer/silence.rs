//! How long a model has given no sign of life, as far as it could have given one.
//!
//! # Why
//! Time in which the whole process was stopped, or in which others had the processor, says nothing about a model. Only
//! what the watcher saw pass counts, and only if the thread worked meanwhile.

use std::time::Duration;

use crate::clock::Uptime;

/// Counted at most from one look of the watcher to the next: who was away for longer saw nothing of it.
const SEEN_MAX: Duration = Duration::from_millis(500);

/// Part of its patience in which a thread must have worked: patience allows for others that have half of the processor.
const WORKED_PART: u32 = 2;

/// Silence after which a thread that does no work at all is given up too: something it waits for will not come.
const IDLE_PATIENCE: Duration = Duration::from_secs(20);

/// Work by which a thread is not idle, only starved: its first turn on a processor, however late it comes, is longer.
const STARVED_WORK: Duration = Duration::from_micros(100);

/// Since the last sign of life.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::runtime) struct Silence {
    since: Option<Since>,
}

#[derive(Clone, Copy, Debug)]
struct Since {
    sign: Uptime,
    looked: Uptime,
    seen: Duration,
    /// Processor time of the thread at the first look.
    taken: Option<Duration>,
    worked: Option<Duration>,
}

impl Silence {
    /// The watcher looks: when the last sign of life was, and the processor time of the thread, if that can be told.
    pub(in crate::runtime) fn look(&mut self, sign: Uptime, taken: Option<Duration>, now: Uptime) {
        match &mut self.since {
            Some(since) if since.sign == sign => {
                since.seen += now.since(since.looked).min(SEEN_MAX);
                since.looked = now;
                since.worked = taken.zip(since.taken).map(|(now, before)| now.saturating_sub(before));
            }
            since => {
                *since = Some(Since { sign, looked: now, seen: Duration::ZERO, taken, worked: None });
            }
        }
    }

    /// Nobody is asked.
    pub(in crate::runtime) fn end(&mut self) {
        self.since = None;
    }

    /// Whether it has lasted for longer than this, on a processor that was there.
    pub(in crate::runtime) fn outlasts(&self, patience: Duration) -> bool {
        self.since.is_some_and(|Since { seen, worked, .. }| {
            let has_worked = worked.is_none_or(|worked| worked > patience / WORKED_PART);
            let is_idle = worked.is_some_and(|worked| worked < STARVED_WORK);
            seen > patience && (has_worked || is_idle && seen > IDLE_PATIENCE)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    /// Looks every so often for a while, at a thread that gets this part of a processor; says after how long it is given up.
    fn given_up(every: Duration, span: Duration, share: Option<f64>) -> Option<Duration> {
        let mut silence = Silence::default();
        let looks = u32::try_from(span.as_nanos() / every.as_nanos()).unwrap();
        (0..=looks).map(|look| every * look).find(|passed| {
            let taken = share.map(|share| passed.mul_f64(share));
            silence.look(Uptime::ZERO, taken, Uptime::ZERO.after(*passed));
            silence.outlasts(PATIENCE)
        })
    }

    #[test]
    fn a_thread_is_given_up_for_the_work_it_does_in_silence_not_for_the_time_that_passes() {
        let (look, hour) = (Duration::from_millis(250), Duration::from_hours(1));
        let found = [Some(1.0), Some(0.6), Some(0.1), Some(0.005), Some(0.0), None];
        let found = found.map(|share| given_up(look, hour, share).map(|passed| passed.as_millis()));
        assert_eq!(found, [Some(1_250), Some(1_250), Some(5_250), Some(100_250), Some(20_250), Some(1_250)]);
    }

    #[test]
    fn a_process_that_was_stopped_for_a_minute_or_a_day_gives_nobody_up() {
        for away in [Duration::from_mins(1), Duration::from_hours(24)] {
            for taken in [None, Some(Duration::ZERO)] {
                let mut silence = Silence::default();
                silence.look(Uptime::ZERO, taken, Uptime::ZERO);
                silence.look(Uptime::ZERO, taken, Uptime::ZERO.after(away));
                assert!(!silence.outlasts(PATIENCE), "{away:?}");
            }
        }
    }

    #[test]
    fn a_sign_of_life_or_a_turn_without_a_model_begins_anew() {
        let at = |millis| Uptime::ZERO.after(Duration::from_millis(millis));
        let mut silence = Silence::default();
        for look in 0..6 {
            silence.look(at(0), None, at(look * 250));
        }
        assert!(silence.outlasts(PATIENCE));
        silence.look(at(1_300), None, at(1_500));
        assert!(!silence.outlasts(PATIENCE), "a sign of life");
        silence.end();
        silence.look(at(1_300), None, at(9_000));
        assert!(!silence.outlasts(PATIENCE), "it begins with this look");
    }
}
