//! What the bytes mean, as the structures that postcard writes and reads: the binary format is these declarations.
//!
//! # Why
//! Postcard takes memory for a sequence by the length it says, at most by its own megabyte at a time, and grows it
//! with the bytes. [`Limited`] refuses a length beyond what is ever written before any memory is taken.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::wire::error::WireError;
use crate::wire::limits::{EVENTS_MAX, ITEMS_MAX, NAMES_MAX, TASKS_MAX, WORDS_MAX};

/// What a frame carries.
#[derive(Serialize, Deserialize)]
pub(crate) enum Body<'a> {
    /// One event, as a row.
    #[serde(borrow)]
    One(One<'a>),
    /// Several, as columns.
    #[serde(borrow)]
    Many(Many<'a>),
    /// One summary, as a row. From version 2.
    OneTold(#[serde(borrow)] One<'a>, Told<&'a str>),
    /// Several with summaries among them; what these say, in the order of their events. From version 2.
    ManyTold(#[serde(borrow)] Many<'a>, Limited<Told<u32>, EVENTS_MAX>),
}

/// A batch of one.
#[derive(Serialize, Deserialize)]
pub(crate) struct One<'a> {
    pub(crate) site: &'a str,
    pub(crate) gateway: &'a str,
    #[serde(borrow)]
    pub(crate) event: Row<'a>,
}

/// One event with its names in full: the record of the outbox, and the batch of one.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row<'a> {
    pub(crate) epoch: u32,
    pub(crate) number: u64,
    /// Bit 0: report; bit 1: instant; bit 2: the last task is the extraction; bit 3: a summary.
    pub(crate) shape: u8,
    /// Clock, change, priority, historical.
    pub(crate) state: u8,
    /// 0: none; else hundredths plus 1.
    pub(crate) completeness: u8,
    /// Milliseconds since 1970.
    pub(crate) start: i64,
    /// Milliseconds; 0 for an instant.
    pub(crate) length: i64,
    pub(crate) stream: &'a str,
    pub(crate) model: &'a str,
    #[serde(borrow)]
    pub(crate) tasks: Limited<RowTask<'a>, TASKS_MAX>,
    #[serde(borrow)]
    pub(crate) features: Limited<RowFeature<'a>, NAMES_MAX>,
    #[serde(borrow)]
    pub(crate) entities: Limited<(&'a str, Option<&'a str>), NAMES_MAX>,
}

/// One task of a row.
#[derive(Serialize, Deserialize)]
pub(crate) struct RowTask<'a> {
    pub(crate) name: &'a str,
    pub(crate) label: &'a str,
    /// Hundredths.
    pub(crate) score: u8,
    pub(crate) verdict: u8,
    /// Label and hundredths.
    #[serde(borrow)]
    pub(crate) scores: Limited<(&'a str, u8), NAMES_MAX>,
}

/// One feature of a row.
#[derive(Serialize, Deserialize)]
pub(crate) struct RowFeature<'a> {
    pub(crate) name: &'a str,
    pub(crate) decimals: u8,
    pub(crate) value: i64,
}

/// A batch of several: words once, structure once for each shape, then each field of all events side by side.
#[derive(Serialize, Deserialize)]
pub(crate) struct Many<'a> {
    pub(crate) site: &'a str,
    pub(crate) gateway: &'a str,
    /// How many.
    pub(crate) events: u32,
    #[serde(borrow)]
    pub(crate) words: Limited<&'a str, WORDS_MAX>,
    pub(crate) shapes: Limited<Shape, EVENTS_MAX>,
    /// For each event its shape.
    pub(crate) shape_of: Column<u32>,
    /// Of the first event.
    pub(crate) epoch: u32,
    /// Of the first event.
    pub(crate) number: u64,
    /// From each event to the next.
    pub(crate) epoch_steps: Column<i64>,
    /// From each event to the next, less 1.
    pub(crate) number_steps: Column<i64>,
    /// Index into 1 ms, 1 s, 60 s.
    pub(crate) time_unit: u8,
    /// From the event before of the same shape.
    pub(crate) starts: Column<i64>,
    /// Of the events with a span, in milliseconds.
    pub(crate) lengths: Column<i64>,
    pub(crate) states: Column<u8>,
    pub(crate) completeness: Column<u8>,
    /// How many entities each event has.
    pub(crate) entity_counts: Column<u32>,
    /// Words; of all entities of all events.
    pub(crate) entity_kinds: Limited<u32, ITEMS_MAX>,
    /// 0: none; else word plus 1.
    pub(crate) entity_values: Limited<u32, ITEMS_MAX>,
}

/// What the events of a stream have in common, and the columns of those that have it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Bit 0: report; bit 1: instant; bit 2: the last task is the extraction; bit 3: a summary.
    pub(crate) flags: u8,
    /// Word.
    pub(crate) stream: u32,
    /// Word.
    pub(crate) model: u32,
    pub(crate) tasks: Limited<Task, TASKS_MAX>,
    pub(crate) features: Limited<Feature, NAMES_MAX>,
}

/// One task of a shape.
#[derive(Serialize, Deserialize)]
pub(crate) struct Task {
    /// Word.
    pub(crate) name: u32,
    /// Words.
    pub(crate) labels: Column<u32>,
    /// Hundredths.
    pub(crate) shares: Column<u8>,
    pub(crate) verdicts: Column<u8>,
    /// Words: the labels whose probabilities are sent.
    pub(crate) scores: Limited<u32, NAMES_MAX>,
    /// Hundredths: of all events the first label, then of all the second, and so on.
    pub(crate) score_shares: Limited<u8, ITEMS_MAX>,
}

/// One feature of a shape.
#[derive(Serialize, Deserialize)]
pub(crate) struct Feature {
    /// Word.
    pub(crate) name: u32,
    pub(crate) decimals: u8,
    /// Of the first event of the shape.
    pub(crate) first: i64,
    /// From each to the next.
    pub(crate) steps: Column<i64>,
}

/// What a summary says. Names are texts in a row and words in columns.
#[derive(Serialize, Deserialize)]
pub(crate) struct Told<N> {
    /// 0 to 2: ten minutes, an hour, a day; 3 to 6: a gap, by reason.
    pub(crate) grain: u8,
    pub(crate) events: u64,
    pub(crate) tasks: Limited<ToldTask<N>, TASKS_MAX>,
    pub(crate) features: Limited<ToldFeature<N>, NAMES_MAX>,
}

/// One task of a summary.
#[derive(Serialize, Deserialize)]
pub(crate) struct ToldTask<N> {
    pub(crate) name: N,
    pub(crate) labels: Limited<ToldLabel<N>, NAMES_MAX>,
}

/// One label of a task of a summary. Times are in milliseconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct ToldLabel<N> {
    pub(crate) name: N,
    pub(crate) count: u64,
    /// From the start of the summary.
    pub(crate) first: i64,
    /// From the first.
    pub(crate) last: i64,
    pub(crate) longest: u64,
}

/// One feature of a summary.
#[derive(Serialize, Deserialize)]
pub(crate) struct ToldFeature<N> {
    pub(crate) name: N,
    pub(crate) count: u64,
    pub(crate) decimals: u8,
    /// Smallest, then from each to the next: quantiles 0.05, 0.5, 0.95, largest; then from the median to the mean.
    pub(crate) values: [i64; 6],
}

/// The record of a summary, version 2: a row, what it says, of each feature the sketch, and of each task how long its first
/// and its last row of one label are, in milliseconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct RowTold<'a> {
    #[serde(borrow)]
    pub(crate) event: Row<'a>,
    #[serde(borrow)]
    pub(crate) told: Told<&'a str>,
    #[serde(borrow)]
    pub(crate) sketches: Limited<&'a [u8], NAMES_MAX>,
    pub(crate) rows: Limited<(u64, u64), TASKS_MAX>,
}

/// A value for each event: none when all are 0, one when all are equal, else each.
pub(crate) type Column<T> = Limited<T, EVENTS_MAX>;

/// A sequence of at most `MAX` items.
pub(crate) struct Limited<T, const MAX: usize>(pub(crate) Vec<T>);

impl<T: Copy + Default, const MAX: usize> Limited<T, MAX> {
    /// The values of a column for `count` events.
    pub(crate) fn cells(&self, count: usize) -> Result<impl Iterator<Item = T>, WireError> {
        let (values, kept) = match self.0.as_slice() {
            [] => (&[][..], T::default()),
            [value] if count > 0 => (&[][..], *value),
            values if values.len() == count => (values, T::default()),
            _ => return Err(WireError::Invalid { what: "length of a column" }),
        };
        Ok((0..count).map(move |index| values.get(index).copied().unwrap_or(kept)))
    }
}

impl<T: Serialize, const MAX: usize> Serialize for Limited<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Limited<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(LimitedVisitor(PhantomData))
    }
}

struct LimitedVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for LimitedVisitor<T, MAX> {
    type Value = Limited<T, MAX>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // Postcard knows the length, and gives none when it is more than the bytes that are left. An item takes at
        // least one byte.
        let count = items.size_hint().filter(|count| *count <= MAX);
        let count = count.ok_or_else(|| A::Error::custom("sequence beyond its limit"))?;
        let mut taken = Vec::with_capacity(count);
        while let Some(item) = items.next_element()? {
            taken.push(item);
        }
        Ok(Limited(taken))
    }
}

/// Reads a structure that all of `bytes` belong to.
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WireError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(WireError::Body)?;
    if rest.is_empty() { Ok(value) } else { Err(WireError::Invalid { what: "rest of the body" }) }
}

/// Appends a structure, or a part of one: a structure is its fields one after the other.
pub(crate) fn put<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), WireError> {
    postcard::to_io(value, out).map(drop).map_err(WireError::Body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_says_nothing_twice() {
        let cells = |values: &[u8], count| -> Option<Vec<u8>> {
            Some(Limited::<u8, 8>(values.to_vec()).cells(count).ok()?.collect())
        };
        assert_eq!(cells(&[], 3), Some(vec![0, 0, 0]));
        assert_eq!(cells(&[7], 3), Some(vec![7, 7, 7]));
        assert_eq!(cells(&[1, 2, 3], 3), Some(vec![1, 2, 3]));
        assert_eq!(cells(&[1, 2], 3), None);
        assert_eq!(cells(&[7], 0), None);
        assert_eq!(cells(&[], 0), Some(vec![]));
    }

    #[test]
    fn a_length_beyond_the_limit_or_the_bytes_takes_no_memory() {
        let check = |length: u64, bytes: usize, good: bool| {
            let mut out = Vec::new();
            put(&mut out, &length).unwrap();
            out.resize(out.len() + bytes, 1);
            let taken = allocation_counter::measure(|| {
                assert_eq!(read::<Limited<u64, 1000>>(&out).is_ok(), good, "{length} of {bytes}");
            });
            assert!(good || taken.bytes_total == 0, "{} bytes", taken.bytes_total);
        };
        check(1000, 1000, true);
        check(1001, 1001, false);
        check(1000, 999, false);
        check(u64::MAX, 3, false);
    }
}
