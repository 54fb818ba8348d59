//! Room for what waits: who gives way when there is none, and what has to go in any case.

use crate::clock::Uptime;
use crate::flow::Priority;
use crate::infer::schedule::{Lost, Scheduler};
use crate::infer::work::Work;
use crate::tally::DropReason;

impl Scheduler {
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.lines.held() < self.config.pieces_max && self.lines.bytes() + bytes <= self.config.bytes_max.0
    }

    /// The line that gives way to new work: of the least urgent lane the one that takes the most room, the new piece
    /// counted. `None` if the new piece is what gives way.
    pub(super) fn largest(&self, new: &Work, bytes: u64) -> Option<usize> {
        let lane = Priority::ALL.into_iter().rev().find(|lane| self.lines.held_in(*lane) > 0)?;
        if lane < new.priority || self.config.pieces_max == 0 || bytes > self.config.bytes_max.0 {
            return None;
        }
        let by_pieces = self.lines.held() >= self.config.pieces_max;
        let own = usize::from(new.subject.stream.0);
        let room = |line: usize| {
            let (pieces, taken) = (self.lines.count_of(line) as u64, self.lines.bytes_of(line));
            let added = if line == own { (1, bytes) } else { (0, 0) };
            if by_pieces { pieces + added.0 } else { taken + added.1 }
        };
        let lines = (0..self.lines.len()).filter_map(|line| Some((line, self.lines.at(line, 0)?)));
        let of_lane = lines.filter(|(_, work)| work.priority == lane);
        let oldest_last = |work: &Work| std::cmp::Reverse(work.queued);
        let (line, most) = of_lane
            .map(|(line, work)| (line, (room(line), oldest_last(work))))
            .max_by_key(|(_, size)| *size)?;
        // A line that is empty so far and still the largest is that of one piece that takes more room than all others.
        let is_new = lane == new.priority && self.lines.count_of(own) == 0 && room(own) > most.0;
        if is_new { None } else { Some(line) }
    }

    /// Drops what is past its deadline: in each line that is what stands in front.
    pub(super) fn drop_stale(&mut self, now: Uptime, lost: Lost<'_>) {
        for line in 0..self.lines.len() {
            while self.lines.at(line, 0).is_some_and(|work| work.deadline < now) {
                let Some(work) = self.lines.pop(line) else { break };
                self.lose(work, DropReason::Stale, lost);
            }
        }
    }

    /// Drops the lanes that the budget does not allow.
    pub(super) fn drop_refused(&mut self, lost: Lost<'_>) {
        let admit = self.budget.admit;
        let is_refused = |lane: &Priority| !admit.allows(*lane);
        if !Priority::ALL.iter().any(|lane| is_refused(lane) && self.lines.held_in(*lane) > 0) {
            return;
        }
        for line in 0..self.lines.len() {
            while self.lines.at(line, 0).is_some_and(|work| is_refused(&work.priority)) {
                let Some(work) = self.lines.pop(line) else { break };
                self.lose(work, DropReason::Budget, lost);
            }
        }
    }
}
