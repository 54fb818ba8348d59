//! The obvious scheduler: one list, searched each time; and wrong ones, that the checks must catch.

use std::cmp::Reverse;

use tidegate::clock::Uptime;
use tidegate::flow::{Admit, Priority};

/// How the list is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// As it should be.
    Nothing,
    /// The oldest first, whatever its lane.
    NoLanes,
    /// Within a lane the oldest first, whatever its deadline.
    NoDeadlines,
    /// When full the oldest of the lane gives way, whoever floods it.
    NoFairness,
}

/// A piece of work as the list knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) number: u32,
    pub(crate) stream: u16,
    pub(crate) priority: Priority,
    pub(crate) queued: Uptime,
    pub(crate) deadline: Uptime,
}

#[derive(Default)]
pub(crate) struct Naive {
    pub(crate) list: Vec<Piece>,
    pub(crate) stale: u64,
    pub(crate) full: u64,
    pub(crate) budget: u64,
    pub(crate) passed: u64,
}

impl Naive {
    pub(crate) fn push(&mut self, capacity: usize, new: Piece, planted: Planted) {
        if self.list.len() >= capacity {
            self.drop_stale(new.queued);
        }
        self.list.push(new);
        if self.list.len() <= capacity {
            return;
        }
        self.full += 1;
        let worst = self.list.iter().map(|held| held.priority).max().unwrap();
        let of = |stream| {
            let same = |held: &&Piece| held.stream == stream && held.priority == worst;
            self.list.iter().filter(same).count()
        };
        let victim = (0..self.list.len()).filter(|index| self.list[*index].priority == worst);
        let victim = match planted {
            // Of streams that take as much, the one whose oldest is oldest; of these the last, before the new piece.
            Planted::Nothing | Planted::NoLanes | Planted::NoDeadlines => {
                let most = self.list.iter().filter(|held| held.priority == worst);
                let most = most.map(|held| of(held.stream)).max().unwrap();
                victim.filter(|index| of(self.list[*index].stream) == most).min_by_key(|index| {
                    let held = self.list[*index];
                    (held.queued, held.number == new.number, Reverse(held.stream))
                })
            }
            Planted::NoFairness => victim.min(),
        };
        self.list.remove(victim.unwrap());
    }

    pub(crate) fn pop(&mut self, now: Uptime, admit: Admit, planted: Planted) -> Option<Piece> {
        let before = self.list.len();
        self.list.retain(|held| admit.allows(held.priority));
        self.budget += (before - self.list.len()) as u64;
        self.drop_stale(now);
        let best = |index: &usize| {
            let held = self.list[*index];
            match planted {
                Planted::Nothing | Planted::NoFairness => {
                    (held.priority, held.deadline, held.queued, held.stream)
                }
                Planted::NoLanes => (Priority::Alarm, held.queued, held.queued, 0),
                Planted::NoDeadlines => (held.priority, held.queued, held.queued, 0),
            }
        };
        let index = (0..self.list.len()).min_by_key(best)?;
        self.passed += 1;
        Some(self.list.remove(index))
    }

    fn drop_stale(&mut self, now: Uptime) {
        let before = self.list.len();
        self.list.retain(|held| held.deadline >= now);
        self.stale += (before - self.list.len()) as u64;
    }
}
