//! The brain's end: samples of the board's own sensors become samples of streams.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use crate::board::HardwarePlan;
use crate::clock::{EventTime, Uptime};
use crate::device::seam::{Row, Samples};
use crate::flow::{AssetId, BadWhy, Quality, Sample, SampleBatch, SignalId, StreamId};
use crate::runtime::hardware::outlets::Counts;
use crate::runtime::hardware::{MeasuredStream, place_of};
use crate::tally::{DropReason, Tally};

/// The source of a stream that the board measures: it has no name, and no topic has so many.
const ONBOARD: AssetId = AssetId(u32::MAX);

/// Samples on their way to the brain.
pub(in crate::runtime) struct Measurements {
    streams: Vec<Fed>,
    samples: mpsc::Receiver<Samples>,
    counts: Arc<Counts>,
    passed: u64,
    batch: SampleBatch,
}

/// A stream and what feeds it.
struct Fed {
    id: StreamId,
    sensor: u16,
    places: Vec<usize>,
}

impl Measurements {
    pub(in crate::runtime::hardware) fn new(
        streams: Vec<MeasuredStream>,
        plan: &HardwarePlan,
        samples: mpsc::Receiver<Samples>,
        counts: Arc<Counts>,
    ) -> Self {
        let fed = |stream: MeasuredStream| {
            let sensor = place_of(&stream.source.device, plan)?;
            Some(Fed { id: stream.id, sensor, places: stream.source.places })
        };
        let batch =
            SampleBatch { stream: StreamId(0), asset: ONBOARD, received: Uptime::ZERO, samples: Vec::new() };
        Self { streams: streams.into_iter().filter_map(fed).collect(), samples, counts, passed: 0, batch }
    }

    /// Sensors that feed a stream.
    pub(in crate::runtime::hardware) fn measured(&self) -> Arc<[u16]> {
        self.streams.iter().map(|stream| stream.sensor).collect()
    }

    /// The next report; `None` when no more will come. Nothing is lost when it is not waited for to the end.
    pub(in crate::runtime) async fn recv(&mut self) -> Option<Samples> {
        self.samples.recv().await
    }

    /// A report that is there already.
    pub(in crate::runtime) fn try_recv(&mut self) -> Option<Samples> {
        self.samples.try_recv().ok()
    }

    /// Gives every stream that the sensor feeds its samples; `time` says the event time of an uptime.
    pub(in crate::runtime) fn feed(
        &mut self,
        report: &Samples,
        received: Uptime,
        mut time: impl FnMut(Uptime) -> EventTime,
        mut push: impl FnMut(&SampleBatch),
    ) {
        self.passed += report.rows.len() as u64;
        for stream in self.streams.iter().filter(|stream| stream.sensor == report.sensor) {
            (self.batch.stream, self.batch.received) = (stream.id, received);
            self.batch.samples.clear();
            for row in &report.rows {
                let at = time(Uptime(row.at));
                self.batch.samples.extend(samples_of(row, at, &stream.places));
            }
            push(&self.batch);
        }
    }

    /// In, out, dropped and held.
    pub(in crate::runtime) fn count(&self) -> (Tally, u64) {
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let mut tally = Tally::new();
        tally.passed = self.passed;
        // What is dropped is read before what came in: what comes in between is held for a moment.
        tally.drop(DropReason::QueueFull, read(&self.counts.full));
        tally.drop(DropReason::Overrun, read(&self.counts.overrun));
        tally.drop(DropReason::Stopped, read(&self.counts.stopped));
        tally.received = read(&self.counts.received).max(self.passed + tally.dropped_total());
        let held = tally.received - self.passed - tally.dropped_total();
        (tally, held)
    }
}

fn samples_of(row: &Row, at: EventTime, places: &[usize]) -> impl Iterator<Item = Sample> {
    places.iter().enumerate().map(move |(signal, &place)| {
        let value = row.values.get(place).copied().unwrap_or(f32::NAN);
        let quality = if value.is_finite() { Quality::Good } else { Quality::Bad(BadWhy::NonFinite) };
        Sample { signal: SignalId(u16::try_from(signal).unwrap_or(u16::MAX)), at, value, quality }
    })
}
