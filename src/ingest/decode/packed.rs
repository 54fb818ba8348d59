//! Samples as packed little-endian numbers, the channels interleaved: vibration, current, sound.

use crate::clock::EventTime;
use crate::flow::{Quality, Sample, SignalId};
use crate::ingest::decode::rows;
use crate::ingest::{Encoding, SampleRate};
use crate::tally::DropReason;

/// Reads the blocks of one stream.
pub(crate) struct PackedDecoder {
    channels: u16,
    encoding: Encoding,
    rate: SampleRate,
    scale: f32,
}

impl PackedDecoder {
    pub(crate) fn new(values: &[String], encoding: Encoding, rate: SampleRate, scale: f32) -> Self {
        Self { channels: u16::try_from(values.len()).unwrap_or(u16::MAX), encoding, rate, scale }
    }

    /// The last sample of the block is taken at its arrival, those before it at the distance of the rate.
    pub(crate) fn decode(
        &self,
        payload: &[u8],
        arrival: EventTime,
        samples: &mut Vec<Sample>,
    ) -> Result<(), DropReason> {
        match self.encoding {
            Encoding::F32 => self.block(payload, arrival, samples, f32::from_le_bytes),
            Encoding::I16 => {
                self.block(payload, arrival, samples, |bytes| f32::from(i16::from_le_bytes(bytes)))
            }
        }
    }

    fn block<const WIDTH: usize>(
        &self,
        payload: &[u8],
        arrival: EventTime,
        samples: &mut Vec<Sample>,
        number: impl Fn([u8; WIDTH]) -> f32,
    ) -> Result<(), DropReason> {
        let width = usize::from(self.channels) * WIDTH;
        if width == 0 || !payload.len().is_multiple_of(width) {
            return Err(DropReason::Malformed);
        }
        let rows = payload.len() / width;
        samples.reserve(rows * usize::from(self.channels));
        let micros = 1e6 / self.rate.hertz();
        for (row, left) in payload.chunks_exact(width).zip((0..rows).rev()) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounded; a payload at one per hour is below 1e15"
            )]
            let before = (left as f64 * micros).round() as i64;
            let at = EventTime(arrival.0.saturating_sub(before));
            let (numbers, _) = row.as_chunks::<WIDTH>();
            for (bytes, signal) in numbers.iter().zip(0..) {
                let (value, quality) = rows::reading(number(*bytes) * self.scale);
                samples.push(Sample { signal: SignalId(signal), at, value, quality });
            }
        }
        debug_assert!(
            samples.iter().all(|sample| sample.quality != Quality::Good || sample.value.is_finite())
        );
        Ok(())
    }
}
