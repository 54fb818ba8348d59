//! The stage: messages in, batches of samples and reports out, everything else counted.

use crate::clock::{EventTime, Uptime};
use crate::flow::{AssetId, Report, SampleBatch, StreamId};
use crate::ingest::decode::{Decoder, Envelope, Output};
use crate::ingest::route::{Router, Target};
use crate::ingest::{IngestConfig, Limits};
use crate::tally::{DropReason, Tally};

/// One message of the plant as it came from the broker.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Topic name.
    pub topic: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
    /// When it arrived, in monotonic time.
    pub received: Uptime,
    /// When it arrived by the wall clock: the event time of samples that have none.
    pub arrival: EventTime,
}

/// Takes what a message is decoded to.
pub trait Sink {
    /// The samples of one message for one stream. The batch is reused: copy what is kept.
    fn samples(&mut self, batch: &SampleBatch);
    /// A report.
    fn report(&mut self, report: Report);
}

/// Decodes the messages of a plant.
pub struct Ingest {
    streams: Vec<Stream>,
    router: Router,
    limits: Limits,
    tally: Tally,
    batch: SampleBatch,
    output: Output,
}

struct Stream {
    id: StreamId,
    decoder: Decoder,
    tally: Tally,
}

impl Ingest {
    /// Prepares a decoder for each stream.
    pub fn new(config: IngestConfig) -> Self {
        let IngestConfig { streams, limits } = config;
        let decoders = streams.iter().map(|input| Stream {
            id: input.id,
            decoder: Decoder::new(&input.payload),
            tally: Tally::new(),
        });
        Self {
            streams: decoders.collect(),
            router: Router::new(streams.into_iter().map(|input| input.filter).collect(), limits),
            limits,
            tally: Tally::new(),
            batch: SampleBatch {
                stream: StreamId(0),
                asset: AssetId(0),
                received: Uptime::ZERO,
                samples: Vec::new(),
            },
            output: Output::default(),
        }
    }

    /// Decodes a message for every stream whose filter matches. Each of them counts it once: as passed, if all of it
    /// was decoded, or as dropped; a message that no stream wants is counted once.
    pub fn accept(&mut self, message: &Message<'_>, sink: &mut impl Sink) {
        let targets = match self.router.route(message.topic) {
            Ok(targets) => targets,
            Err(reason) => {
                count(&mut self.tally, Err(reason));
                return;
            }
        };
        for target in targets {
            let Some(stream) = self.streams.get_mut(target.stream) else { continue };
            let outcome = decode(stream, *target, message, &self.limits, &mut self.output);
            if outcome.is_ok() {
                let asset = target.asset.unwrap_or_default();
                deliver(&mut self.output, &mut self.batch, (stream.id, asset, message.received), sink);
            }
            count(&mut stream.tally, outcome);
            count(&mut self.tally, outcome);
        }
    }

    /// Messages of all streams, and those that no stream wanted.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Messages of one stream; all zero for a stream that does not exist.
    pub fn stream_tally(&self, stream: StreamId) -> &Tally {
        static NONE: Tally = Tally::new();
        self.streams.iter().find(|candidate| candidate.id == stream).map_or(&NONE, |found| &found.tally)
    }

    /// Filters to subscribe to: each once, those left out that a wider one covers.
    pub fn subscriptions(&self) -> Vec<String> {
        self.router.subscriptions()
    }

    /// What the wildcards matched for a source, joined by `/`; empty without wildcards. Stays in the plant.
    pub fn asset_name(&self, asset: AssetId) -> &str {
        self.router.asset_name(asset)
    }

    /// Distinct sources of all streams. At most the configured limit.
    pub fn series_count(&self) -> usize {
        self.router.series_count()
    }
}

fn decode(
    stream: &mut Stream,
    target: Target,
    message: &Message<'_>,
    limits: &Limits,
    output: &mut Output,
) -> Result<(), DropReason> {
    let asset = target.asset.ok_or(DropReason::SeriesLimit)?;
    output.samples.clear();
    output.reports.clear();
    let envelope =
        Envelope { stream: stream.id, asset, received: message.received, arrival: message.arrival, limits };
    stream.decoder.decode(message.payload, &envelope, output)
}

fn deliver(
    output: &mut Output,
    batch: &mut SampleBatch,
    (stream, asset, received): (StreamId, AssetId, Uptime),
    sink: &mut impl Sink,
) {
    if !output.samples.is_empty() {
        (batch.stream, batch.asset, batch.received) = (stream, asset, received);
        std::mem::swap(&mut batch.samples, &mut output.samples);
        sink.samples(batch);
        std::mem::swap(&mut batch.samples, &mut output.samples);
    }
    for report in output.reports.drain(..) {
        sink.report(report);
    }
}

fn count(tally: &mut Tally, outcome: Result<(), DropReason>) {
    tally.received += 1;
    match outcome {
        Ok(()) => tally.passed += 1,
        Err(reason) => tally.drop(reason, 1),
    }
}
