//! Records of a lane that no file has: the disk does not take them now.
//!
//! # Invariants
//! Numbers rise by one. What is lost on purpose goes from the front; what is delivered out of turn leaves its number behind,
//! because a segment has no holes.

use std::collections::VecDeque;

use crate::clock::EventTime;
use crate::outbox::record::{Entry, Record, Seq};

/// Memory for such records of all lanes: a minute of everything at usual rates, hours of alarms.
pub(crate) const HELD_BYTES_MAX: u64 = 1 << 20;

/// What a record costs in memory besides its payload.
const OVERHEAD_BYTES: u64 = 64;

/// Stands in the place of a record that was delivered out of turn.
const FILLER: &[u8] = &[0];

/// A record in memory.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) seq: u64,
    pub(crate) at: i64,
    pub(crate) payload: Box<[u8]>,
    /// Delivered already: only its number is left.
    pub(crate) done: bool,
}

/// The records of one lane, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    records: VecDeque<Held>,
    bytes: u64,
}

impl Held {
    /// As it is to be written.
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry { payload: &self.payload, at: self.at }
    }

    fn cost(&self) -> u64 {
        Hold::cost(&self.payload)
    }
}

impl Hold {
    /// Memory a record takes.
    pub(crate) fn cost(payload: &[u8]) -> u64 {
        payload.len() as u64 + OVERHEAD_BYTES
    }

    /// Memory taken.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Records that nobody has acknowledged.
    pub(crate) fn waiting(&self) -> u64 {
        self.records.iter().filter(|held| !held.done).count() as u64
    }

    /// The oldest.
    pub(crate) fn front(&self) -> Option<&Held> {
        self.records.front()
    }

    /// The newest.
    pub(crate) fn back(&self) -> Option<&Held> {
        self.records.back()
    }

    /// Adds the next record.
    pub(crate) fn push(&mut self, seq: u64, entry: &Entry<'_>) {
        let Entry { payload, at } = *entry;
        let held = Held { seq, at, payload: payload.into(), done: false };
        self.bytes += held.cost();
        self.records.push_back(held);
    }

    /// Puts a record before all others.
    pub(crate) fn push_front(&mut self, held: Held) {
        self.bytes += held.cost();
        self.records.push_front(held);
    }

    /// Takes the oldest record out.
    pub(crate) fn pop(&mut self) -> Option<Held> {
        let held = self.records.pop_front()?;
        self.bytes -= held.cost();
        Some(held)
    }

    /// Lets go of records up to `upto`, which are done with, and returns how many were not before.
    pub(crate) fn pass(&mut self, upto: u64) -> u64 {
        let mut passed = 0;
        while self.front().is_some_and(|held| held.seq <= upto) {
            passed += u64::from(self.pop().is_some_and(|held| !held.done));
        }
        passed
    }

    /// Marks a range as done with, and returns how many records were not before.
    pub(crate) fn settle(&mut self, from: u64, upto: u64) -> u64 {
        let mut settled = 0;
        let range = |held: &&mut Held| (from..=upto).contains(&held.seq) && !held.done;
        for held in self.records.iter_mut().filter(range) {
            self.bytes -= held.cost();
            held.payload = FILLER.into();
            held.done = true;
            self.bytes += held.cost();
            settled += 1;
        }
        settled
    }

    /// Records from `from` to `upto`, oldest first, without those that are done with.
    pub(crate) fn read(&self, from: u64, upto: u64) -> impl Iterator<Item = Record> {
        let wanted = move |held: &&Held| (from..=upto).contains(&held.seq) && !held.done;
        self.records.iter().filter(wanted).map(|held| Record {
            seq: Seq(held.seq),
            at: EventTime(held.at),
            payload: held.payload.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(hold: &Hold) -> Vec<u64> {
        hold.read(0, u64::MAX).map(|record| record.seq.0).collect()
    }

    #[test]
    fn what_is_done_with_is_counted_once_and_its_number_stays() {
        let mut hold = Hold::default();
        for seq in 5..=10 {
            hold.push(seq, &Entry { payload: &[7; 100], at: 0 });
        }
        assert_eq!((hold.bytes(), hold.waiting()), (6 * 164, 6));
        assert_eq!((hold.settle(8, 9), hold.settle(7, 9)), (2, 1));
        assert_eq!((numbers(&hold), hold.waiting(), hold.bytes()), (vec![5, 6, 10], 3, 3 * 164 + 3 * 65));
        assert_eq!((hold.pass(8), hold.pass(8)), (2, 0));
        assert_eq!(hold.front().map(|held| (held.seq, held.done)), Some((9, true)));
        let held = hold.pop().unwrap();
        hold.push_front(held);
        assert_eq!((hold.pass(10), hold.bytes(), hold.is_empty()), (1, 0, true));
    }
}
