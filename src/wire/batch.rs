//! The frame of a batch: sixteen bytes of header, then the body, compressed when that makes it smaller.

use std::sync::Arc;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, compress_bound};

use crate::flow::Outbound;
use crate::wire::columns::Columns;
use crate::wire::error::WireError;
use crate::wire::limits::{BODY_BYTES_MAX, RATIO_MAX};
use crate::wire::parse::parse_event;
use crate::wire::primitive::{Bytes, put_text};
use crate::wire::rows::read_rows;

/// First bytes of a frame.
pub(crate) const MAGIC: [u8; 2] = *b"TG";

/// Version of the batch format.
pub(crate) const VERSION: u8 = 1;

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 16;

/// Header bytes under the checksum: all but the checksum itself.
const CHECKED_BYTES: usize = 12;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// The compressor's default: higher levels gain nothing on bodies of a few kilobytes.
const LEVEL: i32 = 3;

/// Reach of the compressor, 128 KiB: more than a usual body, and about 1 MB of memory in place of 8.
const WINDOW_LOG: u32 = 17;

/// Who sends: the first two parts of every event id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name of the site.
    pub site: Arc<str>,
    /// Name of the gateway.
    pub gateway: Arc<str>,
}

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
        put_text(&mut self.body, &origin.site)?;
        put_text(&mut self.body, &origin.gateway)?;
        self.columns.write(events, &mut self.body)?;
        if self.body.len() > BODY_BYTES_MAX {
            return Err(WireError::Limit { what: "length of a body" });
        }
        let (codec, stored) = if self.compress() { (ZSTD, &self.packed) } else { (PLAIN, &self.body) };
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, codec]);
        for length in [self.body.len(), stored.len()] {
            let length = u32::try_from(length).map_err(|_| WireError::Limit { what: "length of a body" })?;
            out.extend_from_slice(&length.to_le_bytes());
        }
        let header = out.get(start..).unwrap_or_default();
        let checksum = crc32c::crc32c_append(crc32c::crc32c(header), stored);
        out.extend_from_slice(&checksum.to_le_bytes());
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
    let mut header = Bytes::new(frame);
    let [_, _, _, codec] = header.array()?;
    let body_length = u32::from_le_bytes(header.array()?) as usize;
    header.take(4)?;
    let checksum = u32::from_le_bytes(header.array()?);
    let (checked, stored) = (frame.get(..CHECKED_BYTES), frame.get(HEADER_BYTES..));
    let (checked, stored) = (checked.unwrap_or_default(), stored.unwrap_or_default());
    if crc32c::crc32c_append(crc32c::crc32c(checked), stored) != checksum {
        return Err(WireError::Checksum);
    }
    let batch = match codec {
        PLAIN if stored.len() == body_length => decode_body(stored),
        ZSTD if body_length <= stored.len().saturating_mul(RATIO_MAX) => {
            let mut body = Vec::with_capacity(body_length);
            let mut decompressor = Decompressor::new().map_err(|_| WireError::Compression)?;
            let unpacked = decompressor.decompress_to_buffer(stored, &mut body);
            if unpacked.ok() != Some(body_length) {
                return Err(WireError::Compression);
            }
            decode_body(&body)
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
    if let Some(version) = bytes.get(2).filter(|version| **version != VERSION) {
        return Err(WireError::Version { found: *version });
    }
    let Some(header) = bytes.get(..HEADER_BYTES) else {
        return Err(WireError::Incomplete { need: HEADER_BYTES, have: bytes.len() });
    };
    let mut header = Bytes::new(header);
    header.take(4)?;
    let body = u32::from_le_bytes(header.array()?) as usize;
    let stored = u32::from_le_bytes(header.array()?) as usize;
    if body > BODY_BYTES_MAX || stored > body {
        return Err(WireError::Limit { what: "length of a body" });
    }
    Ok(HEADER_BYTES + stored)
}

fn decode_body(body: &[u8]) -> Result<Batch, WireError> {
    let mut bytes = Bytes::new(body);
    let batch = read_body(&mut bytes);
    // The frame is complete, so a body that ends early is wrong and not unfinished.
    batch.map_err(|error| match error {
        WireError::Incomplete { .. } => WireError::Invalid { what: "length of the body's parts" },
        other @ (WireError::NotABatch
        | WireError::Version { .. }
        | WireError::Checksum
        | WireError::Limit { .. }
        | WireError::Invalid { .. }
        | WireError::Compression
        | WireError::Json { .. }) => other,
    })
}

fn read_body(bytes: &mut Bytes<'_>) -> Result<Batch, WireError> {
    let origin = Origin { site: Arc::from(bytes.text()?), gateway: Arc::from(bytes.text()?) };
    Ok(Batch { origin, events: read_rows(bytes)? })
}
