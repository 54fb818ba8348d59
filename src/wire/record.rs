//! One event as the outbox stores it: a version byte, then its row; of a summary also what it says and its sketches.
//!
//! # Why
//! The gateway's name is not repeated in each record; the batch that carries it upstream says it once. Damage is
//! the outbox's to find: its frames have their own checksum. A record is written in the least version that can say
//! it, so that an earlier program reads all it can know of.

use std::time::Duration;

use crate::flow::{Facts, Outbound};
use crate::wire::codes::start_ms;
use crate::wire::error::WireError;
use crate::wire::limits::RECORD_BYTES_MAX;
use crate::wire::row::{event_of, put_row, word};
use crate::wire::schema::{RowTold, put, read};
use crate::wire::told::{Kept, put_told};

/// Version of the records of events. Later ones are added; this one stays readable.
const EVENT: u8 = 1;

/// Version of the records of summaries.
const SUMMARY: u8 = 2;

/// Appends the record of an event. On error `out` is as before.
pub fn encode_record(event: &Outbound, out: &mut Vec<u8>) -> Result<(), WireError> {
    let start = out.len();
    let written = put_record(event.facts(), out);
    let too_long = out.len() - start > RECORD_BYTES_MAX;
    let result = if too_long { Err(WireError::Limit { what: "length of a record" }) } else { written };
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn put_record(facts: &Facts, out: &mut Vec<u8>) -> Result<(), WireError> {
    let Some(summary) = &facts.summary else {
        out.push(EVENT);
        return put_row(out, facts);
    };
    out.push(SUMMARY);
    put_row(out, facts)?;
    put_told(out, summary, start_ms(facts.when), &|name| word(name))?;
    put(out, &summary.features.len())?;
    summary.features.iter().try_for_each(|feature| put(out, &*feature.sketch))?;
    put(out, &summary.tasks.len())?;
    let ms = |row: Duration| u64::try_from(row.as_millis()).unwrap_or(u64::MAX);
    summary.tasks.iter().try_for_each(|task| put(out, &(ms(task.lead), ms(task.trail))))
}

/// Reads a record back. All of `bytes` must belong to it.
pub fn decode_record(bytes: &[u8]) -> Result<Outbound, WireError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(WireError::Limit { what: "length of a record" });
    }
    match bytes.split_first() {
        Some((&EVENT, row)) => event_of(&read(row)?, None),
        Some((&SUMMARY, row)) => {
            let RowTold { event, told, sketches, rows } = read(row)?;
            if sketches.0.len() != told.features.0.len() || rows.0.len() != told.tasks.0.len() {
                return Err(WireError::Invalid { what: "number of sketches and rows" });
            }
            event_of(&event, Some((&told, Kept { sketches: &sketches.0, rows: &rows.0 })))
        }
        Some((&found, _)) => Err(WireError::Version { found }),
        None => Err(WireError::Incomplete { need: 1, have: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::sync::Arc;

    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::flow::{FeatureSummary, Grain, Summary};
    use crate::wire::arbitrary::{event, origin};
    use crate::wire::batch::{Encoder, decode_batch};

    fn sample<T>(strategy: impl Strategy<Value = T>) -> T {
        strategy.new_tree(&mut TestRunner::deterministic()).unwrap().current()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(192))]

        #[test]
        fn a_record_reads_back_equal(event in event()) {
            let mut out = vec![9];
            encode_record(&event, &mut out).unwrap();
            prop_assert_eq!(out[0], 9);
            prop_assert_eq!(decode_record(&out[1..]).unwrap(), event);
        }

        #[test]
        fn a_damaged_record_is_an_event_or_an_error(
            event in event(), at in any::<prop::sample::Index>(), with in any::<u8>(),
        ) {
            let mut out = Vec::new();
            encode_record(&event, &mut out).unwrap();
            let at = at.index(out.len());
            out[at] = with;
            drop(decode_record(&out));
            prop_assert!(decode_record(&out[..at]).is_err());
        }
    }

    #[test]
    fn the_record_of_a_summary_keeps_its_sketches_and_a_batch_does_not() {
        let feature = |sketch: &[u8]| FeatureSummary {
            name: "x".into(),
            count: 3,
            min: 0.1,
            max: 0.3,
            mean: 0.2,
            quantiles: [0.1, 0.2, 0.3],
            sketch: sketch.into(),
        };
        let mut summary = Summary { grain: Grain::Hour, events: 3, tasks: vec![], features: vec![] };
        summary.features = vec![feature(&[]), feature(&[0xff; 300]), feature(&[7])];
        let mut facts = sample(event()).facts().clone();
        facts.summary = Some(Arc::new(summary));
        let event = Outbound::passed(facts);
        let mut record = Vec::new();
        encode_record(&event, &mut record).unwrap();
        assert_eq!((decode_record(&record).unwrap(), record[0]), (event.clone(), SUMMARY));
        record[0] = EVENT;
        assert!(decode_record(&record).is_err(), "an event has no summary");
        let mut batch = Vec::new();
        Encoder::new().encode(&origin(), &[event.clone(), event], &mut batch).unwrap();
        let (batch, _) = decode_batch(&batch).unwrap();
        let read = batch.events[1].facts().summary.clone().unwrap();
        assert_eq!(read.features, vec![feature(&[]); 3]);
    }

    #[test]
    fn a_record_of_a_later_version_is_named_as_such() {
        assert_eq!(decode_record(&[3, 1]), Err(WireError::Version { found: 3 }));
        assert!(decode_record(&[]).is_err());
        assert!(decode_record(&vec![1; RECORD_BYTES_MAX + 1]).is_err());
    }
}
