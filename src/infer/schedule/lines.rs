//! Work that waits: one line per stream, all in one store.
//!
//! # Invariants
//! A stream has one model, one lane and one length of deadline, so its line is in the order of its deadlines.

use std::collections::VecDeque;

use crate::flow::{ModelId, Priority};
use crate::infer::work::Work;

/// All lines. The store grows to as much as ever waited and no further.
#[derive(Default)]
pub(super) struct Lines {
    store: Vec<Option<Held>>,
    free: Vec<usize>,
    lines: Vec<Line>,
    /// Pieces by lane.
    by_lane: [usize; 3],
    /// Pieces by model and lane.
    by_model: Vec<[usize; 3]>,
    bytes: u64,
}

struct Held {
    work: Work,
    bytes: u64,
}

#[derive(Default)]
struct Line {
    /// Places in the store, oldest first.
    places: VecDeque<usize>,
    bytes: u64,
}

impl Lines {
    /// Adds work at the end of its line.
    pub(super) fn push(&mut self, work: Work, bytes: u64) {
        let end = self.count_of(usize::from(work.subject.stream.0));
        self.put(work, bytes, end);
    }

    /// Puts work back where it was taken from: before all that is younger. Batches come back in any order.
    pub(super) fn put_back(&mut self, work: Work, bytes: u64) {
        let line = usize::from(work.subject.stream.0);
        let mut held = (0..self.count_of(line)).map_while(|index| self.at(line, index));
        let place = held.position(|other| other.age() >= work.age());
        let place = place.unwrap_or_else(|| self.count_of(line));
        self.put(work, bytes, place);
    }

    fn put(&mut self, work: Work, bytes: u64, index: usize) {
        let (line, model, lane) =
            (usize::from(work.subject.stream.0), usize::from(work.model.0), work.priority as usize);
        if self.lines.len() <= line {
            self.lines.resize_with(line + 1, Line::default);
        }
        if self.by_model.len() <= model {
            self.by_model.resize(model + 1, [0; 3]);
        }
        let held = Some(Held { work, bytes });
        let place = self.free.pop().unwrap_or(self.store.len());
        match self.store.get_mut(place) {
            Some(slot) => *slot = held,
            None => self.store.push(held),
        }
        if let Some(line) = self.lines.get_mut(line) {
            line.places.insert(index, place);
            line.bytes += bytes;
        }
        self.bytes += bytes;
        self.count(model, lane, |count| *count += 1);
    }

    /// Takes the oldest of a line.
    pub(super) fn pop(&mut self, line: usize) -> Option<Work> {
        self.remove(line, 0)
    }

    /// Takes one out of a line.
    pub(super) fn remove(&mut self, line: usize, index: usize) -> Option<Work> {
        let line = self.lines.get_mut(line)?;
        let place = line.places.remove(index)?;
        let Held { work, bytes } = self.store.get_mut(place)?.take()?;
        self.free.push(place);
        line.bytes -= bytes;
        self.bytes -= bytes;
        self.count(usize::from(work.model.0), work.priority as usize, |count| *count -= 1);
        Some(work)
    }

    /// One of a line, 0 being the oldest.
    pub(super) fn at(&self, line: usize, index: usize) -> Option<&Work> {
        let place = *self.lines.get(line)?.places.get(index)?;
        self.store.get(place)?.as_ref().map(|held| &held.work)
    }

    /// The line whose work, at the index that `index` gives for it, has the earliest deadline among what is wanted.
    pub(super) fn earliest(
        &self,
        index: impl Fn(usize) -> usize,
        wanted: impl Fn(&Work) -> bool,
    ) -> Option<usize> {
        let heads = (0..self.lines.len()).filter_map(|line| Some((line, self.at(line, index(line))?)));
        let wanted = heads.filter(|(_, work)| wanted(work));
        wanted.min_by_key(|(_, work)| (work.deadline, work.queued)).map(|(line, _)| line)
    }

    /// Lines there are, empty ones included.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Pieces in a line.
    pub(super) fn count_of(&self, line: usize) -> usize {
        self.lines.get(line).map_or(0, |line| line.places.len())
    }

    /// Bytes in a line.
    pub(super) fn bytes_of(&self, line: usize) -> u64 {
        self.lines.get(line).map_or(0, |line| line.bytes)
    }

    /// Pieces that wait.
    pub(super) fn held(&self) -> usize {
        self.by_lane.iter().sum()
    }

    /// Pieces of a lane.
    pub(super) fn held_in(&self, lane: Priority) -> usize {
        self.by_lane.get(lane as usize).copied().unwrap_or(0)
    }

    /// Pieces of a model in a lane.
    pub(super) fn held_for(&self, model: ModelId, lane: Priority) -> usize {
        let lanes = self.by_model.get(usize::from(model.0));
        lanes.and_then(|lanes| lanes.get(lane as usize)).copied().unwrap_or(0)
    }

    /// Bytes of what waits.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn count(&mut self, model: usize, lane: usize, change: impl Fn(&mut usize)) {
        let of_model = self.by_model.get_mut(model).and_then(|lanes| lanes.get_mut(lane));
        self.by_lane.get_mut(lane).into_iter().chain(of_model).for_each(change);
    }
}
