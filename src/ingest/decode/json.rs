//! Samples as JSON: one object, or an array of objects.

use crate::clock::EventTime;
use crate::flow::{Quality, Sample, SignalId};
use crate::ingest::decode::fields::{Fields, Row, Walk};
use crate::ingest::decode::rows::{self, Rows, Seen};
use crate::ingest::decode::scan::{Scalar, Scanner};
use crate::ingest::decode::time;
use crate::ingest::{Limits, TimeField, TimeUnit};
use crate::tally::DropReason;

/// Reads the channels of one stream. The fields are the channels, and after them the time.
pub(crate) struct JsonDecoder {
    fields: Fields,
    channels: u16,
    unit: Option<TimeUnit>,
    walk: Walk,
    seen: Seen,
    /// Strings with escapes are read into this.
    scratch: String,
}

struct SampleRow<'a> {
    rows: Rows<'a>,
    channels: u16,
    /// Unit of the time, if the stream has one.
    unit: Option<TimeUnit>,
    time: Option<EventTime>,
    arrival: EventTime,
    scratch: &'a mut String,
}

impl JsonDecoder {
    pub(crate) fn new(values: &[String], time: Option<&TimeField>) -> Self {
        let names = values.iter().chain(time.map(|time| &time.name)).map(String::as_str);
        Self {
            fields: Fields::new(names),
            channels: u16::try_from(values.len()).unwrap_or(u16::MAX),
            unit: time.map(|time| time.unit),
            walk: Walk::default(),
            seen: Seen::new(values.len()),
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
        let mut row = SampleRow {
            rows: Rows::new(samples, &mut self.seen),
            channels: self.channels,
            unit: self.unit,
            time: None,
            arrival,
            scratch: &mut self.scratch,
        };
        self.fields.walk(&mut Scanner::new(text, limits), &mut self.walk, &mut row)
    }
}

impl Row for SampleRow<'_> {
    fn field(&mut self, field: u16, value: Option<Scalar<'_>>) -> Result<(), DropReason> {
        if field < self.channels {
            self.rows.put(SignalId(field), reading(value, self.scratch));
        } else if let Some(unit) = self.unit {
            self.time = Some(time_of(value, unit, self.scratch)?);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), DropReason> {
        let at = match self.unit {
            Some(_) => self.time.take().ok_or(DropReason::MissingField)?,
            None => self.arrival,
        };
        if self.rows.end_row(at) { Ok(()) } else { Err(DropReason::MissingField) }
    }
}

/// A JSON value as a reading. Of texts only the words for NaN and infinity mean something.
pub(crate) fn reading(value: Option<Scalar<'_>>, scratch: &mut String) -> (f32, Quality) {
    match value {
        Some(Scalar::Number(number)) => rows::reading_of(number),
        Some(Scalar::Bool(value)) => rows::reading_of_bool(value),
        Some(Scalar::NonFinite) => rows::NON_FINITE,
        Some(Scalar::Text(text)) => match text.read(scratch).parse::<f32>() {
            Ok(number) if !number.is_finite() => rows::NON_FINITE,
            _ => rows::MISSING,
        },
        Some(Scalar::Null) | None => rows::MISSING,
    }
}

/// A JSON value as a time.
pub(crate) fn time_of(
    value: Option<Scalar<'_>>,
    unit: TimeUnit,
    scratch: &mut String,
) -> Result<EventTime, DropReason> {
    let time = match value {
        Some(Scalar::Number(number)) => time::number(number, unit),
        Some(Scalar::Text(text)) => time::parse_time(text.read(scratch), unit),
        Some(Scalar::Bool(_) | Scalar::NonFinite | Scalar::Null) | None => None,
    };
    time.ok_or(DropReason::BadTime)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_serde_json_writes_is_read_back(
            rows in prop::collection::vec((any::<f32>(), any::<Option<f32>>(), 0_i64..4_000_000_000_000_000), 1..5),
            noise in "[\\PC\"]{0,10}",
        ) {
            let written: Vec<_> = rows.iter().map(|(a, b, at)| {
                serde_json::json!({ "a": a, "n": { noise.as_str(): [noise.as_str(), { "a": 1 }] }, "m": { "b": b }, "ts": at })
            }).collect();
            let time = TimeField { name: "ts".to_owned(), unit: TimeUnit::Micros };
            let mut decoder = JsonDecoder::new(&["a".to_owned(), "m.b".to_owned()], Some(&time));
            let mut samples = Vec::new();
            let text = serde_json::to_string(&written).unwrap();
            let outcome = decoder.decode(&text, EventTime(0), &Limits::default(), &mut samples);
            prop_assert_eq!(outcome, Ok(()));
            let expected: Vec<_> = rows.iter().flat_map(|(a, b, at)| {
                [(0, Some(*a)), (1, *b)].map(|(signal, value)| {
                    // JSON has no NaN and no infinity: serde_json writes null.
                    let (value, quality) = value.filter(|value| value.is_finite()).map_or(rows::MISSING, rows::reading);
                    Sample { signal: SignalId(signal), at: EventTime(*at), value, quality }
                })
            }).collect();
            prop_assert_eq!(samples, expected);
        }
    }
}
