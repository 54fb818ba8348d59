//! What the shipped models take here: processor time of one input by itself and of a full batch, the making of the inputs included.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tidegate::clock::{EventTime, SystemClock};
use tidegate::features::{Extractor, FeatureLayout};
use tidegate::flow::{AssetId, Completeness, FeatureVector, Series, StreamId, TimeSpan, Window};
use tidegate::infer::manifest::Encoding;
use tidegate::infer::{BATCH_MAX, Manifest, Model, ModelInput};
use tidegate::text::{NgramConfig, NgramEncoder, Split, WordConfig, WordEncoder};

use crate::hot_box::Cost;

/// A report of usual length.
const REPORT: &str =
    "Hydraulic pump leaking at the coupling, seal replaced and pressure tested, check again next shift";

/// Rounds of which the fastest is taken: whatever else runs here only adds.
const ROUNDS: usize = 9;

/// Runs of a round.
const RUNS: u32 = 40;

/// A model and its input, again and again.
struct Subject {
    model: Model,
    extractor: Extractor,
    layout: Option<(FeatureLayout, Window)>,
    ngrams: Option<NgramEncoder>,
    words: Option<WordEncoder>,
    tags: bool,
}

/// Measures a shipped model in its default form, which is its cheapest.
pub(crate) fn measure(clock: &SystemClock, name: &str) -> Cost {
    let mut subject = Subject::load(name);
    let batches = subject.model.batch_max() == BATCH_MAX;
    let single = subject.fastest(clock, 1);
    let batch = if batches { subject.fastest(clock, BATCH_MAX) } else { single * 8 };
    Cost { single, batch, batches, cheapest: 1.0 }
}

/// Waking the models' thread for a batch and the brain for its answer: processor time of both.
pub(crate) fn measure_wake() -> Duration {
    const HOPS: u32 = 2_000;
    let (work, inbox) = mpsc::sync_channel::<u32>(1);
    let (answer, outbox) = mpsc::sync_channel::<u32>(1);
    let there = std::thread::spawn(move || {
        let clock = SystemClock::start();
        for number in inbox {
            if answer.send(number).is_err() {
                break;
            }
        }
        clock.thread_time()
    });
    let clock = SystemClock::start();
    let before = clock.thread_time();
    for number in 0..HOPS {
        work.send(number).unwrap();
        outbox.recv().unwrap();
    }
    let here = clock.thread_time().saturating_sub(before);
    drop(work);
    (here + there.join().unwrap()) / HOPS
}

impl Subject {
    fn load(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
        let read = |file: PathBuf| std::fs::read(file).unwrap();
        let manifest = String::from_utf8(read(folder.join("manifest.toml"))).unwrap();
        let manifest = Arc::new(Manifest::parse(&manifest).unwrap());
        let bytes = read(folder.join(&*manifest.variants[0].file));
        let batches: &[usize] = if name == "work-order-entities" { &[1] } else { &[1, BATCH_MAX] };
        let model = Model::load(Arc::clone(&manifest), &bytes, batches).unwrap();
        let (mut layout, mut ngrams, mut words) = (None, None, None);
        match &manifest.input.encoding {
            Encoding::Features { channels, features, .. } => {
                let texts = |names: &[Arc<str>]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
                let resolved = FeatureLayout::resolve(&texts(features), &texts(channels)).unwrap();
                layout = Some((resolved, window(channels.len())));
            }
            Encoding::CharNgrams { dims, n_min, n_max } => {
                ngrams = Some(NgramEncoder::new(NgramConfig::new(*dims, *n_min, *n_max).unwrap()));
            }
            Encoding::WordGrams(grams) => {
                let lengths = grams.lengths.clone();
                let count = u8::try_from(grams.grams).unwrap();
                let config =
                    WordConfig::new(Split::Classes, grams.dims, (grams.n_min, grams.n_max), count, &lengths);
                words = Some(WordEncoder::new(config.unwrap()));
            }
        }
        let tags = manifest.tasks.is_empty();
        Self { model, extractor: Extractor::new(), layout, ngrams, words, tags }
    }

    /// Processor time of one run of so many inputs.
    fn fastest(&mut self, clock: &SystemClock, items: usize) -> Duration {
        let mut round = || {
            let before = clock.thread_time();
            (0..RUNS).for_each(|_| self.run(items));
            clock.thread_time().saturating_sub(before) / RUNS
        };
        round();
        (0..ROUNDS).map(|_| round()).min().unwrap()
    }

    fn run(&mut self, items: usize) {
        let mut late = |_| false;
        let (mut vectors, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..items {
            let mut vector = FeatureVector::default();
            if let Some((layout, window)) = &self.layout {
                self.extractor.extract(layout, window, &mut vector);
            }
            if let Some(ngrams) = &mut self.ngrams {
                ngrams.encode(REPORT, &mut vector.values);
            }
            let mut row = Vec::new();
            if let Some(words) = &mut self.words {
                let mut spans = Vec::new();
                words.split(REPORT, &mut spans);
                let length = words.config().words_of_row(spans.len());
                words.encode(REPORT, &spans, length, &mut row);
            }
            vectors.push(vector.values);
            ids.push(row);
        }
        let inputs: Vec<ModelInput<'_>> = vectors
            .iter()
            .zip(&ids)
            .map(|(values, ids)| match (&self.layout, &self.ngrams) {
                (Some(_), _) => ModelInput::Features { values, completeness: Some(1.0) },
                (None, Some(_)) => ModelInput::Vector { values, known_share: None },
                (None, None) => ModelInput::Words { ids, known_share: None },
            })
            .collect();
        if self.tags {
            assert!(self.model.tag_batch(&inputs, &mut late).iter().all(Result::is_ok));
        } else {
            assert!(self.model.judge_batch(&inputs, &mut late).iter().all(Result::is_ok));
        }
    }
}

/// A minute of one value a second and channel.
fn window(channels: usize) -> Window {
    let series = Series {
        at: (0..60).map(|second| EventTime(second * 1_000_000)).collect(),
        values: (0..60_u16).map(|n| f32::from(n.wrapping_mul(40_503) >> 8)).collect(),
    };
    Window {
        stream: StreamId(0),
        asset: AssetId(0),
        span: TimeSpan { from: EventTime(0), to: EventTime(60_000_000) },
        completeness: Completeness { expected: 60, present: 60, ..Completeness::default() },
        series: vec![series; channels],
    }
}
