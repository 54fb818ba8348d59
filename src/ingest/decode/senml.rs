//! Samples as a SenML pack in JSON (RFC 8428): records with base fields that hold until they change.

use crate::clock::EventTime;
use crate::flow::{Quality, Sample, SignalId};
use crate::ingest::decode::fields::{Fields, Row, Walk};
use crate::ingest::decode::rows::{self, Rows, Seen};
use crate::ingest::decode::scan::{Scalar, Scanner, Text};
use crate::ingest::decode::{json, time};
use crate::ingest::{Limits, TimeUnit};
use crate::tally::DropReason;

/// Labels read, by field index, in the order in which records are mostly written. Units and update times change
/// nothing here and are not read.
const LABELS: [&str; 11] = ["bn", "bt", "bver", "bv", "t", "n", "v", "vb", "vs", "vd", "s"];

/// Newest version understood (RFC 8428 section 4.4).
const VERSION: f64 = 10.0;

/// Times below this many seconds are relative to now (RFC 8428 section 4.5.3).
const ABSOLUTE_FROM: f64 = 268_435_456.0;

/// Reads the channels of one stream.
pub(crate) struct SenmlDecoder {
    fields: Fields,
    /// Names of the channels in alphabetical order.
    channels: Vec<(Box<str>, SignalId)>,
    walk: Walk,
    seen: Seen,
    base: Base,
    record: Record,
    scratch: String,
}

/// Base fields: they hold for this record and those that follow.
#[derive(Default)]
struct Base {
    name: String,
    time: f64,
    value: f64,
}

/// The other fields of a record, in whatever order they are written.
#[derive(Default)]
struct Record {
    name: String,
    time: f64,
    value: Option<Value>,
}

#[derive(Clone, Copy)]
enum Value {
    /// `v`: a number that the base value is added to.
    Number(f64),
    /// Any other value.
    Reading((f32, Quality)),
}

struct RecordRow<'a> {
    channels: &'a [(Box<str>, SignalId)],
    rows: Rows<'a>,
    base: &'a mut Base,
    record: &'a mut Record,
    arrival: EventTime,
    scratch: &'a mut String,
}

impl SenmlDecoder {
    pub(crate) fn new(values: &[String]) -> Self {
        let mut channels: Vec<(Box<str>, SignalId)> =
            values.iter().zip(0..).map(|(name, index)| (name.as_str().into(), SignalId(index))).collect();
        channels.sort();
        Self {
            fields: Fields::new(LABELS),
            channels,
            walk: Walk::default(),
            seen: Seen::new(values.len()),
            base: Base::default(),
            record: Record::default(),
            scratch: String::new(),
        }
    }

    pub(crate) fn decode(
        &mut self,
        text: &str,
        arrival: EventTime,
        limits: &Limits,
        samples: &mut Vec<Sample>,
    ) -> Result<(), DropReason> {
        self.base.name.clear();
        (self.base.time, self.base.value) = (0.0, 0.0);
        self.record.clear();
        let first = samples.len();
        let mut row = RecordRow {
            channels: &self.channels,
            rows: Rows::new(samples, &mut self.seen),
            base: &mut self.base,
            record: &mut self.record,
            arrival,
            scratch: &mut self.scratch,
        };
        self.fields.walk(&mut Scanner::new(text, limits), &mut self.walk, &mut row)?;
        if samples.len() > first { Ok(()) } else { Err(DropReason::MissingField) }
    }
}

impl Record {
    fn clear(&mut self) {
        self.name.clear();
        self.time = 0.0;
        self.value = None;
    }
}

impl Row for RecordRow<'_> {
    fn field(&mut self, field: u16, value: Option<Scalar<'_>>) -> Result<(), DropReason> {
        match LABELS.get(usize::from(field)).copied() {
            Some("bn") => copy(value, self.scratch, &mut self.base.name)?,
            Some("n") => copy(value, self.scratch, &mut self.record.name)?,
            Some("bt") => self.base.time = finite(value).ok_or(DropReason::BadTime)?,
            Some("t") => self.record.time = finite(value).ok_or(DropReason::BadTime)?,
            Some("bv") => self.base.value = finite(value).ok_or(DropReason::Malformed)?,
            Some("bver") => {
                finite(value).filter(|version| *version <= VERSION).ok_or(DropReason::Malformed)?;
            }
            Some("v") => {
                self.record.value = Some(match value {
                    Some(Scalar::Number(number)) => {
                        number.parse().map_or(Value::Reading(rows::MISSING), Value::Number)
                    }
                    other => Value::Reading(json::reading(other, self.scratch)),
                });
            }
            Some("vb") => self.record.value = Some(Value::Reading(json::reading(value, self.scratch))),
            // A text, a block of bytes or a sum where a number belongs.
            _ if self.record.value.is_none() => self.record.value = Some(Value::Reading(rows::MISSING)),
            _ => {}
        }
        Ok(())
    }

    /// A label that ends with `_` changes what the record means (RFC 8428 section 4.4).
    fn other(&mut self, key: &str) -> Result<(), DropReason> {
        if key.ends_with('_') { Err(DropReason::Malformed) } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), DropReason> {
        // A record may hold base fields only.
        if let Some(value) = self.record.value {
            self.scratch.clear();
            self.scratch.push_str(&self.base.name);
            self.scratch.push_str(&self.record.name);
            if let Some(signal) = signal(self.channels, self.scratch) {
                self.rows.put(signal, value.reading(self.base.value));
            }
            let at = instant(self.base.time + self.record.time, self.arrival).ok_or(DropReason::BadTime)?;
            self.rows.end_row(at);
        }
        self.record.clear();
        Ok(())
    }
}

impl Value {
    fn reading(self, base: f64) -> (f32, Quality) {
        match self {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "samples are f32; beyond its range they are bad"
            )]
            Self::Number(number) => rows::reading((number + base) as f32),
            Self::Reading(reading) => reading,
        }
    }
}

/// The channel of a name: the whole name, or what follows its last `:` or `/`.
fn signal(channels: &[(Box<str>, SignalId)], name: &str) -> Option<SignalId> {
    let find = |name: &str| {
        let place = channels.binary_search_by(|(channel, _)| channel.as_ref().cmp(name)).ok();
        place.and_then(|place| channels.get(place)).map(|(_, signal)| *signal)
    };
    find(name).or_else(|| name.rsplit_once([':', '/']).and_then(|(_, last)| find(last)))
}

fn instant(seconds: f64, arrival: EventTime) -> Option<EventTime> {
    if seconds >= ABSOLUTE_FROM {
        return time::from_float(seconds, TimeUnit::Seconds);
    }
    let offset = time::from_float(seconds, TimeUnit::Seconds)?;
    Some(EventTime(arrival.0.saturating_add(offset.0)))
}

fn finite(value: Option<Scalar<'_>>) -> Option<f64> {
    match value {
        Some(Scalar::Number(number)) => number.parse().ok().filter(|number: &f64| number.is_finite()),
        Some(Scalar::Text(_) | Scalar::NonFinite | Scalar::Bool(_) | Scalar::Null) | None => None,
    }
}

fn copy(value: Option<Scalar<'_>>, scratch: &mut String, out: &mut String) -> Result<(), DropReason> {
    let text: Text<'_> = match value {
        Some(Scalar::Text(text)) => text,
        Some(Scalar::Number(_) | Scalar::NonFinite | Scalar::Bool(_) | Scalar::Null) | None => {
            return Err(DropReason::Malformed);
        }
    };
    out.clear();
    out.push_str(text.read(scratch));
    Ok(())
}
