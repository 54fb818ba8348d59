//! The frame of a batch: which version and coding, how long, whether damaged; and the body out of it.
//!
//! # Why
//! A thin link sends few events at once, so what each frame says again has to be small: lengths take the bytes they need,
//! and the compressor starts from a dictionary instead of nothing. The four bytes that begin every Zstandard frame are
//! left out.

use std::borrow::Cow;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, compress_bound};

use crate::wire::dictionary;
use crate::wire::error::WireError;
use crate::wire::limits::{BODY_BYTES_MAX, RATIO_MAX};

/// First bytes of a frame.
pub(crate) const MAGIC: [u8; 2] = *b"TG";

/// Version of the batch format that is written.
pub(crate) const VERSION: u8 = 2;

/// First version of the batch format, read for ever.
pub(crate) const VERSION_1: u8 = 1;

/// Bytes before the body in version 1.
const HEAD_1_BYTES: usize = 16;

/// Bytes of the checksum, the last of the head.
const CHECKSUM_BYTES: usize = 4;

/// Bytes of a length: seven bits each, so that they reach [`BODY_BYTES_MAX`].
const LENGTH_BYTES_MAX: usize = 3;

/// The body as it is, in both versions.
const PLAIN: u8 = 0;

/// In version 1, where there were no dictionaries: one whole Zstandard frame.
const ZSTD_1: u8 = 1;

/// How every Zstandard frame begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The highest level before memory and time rise faster than bytes fall; `benches/wire.rs` prints the others.
const LEVEL: i32 = 4;

/// Reach of the compressor, 128 KiB: more than a usual body, and all a reader that unpacks piece by piece has to
/// hold.
const WINDOW_LOG: u32 = 17;

/// What a frame says before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) version: u8,
    /// 0: as it is; in version 1 1: Zstandard; from version 2 on the number of a dictionary.
    coding: u8,
    /// Bytes of the body before compression.
    body: usize,
    /// Bytes of the body as stored.
    stored: usize,
    /// Bytes of the head itself, with the checksum at its end.
    bytes: usize,
}

impl Head {
    /// Reads the head at the start of `bytes` and checks everything it can tell.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let known = bytes.len().min(MAGIC.len());
        if bytes.get(..known) != MAGIC.get(..known) {
            return Err(WireError::NotABatch);
        }
        let missing = |need| WireError::Incomplete { need, have: bytes.len() };
        let version = *bytes.get(2).ok_or(missing(MAGIC.len() + 1))?;
        let coding = bytes.get(3).copied();
        let (body, stored, end) = match version {
            VERSION_1 => {
                let length = |at| Ok(fixed(bytes, at).ok_or(missing(HEAD_1_BYTES))? as usize);
                (length(4)?, length(8)?, HEAD_1_BYTES - CHECKSUM_BYTES)
            }
            VERSION => {
                let (body, after) = length(bytes, 4)?;
                let (stored, after) = length(bytes, after)?;
                (body, stored, after)
            }
            found => return Err(WireError::Version { found }),
        };
        if body > BODY_BYTES_MAX || stored > body {
            return Err(WireError::Limit { what: "length of a body" });
        }
        let head =
            Self { version, coding: coding.unwrap_or_default(), body, stored, bytes: end + CHECKSUM_BYTES };
        if bytes.len() < head.bytes { Err(missing(head.bytes)) } else { Ok(head) }
    }

    /// Length of the whole frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.bytes + self.stored
    }

    /// The body out of the frame that starts with this head, if it was not damaged.
    pub(crate) fn body<'a>(&self, frame: &'a [u8]) -> Result<Cow<'a, [u8]>, WireError> {
        let checked = frame.get(..self.bytes - CHECKSUM_BYTES).unwrap_or_default();
        let stored = frame.get(self.bytes..self.frame_bytes()).unwrap_or_default();
        let checksum = crc32c::crc32c_append(crc32c::crc32c(checked), stored);
        if fixed(frame, checked.len()) != Some(checksum) {
            return Err(WireError::Checksum);
        }
        let plain = self.coding == PLAIN;
        let fits = if plain { stored.len() == self.body } else { self.body <= stored.len() * RATIO_MAX };
        match (self.version, self.coding) {
            _ if !fits => Err(WireError::Invalid { what: "length of a body" }),
            (_, PLAIN) => Ok(Cow::Borrowed(stored)),
            (VERSION_1, ZSTD_1) => self.unpacked(Decompressor::new(), stored),
            (VERSION_1, _) => Err(WireError::Invalid { what: "codec" }),
            (_, number) => {
                let dictionary = dictionary::known(number)?;
                let whole = [&ZSTD_MAGIC, stored].concat();
                self.unpacked(Decompressor::with_prepared_dictionary(dictionary), &whole)
            }
        }
    }

    fn unpacked<'a>(
        &self,
        decompressor: std::io::Result<Decompressor<'_>>,
        packed: &[u8],
    ) -> Result<Cow<'a, [u8]>, WireError> {
        let mut body = Vec::with_capacity(self.body);
        let mut decompressor = decompressor.map_err(|_| WireError::Compression)?;
        let length = decompressor.decompress_to_buffer(packed, &mut body);
        if length.ok() == Some(self.body) { Ok(Cow::Owned(body)) } else { Err(WireError::Compression) }
    }
}

/// A number of four bytes, least significant first.
fn fixed(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    four.try_into().ok().map(u32::from_le_bytes)
}

/// A length at `at` and where it ends.
fn length(bytes: &[u8], at: usize) -> Result<(usize, usize), WireError> {
    let mut length = 0;
    for (index, place) in (at..at + LENGTH_BYTES_MAX).enumerate() {
        let byte = *bytes.get(place).ok_or(WireError::Incomplete { need: place + 1, have: bytes.len() })?;
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((length, place + 1));
        }
    }
    Err(WireError::Limit { what: "length of a body" })
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        out.push(0x80 | low_bits(length));
        length >>= 7;
    }
    out.push(low_bits(length));
}

fn low_bits(length: usize) -> u8 {
    u8::try_from(length & 0x7f).unwrap_or_default()
}

/// Packs bodies into frames. Keeps its buffer and its compressor.
pub(crate) struct Packer {
    packed: Vec<u8>,
    /// `None` if the compressor could not be set up: bodies are then sent as they are.
    compressor: Option<Compressor<'static>>,
}

impl Packer {
    /// Sets up the compressor; it takes its memory with the first body.
    pub(crate) fn new() -> Self {
        let compressor = Compressor::with_dictionary(LEVEL, dictionary::BYTES).and_then(|mut compressor| {
            compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
            // The frame has all of these already.
            compressor.set_parameter(CParameter::ContentSizeFlag(false))?;
            compressor.set_parameter(CParameter::ChecksumFlag(false))?;
            compressor.set_parameter(CParameter::DictIdFlag(false))?;
            Ok(compressor)
        });
        Self { packed: Vec::new(), compressor: compressor.ok() }
    }

    /// Appends a frame with this body.
    pub(crate) fn pack(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(WireError::Limit { what: "length of a body" });
        }
        let (coding, stored) =
            self.compress(body).map_or((PLAIN, body), |stored| (dictionary::CURRENT, stored));
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, coding]);
        put_length(out, body.len());
        put_length(out, stored.len());
        let head = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&crc32c::crc32c_append(head, stored).to_le_bytes());
        out.extend_from_slice(stored);
        Ok(())
    }

    /// The body compressed, without the first bytes of every frame; `None` when that gains nothing, or so much that a
    /// reader would refuse it.
    fn compress(&mut self, body: &[u8]) -> Option<&[u8]> {
        self.packed.clear();
        self.packed.reserve(compress_bound(body.len()));
        self.compressor.as_mut()?.compress_to_buffer(body, &mut self.packed).ok()?;
        let stored = self.packed.strip_prefix(&ZSTD_MAGIC)?;
        (stored.len() < body.len() && body.len() <= stored.len() * RATIO_MAX).then_some(stored)
    }

    /// Bytes of memory the compressor has taken.
    #[cfg(test)]
    pub(crate) fn compressor_bytes(&mut self) -> usize {
        self.compressor.as_mut().map_or(0, |compressor| compressor.context_mut().sizeof())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::arbitrary::framed;

    /// The body of a frame, or why there is none.
    fn body(frame: &[u8]) -> Result<Vec<u8>, WireError> {
        let head = Head::read(frame)?;
        head.body(frame).map(Cow::into_owned)
    }

    fn packed(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Packer::new().pack(body, &mut out).unwrap();
        out
    }

    #[test]
    fn a_body_comes_out_as_it_went_in() {
        for length in [0, 1, 100, 127, 128, 129, 16_383, 16_384, BODY_BYTES_MAX] {
            let text = b"pump.temperature pump.pressure ".iter().copied().cycle().take(length);
            let text: Vec<u8> = text.collect();
            assert_eq!(body(&packed(&text)).unwrap(), text, "{length} bytes");
        }
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(300).collect();
        let frame = packed(&noise);
        assert_eq!((frame[3], body(&frame).unwrap()), (PLAIN, noise));
        assert!(Packer::new().pack(&vec![0; BODY_BYTES_MAX + 1], &mut Vec::new()).is_err());
    }

    #[test]
    fn any_change_of_a_byte_is_noticed() {
        for text in [&b"hydraulics-1 vs1.rms ts1.mean"[..], &[], &[7; 200]] {
            let frame = packed(text);
            for at in 0..frame.len() {
                for with in 1..=u8::MAX {
                    let mut damaged = frame.clone();
                    damaged[at] ^= with;
                    // A length that grew asks for bytes that will not come.
                    damaged.resize(frame.len() + 64, 0);
                    let read = Head::read(&damaged).map(|head| {
                        let whole = damaged.get(..head.frame_bytes());
                        whole.map_or(Err(WireError::Checksum), |frame| head.body(frame))
                    });
                    assert!(!matches!(read, Ok(Ok(_))), "byte {at} with {with:#x}");
                }
            }
        }
    }

    #[test]
    fn a_compressed_body_larger_than_it_says_is_refused() {
        let text = vec![0_u8; 100_000];
        let beyond_ratio = WireError::Invalid { what: "length of a body" };
        let whole = zstd::bulk::compress(&text, 3).unwrap();
        for (version, coding, stored) in [(VERSION_1, ZSTD_1, &whole[..]), (VERSION, 1, &whole[4..])] {
            for (said, expected) in
                [(100_000, &beyond_ratio), (1_000, &WireError::Compression), (100, &WireError::Compression)]
            {
                let frame = framed(version, coding, said, stored);
                let taken = allocation_counter::measure(|| assert_eq!(body(&frame).as_ref(), Err(expected)));
                assert!(taken.bytes_max < 10_000, "{} bytes", taken.bytes_max);
            }
        }
    }

    #[test]
    fn a_body_compressed_with_a_foreign_dictionary_is_refused_by_name() {
        let later = body(&framed(VERSION, 2, 30, b"whatever it may be")).unwrap_err();
        assert_eq!(later, WireError::Dictionary { found: 2, known: 1 });
        let says = "batch needs dictionary 2; this program knows those up to 1: decode with a later one";
        assert_eq!(later.to_string(), says);
        // Said to be ours, and made with another: no body comes out that looks right.
        let text = b"tidegate bearing temperature, tidegate bearing pressure, tidegate bearing";
        let foreign = [&b"tidegate bearing temperature pressure"[..], &[9; 64]].concat();
        let mut compressor = Compressor::with_dictionary(LEVEL, &foreign).unwrap();
        let stored = compressor.compress(text).unwrap();
        assert_ne!(body(&framed(VERSION, 1, text.len(), &stored[4..])), Ok(text.to_vec()));
        let codec = WireError::Invalid { what: "codec" };
        assert_eq!(body(&framed(VERSION_1, 2, 1, b"x")), Err(codec), "version 1 had none");
    }

    #[test]
    fn the_head_alone_says_what_is_wrong() {
        let first = [b'T', b'G', VERSION_1, PLAIN, 5, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0];
        let second = [b'T', b'G', VERSION, PLAIN, 0x84, 1, 5, 0, 0, 0, 0];
        let check = |good: &[u8], at: usize, with: u8, expected: WireError| {
            let mut bytes = good.to_vec();
            bytes[at] = with;
            assert_eq!(Head::read(&bytes).unwrap_err(), expected);
        };
        for good in [&first[..], &second] {
            assert_eq!(Head::read(good).unwrap().frame_bytes(), good.len() + 5);
            check(good, 0, b'X', WireError::NotABatch);
            check(good, 1, b'X', WireError::NotABatch);
            check(good, 2, 3, WireError::Version { found: 3 });
            for length in 0..good.len() {
                assert!(matches!(Head::read(&good[..length]), Err(WireError::Incomplete { .. })));
            }
        }
        let too_long = WireError::Limit { what: "length of a body" };
        check(&first, 7, 1, too_long.clone());
        check(&first, 8, 6, too_long.clone());
        check(&second, 5, 0, too_long.clone());
        let endless = [b'T', b'G', VERSION, PLAIN, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(Head::read(&endless), Err(too_long));
    }
}
