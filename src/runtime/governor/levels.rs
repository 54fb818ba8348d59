//! Tells every change of the level as an event: to the plant, and upstream through the outbox.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::error;

use crate::clock::{Clock, EventTime, SystemClock};
use crate::egress::{LevelChange, level};
use crate::flow::Level;
use crate::governor::GovernorStatus;
use crate::io::mqtt::{Delivery, Publisher};
use crate::runtime::analyze::lane_of;
use crate::runtime::common::Common;
use crate::runtime::records::{NewRecord, RecordWays};
use crate::runtime::summary_ids::SummaryIds;
use crate::telemetry::{Metric, Metrics};
use crate::wire::{Origin, encode_record, write_event};

/// Changes that wait for the outbox or the plant's broker, each: more than two hours of them.
const WAITING_MAX: usize = 16;

/// Where changes are told.
pub(in crate::runtime) struct LevelTeller {
    ids: SummaryIds,
    records: RecordWays,
    publisher: watch::Receiver<Option<Publisher>>,
    /// `R/event/governor`.
    topic: String,
    origin: Origin,
    clock: SystemClock,
    metrics: Arc<Metrics>,
    waiting: Waiting,
}

/// What has not been told yet.
#[derive(Default)]
struct Waiting {
    /// The level that was told last.
    told: Level,
    upstream: VecDeque<NewRecord>,
    plant: VecDeque<Vec<u8>>,
}

impl LevelTeller {
    /// Tells them in this epoch of the outbox.
    pub(in crate::runtime) fn new(
        epoch: u32,
        records: RecordWays,
        publisher: watch::Receiver<Option<Publisher>>,
        common: &Common,
    ) -> Self {
        Self {
            ids: SummaryIds::of_levels(epoch),
            records,
            publisher,
            topic: common.topics.governor(),
            origin: common.origin.clone(),
            clock: common.clock.clone(),
            metrics: Arc::clone(&common.metrics),
            waiting: Waiting::default(),
        }
    }

    /// Tells a change, if there is one, and what has waited. Never waits: the governor must not stand still because a
    /// disk does.
    pub(in crate::runtime) fn tell(&mut self, status: &GovernorStatus) {
        let now = status.budget.level;
        if std::mem::replace(&mut self.waiting.told, now) != now {
            self.note(status);
        }
        self.flush();
    }

    fn note(&mut self, status: &GovernorStatus) {
        let change = LevelChange {
            level: status.budget.level,
            reason: status.budget.reason,
            temperature: status.temperature.map(|celsius| celsius.0),
            headroom: status.headroom,
            memory: Some(status.memory_share()),
        };
        let wall = self.clock.utc();
        let at = EventTime::from(wall);
        let event = level(self.ids.take(), &change, at, wall.quality);
        let (mut payload, mut message) = (Vec::new(), Vec::new());
        write_event(&mut message, &self.origin, event.facts(), None);
        if let Err(error) = encode_record(&event, &mut payload) {
            error!(%error, "could not encode a change of the level");
            return;
        }
        let lane = lane_of(event.facts().priority);
        let record = NewRecord { lane, payload, at };
        let lost = push(&mut self.waiting.upstream, record) + push(&mut self.waiting.plant, message);
        self.metrics.add(Metric::UntoldLevels, lost);
    }

    fn flush(&mut self) {
        // By its own way each: what is critical does not wait behind what is not.
        let mut next = 0;
        while let Some(record) = self.waiting.upstream.remove(next) {
            // Full: later. Closed: the gateway ends, and the outbox with it.
            if let Err(record) = self.records.try_append(record) {
                self.waiting.upstream.insert(next, record);
                next += 1;
            }
        }
        let Some(publisher) = self.publisher.borrow().clone() else { return };
        while let Some(message) = self.waiting.plant.front() {
            if publisher.publish(&self.topic, message.clone(), Delivery::AtMostOnce, false).is_err() {
                break;
            }
            self.waiting.plant.pop_front();
        }
    }
}

/// Adds to the end, at the cost of the oldest; how many that were.
fn push<T>(waiting: &mut VecDeque<T>, next: T) -> u64 {
    let full = waiting.len() >= WAITING_MAX;
    if full {
        waiting.pop_front();
    }
    waiting.push_back(next);
    u64::from(full)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::flow::{Budget, BudgetReason};
    use crate::governor::{Governor, GovernorConfig};
    use crate::outbox::Lane;
    use crate::runtime::outbox::OutboxRequest;
    use crate::wire::decode_record;

    fn at(level: Level, reason: BudgetReason) -> GovernorStatus {
        let governor = Governor::new(GovernorConfig::default());
        GovernorStatus { budget: Budget { level, reason, ..Budget::NOMINAL }, ..*governor.status() }
    }

    fn teller(room: usize) -> (LevelTeller, mpsc::Receiver<OutboxRequest>, mpsc::Receiver<OutboxRequest>) {
        let (urgent, urgent_seen) = mpsc::channel(room);
        let (outbox, outbox_seen) = mpsc::channel(room);
        let teller = LevelTeller {
            ids: SummaryIds::of_levels(4),
            records: RecordWays::new(urgent, outbox, Arc::new(Metrics::new())),
            publisher: watch::channel(None).1,
            topic: "tidegate/site/gw/event/governor".to_owned(),
            origin: Origin { site: "site".into(), gateway: "gw".into() },
            clock: SystemClock::start(),
            metrics: Arc::new(Metrics::new()),
            waiting: Waiting::default(),
        };
        (teller, urgent_seen, outbox_seen)
    }

    fn told(seen: &mut mpsc::Receiver<OutboxRequest>) -> Vec<(Lane, String)> {
        let mut told = Vec::new();
        while let Ok(OutboxRequest::Append { lane, payload, .. }) = seen.try_recv() {
            let event = decode_record(&payload).unwrap();
            let words: Vec<_> = event.facts().results.iter().map(|result| &*result.label).collect();
            told.push((lane, words.join(" by ")));
        }
        told
    }

    #[test]
    fn each_change_is_told_once_and_what_is_critical_goes_with_the_alarms() {
        use BudgetReason::{None as Fine, Temperature, UnderVoltage};
        let (mut teller, mut urgent, mut outbox) = teller(8);
        for (level, reason) in [
            (Level::Nominal, Fine),
            (Level::Hot, UnderVoltage),
            (Level::Hot, Temperature),
            (Level::Critical, Temperature),
            (Level::Hot, Temperature),
        ] {
            teller.tell(&at(level, reason));
        }
        let hot = |reason: &str| (Lane::Normal, format!("hot by {reason}"));
        assert_eq!(told(&mut outbox), [hot("under-voltage"), hot("temperature")]);
        assert_eq!(told(&mut urgent), [(Lane::Alarm, "critical by temperature".to_owned())]);
        assert_eq!(teller.waiting.plant.len(), 3, "the plant is away");
    }

    #[test]
    fn what_is_critical_does_not_wait_behind_what_is_not() {
        let (mut teller, mut urgent, mut outbox) = teller(1);
        for level in [Level::Warm, Level::Hot, Level::Critical] {
            teller.tell(&at(level, BudgetReason::Temperature));
        }
        assert_eq!(told(&mut urgent), [(Lane::Alarm, "critical by temperature".to_owned())]);
        let normal = |level: &str| vec![(Lane::Normal, format!("{level} by temperature"))];
        assert_eq!(told(&mut outbox), normal("warm"));
        teller.tell(&at(Level::Critical, BudgetReason::Temperature));
        assert_eq!(told(&mut outbox), normal("hot"), "in their order");
    }

    #[test]
    fn a_disk_that_stalls_holds_the_governor_up_in_nothing_and_loses_only_what_is_counted() {
        let (mut teller, _urgent, mut outbox) = teller(1);
        let changes = 2 * WAITING_MAX as u64 + 2;
        for change in 0..changes {
            let level = if change % 2 == 0 { Level::Warm } else { Level::Nominal };
            teller.tell(&at(level, BudgetReason::Memory));
        }
        let mut upstream = told(&mut outbox).len();
        for _ in 0..changes {
            teller.tell(&at(Level::Nominal, BudgetReason::None));
            upstream += told(&mut outbox).len();
        }
        let lost = teller.metrics.get(Metric::UntoldLevels);
        let lost_by_plant = changes - teller.waiting.plant.len() as u64;
        assert_eq!(upstream as u64 + lost - lost_by_plant, changes);
        assert_eq!(upstream, WAITING_MAX + 1);
    }
}
