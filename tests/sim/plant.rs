//! The fake plant: machines that wear and recover, and people who write reports.

use tidegate::clock::{EventTime, Uptime};
use tidegate::flow::{AssetId, BadWhy, Private, Quality, Report, Sample, SampleBatch, SignalId, StreamId};

use crate::world::{START, micros};

/// Samples in one message, one a second.
pub(crate) const MESSAGE_SAMPLES: i64 = 5;

/// The last seconds of a source. When `bad`, some come twice, late, out of order, from the future, or are no numbers.
pub(crate) fn message(
    (stream, asset): (u16, u32),
    now: Uptime,
    bad: bool,
    random: &mut fastrand::Rng,
) -> SampleBatch {
    let mut samples = Vec::new();
    for second in (0..MESSAGE_SAMPLES).rev() {
        let at = START + micros(now) - second * 1_000_000;
        let worn = ((at / 120_000_000) + i64::from(asset)) % 3 == 0;
        let value = if worn { 0.9 } else { 0.1 } + random.f32() / 20.0;
        let sample = Sample { signal: SignalId(0), at: EventTime(at), value, quality: Quality::Good };
        samples.push(sample);
        if bad {
            let mut odd = sample;
            match random.u8(..8) {
                0 => odd.at.0 -= 40_000_000,
                1 => odd.at.0 += 86_400_000_000,
                2 => odd.at = EventTime(i64::MIN + random.i64(0..9)),
                3 => odd.quality = Quality::Bad(BadWhy::NonFinite),
                4 => odd.at.0 -= 2_000_000,
                _ => {}
            }
            samples.push(odd);
        }
    }
    if bad {
        random.shuffle(&mut samples);
    }
    SampleBatch { stream: StreamId(stream), asset: AssetId(asset), received: now, samples }
}

/// A report.
pub(crate) fn report(now: Uptime) -> Report {
    Report {
        stream: StreamId(2),
        asset: AssetId(0),
        at: EventTime(START + micros(now)),
        received: now,
        reference: None,
        text: Private::new("pump drips again".to_owned()),
        class: None,
    }
}
