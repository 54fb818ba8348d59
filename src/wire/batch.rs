//! A batch: events of one gateway in a frame, or one line of event JSON.

use std::sync::Arc;

use crate::flow::{Facts, Outbound};
use crate::wire::codes::start_ms;
use crate::wire::columns::Columns;
use crate::wire::error::WireError;
use crate::wire::frame::{Head, Packer, VERSION_1};
use crate::wire::origin::Origin;
use crate::wire::parse::parse_event;
use crate::wire::row::{event_of, put_row, word};
use crate::wire::rows::read_rows;
use crate::wire::schema::{Body, put, read};
use crate::wire::told::{Kept, put_told};

/// Number of `Body::One` among the bodies.
const ONE: u32 = 0;

/// Number of `Body::OneTold` among the bodies.
const ONE_TOLD: u32 = 2;

/// Events of one gateway, read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The gateway.
    pub origin: Origin,
    /// Its events in the order of sending.
    pub events: Vec<Outbound>,
}

/// Writes batches. Keeps its buffers and its compressor from batch to batch.
pub struct Encoder {
    columns: Columns,
    body: Vec<u8>,
    packer: Packer,
}

impl Encoder {
    /// Sets up the compressor; it takes its memory with the first batch.
    pub fn new() -> Self {
        Self { columns: Columns::default(), body: Vec::new(), packer: Packer::new() }
    }

    /// Appends one frame with 1 to [`EVENTS_MAX`](crate::wire::limits::EVENTS_MAX) events. On error `out` is as
    /// before.
    pub fn encode(
        &mut self,
        origin: &Origin,
        events: &[Outbound],
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        self.body.clear();
        if let [event] = events {
            put_one(&mut self.body, origin, event.facts())?;
        } else {
            self.columns.write(origin, events, &mut self.body)?;
        }
        self.packer.pack(&self.body, out)
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads the batch at the start of `bytes`, of either encoding, and says how many bytes it took.
///
/// The first byte tells: `T` starts a frame, `{` a line of JSON, which is a batch of one and ends with its line or
/// with the bytes. [`WireError::Incomplete`] asks for more bytes.
pub fn decode_batch(bytes: &[u8]) -> Result<(Batch, usize), WireError> {
    match bytes.first() {
        None => Err(WireError::Incomplete { need: 1, have: 0 }),
        Some(b'{') => decode_line(bytes),
        Some(_) => decode_frame(bytes),
    }
}

fn decode_line(bytes: &[u8]) -> Result<(Batch, usize), WireError> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let line = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    let (origin, facts) = parse_event(line)?;
    let used = line.len() + usize::from(end.is_some());
    Ok((Batch { origin, events: vec![Outbound::passed(facts)] }, used))
}

fn decode_frame(bytes: &[u8]) -> Result<(Batch, usize), WireError> {
    let head = Head::read(bytes)?;
    let length = head.frame_bytes();
    let frame = bytes.get(..length).ok_or(WireError::Incomplete { need: length, have: bytes.len() })?;
    let body = head.body(frame)?;
    decode_body(head.version, &body).map(|batch| (batch, length))
}

/// Appends a body of one event.
fn put_one(out: &mut Vec<u8>, origin: &Origin, facts: &Facts) -> Result<(), WireError> {
    put(out, &if facts.summary.is_some() { ONE_TOLD } else { ONE })?;
    put(out, word(&origin.site)?)?;
    put(out, word(&origin.gateway)?)?;
    put_row(out, facts)?;
    let Some(summary) = &facts.summary else { return Ok(()) };
    put_told(out, summary, start_ms(facts.when), &|name| word(name))
}

fn decode_body(version: u8, body: &[u8]) -> Result<Batch, WireError> {
    let batch = |site, gateway, events| {
        let origin = Origin { site: Arc::from(word(site)?), gateway: Arc::from(word(gateway)?) };
        Ok(Batch { origin, events })
    };
    match read(body)? {
        Body::One(one) => batch(one.site, one.gateway, vec![event_of(&one.event, None)?]),
        Body::Many(many) => batch(many.site, many.gateway, read_rows(&many, &[])?),
        Body::OneTold(..) | Body::ManyTold(..) if version == VERSION_1 => {
            Err(WireError::Invalid { what: "kind of a body" })
        }
        Body::OneTold(one, told) => {
            batch(one.site, one.gateway, vec![event_of(&one.event, Some((&told, Kept::default())))?])
        }
        Body::ManyTold(many, told) => batch(many.site, many.gateway, read_rows(&many, &told.0)?),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::EventId;
    use crate::wire::arbitrary::{event, events, framed, origin};
    use crate::wire::codes::{SHAPE_INSTANT, SHAPE_SUMMARY};
    use crate::wire::frame::VERSION;
    use crate::wire::json::encode_json;
    use crate::wire::limits::{BODY_BYTES_MAX, ITEMS_MAX};
    use crate::wire::schema::{Limited, Many, Shape};

    /// Memory a reader may take for any bytes: the limits on items and bodies, in their worst mixture.
    const MEMORY_MAX: u64 = 32 << 20;

    fn encoded(events: &[Outbound]) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::new().encode(&origin(), events, &mut out).unwrap();
        out
    }

    /// A frame with a right head around any body.
    fn plain(body: &[u8]) -> Vec<u8> {
        framed(VERSION, 0, body.len(), body)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(192))]

        #[test]
        fn a_batch_reads_back_equal(events in events()) {
            let bytes = encoded(&events);
            let (batch, used) = decode_batch(&bytes).unwrap();
            prop_assert_eq!(used, bytes.len());
            prop_assert_eq!(batch.origin, origin());
            prop_assert_eq!(batch.events, events);
        }

        #[test]
        fn any_change_of_a_byte_is_noticed(event in event(), at in any::<prop::sample::Index>(), with in 1_u8..) {
            let mut bytes = encoded(&[event]);
            let at = at.index(bytes.len());
            bytes[at] ^= with;
            prop_assert!(decode_batch(&bytes).is_err());
        }

        #[test]
        fn a_damaged_body_behind_a_right_checksum_neither_panics_nor_takes_much_memory(
            events in events(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut body = Vec::new();
            Columns::default().write(&origin(), &events, &mut body).unwrap();
            for (at, with) in changes {
                let at = at.index(body.len());
                body[at] = with;
            }
            if cut.index(4) == 0 {
                body.truncate(cut.index(body.len()));
            }
            let frame = plain(&body);
            let taken = allocation_counter::measure(|| drop(decode_batch(&frame)));
            prop_assert!(taken.bytes_max < MEMORY_MAX, "{} bytes", taken.bytes_max);
        }

        #[test]
        fn any_bytes_are_a_batch_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode_batch(&bytes));
            drop(decode_batch(&plain(&bytes)));
        }
    }

    /// One event with so many entities.
    fn crowded(entities: usize) -> Vec<u8> {
        let flags = SHAPE_INSTANT;
        let none = || Limited(vec![]);
        let shape = Shape { flags, stream: 0, model: 0, tasks: Limited(vec![]), features: Limited(vec![]) };
        let many = Many {
            site: "s",
            gateway: "g",
            events: 1,
            words: Limited(vec!["w"]),
            shapes: Limited(vec![shape]),
            shape_of: Limited(vec![]),
            epoch: 0,
            number: 0,
            epoch_steps: none(),
            number_steps: none(),
            time_unit: 0,
            starts: none(),
            lengths: none(),
            states: Limited(vec![]),
            completeness: Limited(vec![]),
            entity_counts: Limited(vec![u32::try_from(entities).unwrap()]),
            entity_kinds: Limited(vec![0; entities]),
            entity_values: Limited(vec![1; entities]),
        };
        let mut body = Vec::new();
        put(&mut body, &Body::Many(many)).unwrap();
        plain(&body)
    }

    #[test]
    fn a_body_with_as_much_as_may_be_takes_no_more_memory_than_the_limits() {
        let frame = crowded(ITEMS_MAX);
        let mut read = 0;
        let taken = allocation_counter::measure(|| {
            let (batch, _) = decode_batch(&frame).unwrap();
            read = batch.events[0].facts().entities.len();
        });
        assert_eq!(read, ITEMS_MAX, "the body is meant to be valid");
        assert!(taken.bytes_max < MEMORY_MAX, "{} bytes", taken.bytes_max);
        // One more is refused before memory is taken.
        let frame = crowded(ITEMS_MAX + 1);
        let taken = allocation_counter::measure(|| assert!(decode_batch(&frame).is_err()));
        assert!(taken.bytes_max < 10_000, "{} bytes", taken.bytes_max);
    }

    #[test]
    fn the_densest_structures_take_no_more_memory_than_the_limits() {
        let number = |value: usize| {
            let mut bytes = Vec::new();
            put(&mut bytes, &value).unwrap();
            bytes
        };
        // Shapes with as many tasks or features as may be, each as short as it can be; and shapes with nothing.
        let tasks = [&[0, 0, 0][..], &number(64), &[0; 6 * 64], &[0]].concat();
        let features = [&[0, 0, 0, 0][..], &number(4096), &vec![0; 4 * 4096]].concat();
        for (shape, most) in [(tasks, 2_600), (features, 63), (vec![0; 5], 4096)] {
            let mut body = Vec::new();
            put(&mut body, &(1_u32, "s", "g", 4096_u32, vec!["w"], most)).unwrap();
            body.extend(shape.repeat(most));
            body.resize(body.len() + 13, 0);
            assert!(body.len() < BODY_BYTES_MAX && read::<Body<'_>>(&body).is_ok(), "meant to be read");
            let frame = plain(&body);
            let taken = allocation_counter::measure(|| assert!(decode_batch(&frame).is_err()));
            assert!(taken.bytes_max < MEMORY_MAX, "{} bytes", taken.bytes_max);
        }
    }

    #[test]
    fn the_densest_summaries_take_no_more_memory_than_the_limits() {
        let number = |value: usize| postcard::to_stdvec(&value).unwrap();
        // Summaries with as many tasks, labels or features as may be, each as short as it can be.
        let tasks = [&[0, 0][..], &number(64), &[0; 2 * 64], &[0]].concat();
        let labels = [&[0, 0, 1, 0][..], &number(4096), &vec![0; 5 * 4096], &[0]].concat();
        let features = [&[0, 0, 0][..], &number(4096), &vec![0; 9 * 4096]].concat();
        for (summary, fits) in [(tasks, 1_900), (labels, 50), (features, 28), (vec![0; 4], 4096)] {
            for count in [fits, (ITEMS_MAX / summary.len()).min(fits)] {
                let head =
                    (3_u32, "s", "g", count, vec!["w"], 1_u32, [SHAPE_SUMMARY | SHAPE_INSTANT, 0, 0, 0, 0]);
                let mut body = postcard::to_stdvec(&head).unwrap();
                body.resize(body.len() + 13, 0);
                body.extend(number(count));
                body.extend(summary.repeat(count));
                assert!(body.len() < BODY_BYTES_MAX && read::<Body<'_>>(&body).is_ok(), "meant to be read");
                let frame = plain(&body);
                let taken = allocation_counter::measure(|| drop(decode_batch(&frame)));
                assert!(taken.bytes_max < MEMORY_MAX, "{} bytes", taken.bytes_max);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_part_by_part_is_postcard_of_the_schema(events in events()) {
            let mut body = Vec::new();
            Columns::default().write(&origin(), &events, &mut body).unwrap();
            let whole: Body<'_> = read(&body).unwrap();
            prop_assert_eq!(postcard::to_stdvec(&whole).unwrap(), body);
        }
    }

    #[test]
    fn an_empty_batch_is_refused_and_leaves_the_output_alone() {
        let mut out = vec![1, 2, 3];
        assert!(Encoder::new().encode(&origin(), &[], &mut out).is_err());
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn a_used_encoder_writes_the_same_and_takes_no_new_memory() {
        let facts = |number| Facts { id: EventId { epoch: 1, number }, ..plain_facts() };
        let events: Vec<_> = (1..200).map(|number| Outbound::passed(facts(number))).collect();
        let origin = origin();
        let mut encoder = Encoder::new();
        let (mut first, mut again) = (Vec::new(), Vec::with_capacity(100_000));
        encoder.encode(&origin, &events, &mut first).unwrap();
        let taken = allocation_counter::measure(|| encoder.encode(&origin, &events, &mut again).unwrap());
        assert_eq!(first, again);
        assert_eq!(taken.count_total, 0);
        again.clear();
        let taken = allocation_counter::measure(|| encode_json(&origin, &events, &mut again));
        assert_eq!(taken.count_total, 0);
        let compressor = encoder.packer.compressor_bytes();
        assert!(compressor < 1 << 20, "{compressor} bytes");
    }

    fn plain_facts() -> Facts {
        use crate::clock::{ClockQuality, EventTime};
        use crate::flow::{Change, Named, Priority, StreamKind, TaskResult, Verdict, When};
        let name: Arc<str> = "severe".into();
        Facts {
            id: EventId { epoch: 0, number: 0 },
            stream: "s".into(),
            kind: StreamKind::Sensor,
            when: When::At(EventTime(1_795_143_600_500_000)),
            clock: ClockQuality::Synced,
            model: "m@1".into(),
            results: vec![TaskResult {
                task: "".into(),
                label: Arc::clone(&name),
                score: 0.97,
                verdict: Verdict::Accepted,
                scores: vec![Named { name: Arc::clone(&name), value: 0.97 }],
            }],
            features: vec![Named { name: "f".into(), value: 0.123_456_7 }],
            entities: vec![],
            extraction: None,
            completeness: Some(0.5),
            change: Change::New,
            priority: Priority::Normal,
            historical: false,
            summary: None,
        }
    }
}
