//! The frame of a batch: sixteen bytes of header, then the body, compressed when that makes it smaller.

use std::sync::Arc;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, compress_bound};

use crate::flow::{Facts, Outbound};
use crate::wire::codes::start_ms;
use crate::wire::columns::Columns;
use crate::wire::error::WireError;
use crate::wire::limits::{BODY_BYTES_MAX, RATIO_MAX};
use crate::wire::origin::Origin;
use crate::wire::parse::parse_event;
use crate::wire::row::{event_of, put_row, word};
use crate::wire::rows::read_rows;
use crate::wire::schema::{Body, Header, put, read};
use crate::wire::told::{Kept, put_told};

/// First bytes of a frame.
pub(crate) const MAGIC: [u8; 2] = *b"TG";

/// Version of the batch format that is written.
pub(crate) const VERSION: u8 = 2;

/// First version of the batch format, read for ever.
pub(crate) const VERSION_1: u8 = 1;

/// Number of `Body::One` among the bodies.
const ONE: u32 = 0;

/// Number of `Body::OneTold` among the bodies.
const ONE_TOLD: u32 = 2;

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 16;

/// Header bytes under the checksum: all but the checksum itself.
const CHECKED_BYTES: usize = 12;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// The compressor's default: higher levels gain nothing on bodies of a few kilobytes.
const LEVEL: i32 = 3;

/// Reach of the compressor, 128 KiB: more than a usual body, and all a reader that unpacks piece by piece has to
/// hold. The compressor itself takes what the body needs: 90 KB for one of 4 KB, 1.3 MB for the largest.
const WINDOW_LOG: u32 = 17;

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
    packed: Vec<u8>,
    /// `None` if the compressor could not be set up: batches are then sent as they are.
    compressor: Option<Compressor<'static>>,
}

impl Encoder {
    /// Sets up the compressor; it takes its memory with the first batch.
    pub fn new() -> Self {
        let compressor = Compressor::new(LEVEL).and_then(|mut compressor| {
            compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
            // The frame has both already.
            compressor.set_parameter(CParameter::ContentSizeFlag(false))?;
            compressor.set_parameter(CParameter::ChecksumFlag(false))?;
            Ok(compressor)
        });
        Self {
            columns: Columns::default(),
            body: Vec::new(),
            packed: Vec::new(),
            compressor: compressor.ok(),
        }
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
        if self.body.len() > BODY_BYTES_MAX {
            return Err(WireError::Limit { what: "length of a body" });
        }
        let (codec, stored) = if self.compress() { (ZSTD, &self.packed) } else { (PLAIN, &self.body) };
        let length = |part: &[u8]| {
            u32::try_from(part.len()).map_err(|_| WireError::Limit { what: "length of a body" })
        };
        let (body, stored_length) = (length(&self.body)?, length(stored)?);
        let mut header =
            Header { magic: MAGIC, version: VERSION, codec, body, stored: stored_length, checksum: 0 };
        header.checksum = checksum(&header, stored)?;
        put(out, &header)?;
        out.extend_from_slice(stored);
        Ok(())
    }

    /// Fills `packed` from `body`; `false` when that gains nothing, or so much that a reader would refuse it.
    fn compress(&mut self) -> bool {
        let Some(compressor) = &mut self.compressor else { return false };
        self.packed.clear();
        self.packed.reserve(compress_bound(self.body.len()));
        let packed = compressor.compress_to_buffer(self.body.as_slice(), &mut self.packed);
        packed.is_ok_and(|length| length < self.body.len() && self.body.len() <= length * RATIO_MAX)
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
    let length = frame_bytes(bytes)?;
    let frame = bytes.get(..length).ok_or(WireError::Incomplete { need: length, have: bytes.len() })?;
    let header: Header = read(frame.get(..HEADER_BYTES).unwrap_or_default())?;
    let stored = frame.get(HEADER_BYTES..).unwrap_or_default();
    if checksum(&header, stored)? != header.checksum {
        return Err(WireError::Checksum);
    }
    let body_length = header.body as usize;
    let batch = match header.codec {
        PLAIN if stored.len() == body_length => decode_body(header.version, stored),
        ZSTD if body_length <= stored.len().saturating_mul(RATIO_MAX) => {
            let mut body = Vec::with_capacity(body_length);
            let mut decompressor = Decompressor::new().map_err(|_| WireError::Compression)?;
            let unpacked = decompressor.decompress_to_buffer(stored, &mut body);
            if unpacked.ok() != Some(body_length) {
                return Err(WireError::Compression);
            }
            decode_body(header.version, &body)
        }
        PLAIN | ZSTD => Err(WireError::Invalid { what: "length of a body" }),
        _ => Err(WireError::Invalid { what: "codec" }),
    };
    batch.map(|batch| (batch, length))
}

/// Length of the frame that starts here, by its header; checks everything the header can tell.
pub(crate) fn frame_bytes(bytes: &[u8]) -> Result<usize, WireError> {
    let known = bytes.len().min(MAGIC.len());
    if bytes.get(..known) != MAGIC.get(..known) {
        return Err(WireError::NotABatch);
    }
    if let Some(version) = bytes.get(2).filter(|version| !matches!(**version, VERSION_1 | VERSION)) {
        return Err(WireError::Version { found: *version });
    }
    let Some(header) = bytes.get(..HEADER_BYTES) else {
        return Err(WireError::Incomplete { need: HEADER_BYTES, have: bytes.len() });
    };
    let header: Header = read(header)?;
    if header.body as usize > BODY_BYTES_MAX || header.stored > header.body {
        return Err(WireError::Limit { what: "length of a body" });
    }
    Ok(HEADER_BYTES + header.stored as usize)
}

/// CRC-32C of a header without its checksum and the body behind it.
fn checksum(header: &Header, stored: &[u8]) -> Result<u32, WireError> {
    let mut bytes = [0; HEADER_BYTES];
    let header = postcard::to_slice(header, &mut bytes).map_err(WireError::Body)?;
    let checked = header.get(..CHECKED_BYTES).unwrap_or_default();
    Ok(crc32c::crc32c_append(crc32c::crc32c(checked), stored))
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
        Body::OneTold(..) | Body::ManyTold(..) if version < VERSION => {
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
    use crate::wire::arbitrary::{event, events, origin};
    use crate::wire::codes::{SHAPE_INSTANT, SHAPE_SUMMARY};
    use crate::wire::json::encode_json;
    use crate::wire::limits::ITEMS_MAX;
    use crate::wire::schema::{Limited, Many, Shape};

    /// Memory a reader may take for any bytes: the limits on items and bodies, in their worst mixture.
    const MEMORY_MAX: u64 = 32 << 20;

    fn encoded(events: &[Outbound]) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::new().encode(&origin(), events, &mut out).unwrap();
        out
    }

    /// A frame with a right header around any body.
    fn framed(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let mut out = [&MAGIC[..], &[VERSION, PLAIN], &length, &length].concat();
        out.extend_from_slice(&crc32c::crc32c_append(crc32c::crc32c(&out), body).to_le_bytes());
        out.extend_from_slice(body);
        out
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
            let frame = framed(&body);
            let taken = allocation_counter::measure(|| drop(decode_batch(&frame)));
            prop_assert!(taken.bytes_max < MEMORY_MAX, "{} bytes", taken.bytes_max);
        }

        #[test]
        fn any_bytes_are_a_batch_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode_batch(&bytes));
            drop(decode_batch(&framed(&bytes)));
        }
    }

    /// One event with so many entities.
    fn crowded(entities: usize) -> Vec<u8> {
        let flags = crate::wire::codes::SHAPE_INSTANT;
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
        framed(&body)
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
        let features = [&[0, 0, 0, 0][..], &number(4096), &[0; 4 * 4096]].concat();
        for (shape, most) in [(tasks, 2_600), (features, 63), (vec![0; 5], 4096)] {
            let mut body = Vec::new();
            put(&mut body, &(1_u32, "s", "g", 4096_u32, vec!["w"], most)).unwrap();
            body.extend(shape.repeat(most));
            body.resize(body.len() + 13, 0);
            assert!(body.len() < BODY_BYTES_MAX && read::<Body<'_>>(&body).is_ok(), "meant to be read");
            let frame = framed(&body);
            let taken = allocation_counter::measure(|| assert!(decode_batch(&frame).is_err()));
            assert!(taken.bytes_max < MEMORY_MAX, "{} bytes", taken.bytes_max);
        }
    }

    #[test]
    fn the_densest_summaries_take_no_more_memory_than_the_limits() {
        let number = |value: usize| postcard::to_stdvec(&value).unwrap();
        // Summaries with as many tasks, labels or features as may be, each as short as it can be.
        let tasks = [&[0, 0][..], &number(64), &[0; 2 * 64], &[0]].concat();
        let labels = [&[0, 0, 1, 0][..], &number(4096), &[0; 5 * 4096], &[0]].concat();
        let features = [&[0, 0, 0][..], &number(4096), &[0; 9 * 4096]].concat();
        for (summary, fits) in [(tasks, 1_900), (labels, 50), (features, 28), (vec![0; 4], 4096)] {
            for count in [fits, (ITEMS_MAX / summary.len()).min(fits)] {
                let head =
                    (3_u32, "s", "g", count, vec!["w"], 1_u32, [SHAPE_SUMMARY | SHAPE_INSTANT, 0, 0, 0, 0]);
                let mut body = postcard::to_stdvec(&head).unwrap();
                body.resize(body.len() + 13, 0);
                body.extend(number(count));
                body.extend(summary.repeat(count));
                assert!(body.len() < BODY_BYTES_MAX && read::<Body<'_>>(&body).is_ok(), "meant to be read");
                let frame = framed(&body);
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
    fn a_compressed_body_larger_than_it_says_is_refused() {
        let body = vec![0_u8; 100_000];
        let packed = zstd::bulk::compress(&body, 3).unwrap();
        let beyond_ratio = WireError::Invalid { what: "length of a body" };
        for (said, expected) in
            [(100_000_u32, beyond_ratio), (1_000, WireError::Compression), (100, WireError::Compression)]
        {
            let stored = u32::try_from(packed.len()).unwrap();
            let mut out = [&MAGIC[..], &[VERSION, ZSTD], &said.to_le_bytes(), &stored.to_le_bytes()].concat();
            out.extend_from_slice(&crc32c::crc32c_append(crc32c::crc32c(&out), &packed).to_le_bytes());
            out.extend_from_slice(&packed);
            let taken = allocation_counter::measure(|| assert_eq!(decode_batch(&out), Err(expected.clone())));
            assert!(taken.bytes_max < 10_000, "{} bytes", taken.bytes_max);
        }
    }

    #[test]
    fn the_header_alone_says_what_is_wrong() {
        let good = [b'T', b'G', VERSION, PLAIN, 5, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0];
        let check = |at: usize, with: u8, expected: WireError| {
            let mut bytes = good;
            bytes[at] = with;
            assert_eq!(decode_batch(&bytes).unwrap_err(), expected);
        };
        check(0, b'T', WireError::Incomplete { need: 21, have: 16 });
        check(0, b'X', WireError::NotABatch);
        check(1, b'X', WireError::NotABatch);
        check(2, 3, WireError::Version { found: 3 });
        check(7, 1, WireError::Limit { what: "length of a body" });
        check(8, 6, WireError::Limit { what: "length of a body" });
        for length in 0..16 {
            assert!(matches!(decode_batch(&good[..length]), Err(WireError::Incomplete { .. })));
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
        let compressor = encoder.compressor.as_mut().unwrap().context_mut().sizeof();
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
