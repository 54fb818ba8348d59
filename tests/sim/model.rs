//! The reference: which events exist, where they are stored, and which must be found upstream.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};

use tidegate::flow::{EventId, Facts};

/// A fault found by a check.
pub(crate) type Checked = Result<(), String>;

/// A record as the reference knows it.
#[derive(Clone, Debug)]
struct Stored {
    id: EventId,
    payload: Vec<u8>,
    /// The broker has answered for it.
    answered: bool,
    /// Dropped by a policy, and counted.
    dropped: bool,
    /// Told to the outbox as done with, beyond its cursor.
    settled: bool,
}

/// One lane.
#[derive(Default)]
pub(crate) struct LaneModel {
    records: BTreeMap<u64, Stored>,
    pub(crate) appended: u64,
    pub(crate) durable: u64,
    pub(crate) acked: u64,
}

impl LaneModel {
    /// The cursor of the outbox passes what is done with already.
    fn catch_up(&mut self) {
        let passes = |record: &Stored| record.settled || record.dropped;
        while self.acked < self.durable && self.records.get(&(self.acked + 1)).is_none_or(passes) {
            self.acked += 1;
        }
    }
}

/// What must be true.
#[derive(Default)]
pub(crate) struct Reference {
    pub(crate) lanes: [LaneModel; 3],
    /// Every event that was ever given to the outbox, as it must look upstream.
    given: BTreeMap<EventId, Facts>,
    /// Those that have been durable.
    durable: BTreeSet<EventId>,
    /// Those that must be found upstream.
    must: BTreeSet<EventId>,
    /// How often each was found.
    pub(crate) found: BTreeMap<EventId, u32>,
    pub(crate) epoch: u32,
    /// Something went before what was stored earlier.
    pub(crate) settled: bool,
}

impl Reference {
    /// An event is about to be stored.
    pub(crate) fn give(&mut self, lane: usize, facts: &Facts, payload: &[u8]) -> Checked {
        let id = facts.id;
        if self.given.insert(id, facts.clone()).is_some() {
            return Err(format!("the id {id:?} comes a second time"));
        }
        let lane = &mut self.lanes[lane];
        let stored =
            Stored { id, payload: payload.to_vec(), answered: false, dropped: false, settled: false };
        lane.records.insert(lane.appended + 1, stored);
        Ok(())
    }

    /// It was.
    pub(crate) fn stored(&mut self, lane: usize, seq: u64) -> Checked {
        let lane = &mut self.lanes[lane];
        lane.appended += 1;
        if lane.appended == seq { Ok(()) } else { Err(format!("number {seq} in place of {}", lane.appended)) }
    }

    /// It was not, and that was counted.
    pub(crate) fn rejected(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        lane.records.remove(&(lane.appended + 1));
    }

    /// Records of a lane are durable up to here.
    pub(crate) fn synced(&mut self, lane: usize, durable: u64) -> Checked {
        let lane = &mut self.lanes[lane];
        if durable < lane.durable || durable > lane.appended {
            return Err(format!("durable {durable} after {}, appended {}", lane.durable, lane.appended));
        }
        for (_, record) in lane.records.range((Excluded(lane.durable), Included(durable))) {
            self.durable.insert(record.id);
            if !record.dropped {
                self.must.insert(record.id);
            }
        }
        lane.durable = durable;
        Ok(())
    }

    /// The cursor moved without an acknowledgement: a policy has dropped what it passed. How many records that were.
    pub(crate) fn dropped(&mut self, lane: usize, upto: u64) -> u64 {
        let lane = &mut self.lanes[lane];
        let mut count = 0;
        for (_, record) in lane.records.range_mut((Excluded(lane.acked), Included(upto.max(lane.acked)))) {
            record.dropped = true;
            self.must.remove(&record.id);
            count += 1;
        }
        lane.acked = lane.acked.max(upto);
        lane.catch_up();
        count
    }

    /// Whether nothing beyond the cursor of any lane is done with.
    pub(crate) fn is_plain(&self) -> bool {
        self.lanes.iter().all(|lane| lane.records.range(lane.acked + 1..).all(|(_, record)| !record.settled))
    }

    /// A batch with these records leaves the gateway.
    pub(crate) fn sent(&self, lane: usize, seqs: &[u64]) -> Checked {
        let lane = &self.lanes[lane];
        match seqs.iter().find(|seq| **seq > lane.durable) {
            Some(seq) => Err(format!("record {seq} was sent before it was durable")),
            None => Ok(()),
        }
    }

    /// The broker's answer for these records has come.
    pub(crate) fn answered(&mut self, lane: usize, seqs: &[u64]) {
        for seq in seqs {
            if let Some(record) = self.lanes[lane].records.get_mut(seq) {
                record.answered = true;
            }
        }
    }

    /// The cursor is told to move.
    pub(crate) fn advance(&mut self, lane: usize, upto: u64) -> Checked {
        let lane = &mut self.lanes[lane];
        if upto > lane.durable {
            return Err(format!("the cursor moves to {upto}, durable is {}", lane.durable));
        }
        let mut passed = lane.records.range((Excluded(lane.acked), Included(upto.max(lane.acked))));
        if let Some((seq, _)) = passed.find(|(_, record)| !record.answered && !record.dropped) {
            return Err(format!(
                "the cursor moves to {upto} and passes record {seq}, which nobody has acknowledged"
            ));
        }
        lane.acked = lane.acked.max(upto);
        lane.catch_up();
        Ok(())
    }

    /// The outbox is told that a stretch beyond the cursor is done with.
    pub(crate) fn settle(&mut self, lane: usize, from: u64, upto: u64) -> Checked {
        self.settled = true;
        for (seq, record) in self.lanes[lane].records.range_mut(from..=upto) {
            if !record.answered && !record.dropped {
                return Err(format!("record {seq} counts as done with, and nobody has acknowledged it"));
            }
            record.settled = true;
        }
        self.lanes[lane].catch_up();
        Ok(())
    }

    /// A record is set aside: it must be one at which the broker dies.
    pub(crate) fn set_aside(&mut self, lane: usize, seq: u64, poison: Option<u64>) -> Checked {
        let Some(record) = self.lanes[lane].records.get_mut(&seq) else {
            return Err(format!("record {seq} was set aside and is not there"));
        };
        if !poison.is_some_and(|every| record.id.number.is_multiple_of(every)) {
            return Err(format!("record {seq} was set aside although the broker takes it"));
        }
        (record.dropped, record.settled) = (true, true);
        self.must.remove(&record.id);
        self.lanes[lane].catch_up();
        Ok(())
    }

    /// What a lane holds after the gateway has come back: number and payload of each record, and its cursor.
    pub(crate) fn reopened(
        &mut self,
        lane: usize,
        found: &BTreeMap<u64, Vec<u8>>,
        (acked, durable, appended): (u64, u64, u64),
        may_drop: bool,
    ) -> Checked {
        let lane = &mut self.lanes[lane];
        if let Some((seq, _)) = found
            .iter()
            .find(|(seq, payload)| lane.records.get(seq).map(|record| &record.payload) != Some(payload))
        {
            return Err(format!("record {seq} was never stored"));
        }
        if appended < lane.durable {
            return Err(format!("numbers come again from {appended}, durable was {}", lane.durable));
        }
        let oldest = found.keys().next().copied().unwrap_or(u64::MAX);
        let mut gone = Vec::new();
        for (seq, record) in lane.records.range_mut(acked.min(lane.acked) + 1..) {
            if found.contains_key(seq) {
                continue;
            }
            if *seq > lane.durable {
                gone.push(*seq);
            } else if *seq > acked && *seq > lane.acked && !record.settled && !(may_drop && *seq < oldest) {
                return Err(format!("durable record {seq} is lost"));
            } else if !record.answered {
                record.dropped = true;
                self.must.remove(&record.id);
            }
        }
        // The cursor on disk may be ahead only by what was dropped in the very operation that was cut.
        if acked > lane.acked && !may_drop {
            return Err(format!("the cursor stands at {acked}, it was never moved beyond {}", lane.acked));
        }
        lane.records.retain(|seq, _| !gone.contains(seq));
        // Whatever survived is durable now.
        for record in found.keys().filter_map(|seq| lane.records.get(seq)).filter(|record| !record.dropped) {
            self.durable.insert(record.id);
            self.must.insert(record.id);
        }
        (lane.acked, lane.durable, lane.appended) = (acked, durable, appended);
        Ok(())
    }

    /// An event was found upstream.
    pub(crate) fn delivered(&mut self, facts: &Facts) -> Checked {
        let Some(given) = self.given.get(&facts.id) else {
            return Err(format!("event {:?} upstream was never made", facts.id));
        };
        if !self.durable.contains(&facts.id) {
            return Err(format!("event {:?} upstream was never durable", facts.id));
        }
        if &(Facts { historical: false, ..facts.clone() }) != given {
            return Err(format!("event {:?} was changed on its way", facts.id));
        }
        *self.found.entry(facts.id).or_default() += 1;
        Ok(())
    }

    /// Whether nothing is missing but records at which the broker dies; they count as held then.
    pub(crate) fn waits_for_poison(&mut self, poison: Option<u64>) -> bool {
        let Some(every) = poison else { return false };
        let missing = |id: &EventId| !self.found.contains_key(id);
        let innocent = self.must.iter().any(|id| missing(id) && !id.number.is_multiple_of(every));
        if !innocent {
            self.must.retain(|id| self.found.contains_key(id));
        }
        !innocent
    }

    /// At the end: everything that must be upstream is.
    pub(crate) fn complete(&self) -> Checked {
        match self.must.iter().find(|id| !self.found.contains_key(id)) {
            Some(id) => Err(format!("event {id:?} was durable and not dropped, and is not upstream")),
            None => Ok(()),
        }
    }

    /// Events that must be upstream, and those that may.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.must.len(), self.given.len())
    }
}
