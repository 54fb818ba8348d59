//! What an event costs in which format: `cargo bench --bench wire [-- EVENTS.jsonl …]`; files hold event JSON, as
//! `tidegate decode` prints it. `-- --train FILE` makes a dictionary (`scripts/wire-dictionary`).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark: it measures time and prints"
)]

#[path = "../tests/support/events.rs"]
mod events;
#[path = "../tests/support/frames.rs"]
mod frames;
#[path = "../tests/support/sparkplug.rs"]
mod sparkplug;

use std::fs;
use std::time::Instant;

use events::{Models, Names, Plant};
use tidegate::flow::{Facts, Outbound, Priority, When};
use tidegate::wire::{Encoder, Origin, decode_batch, encode_json, parse_event};
use zstd::bulk::{Compressor, Decompressor};

/// Sizes of the batches.
const COUNTS: [usize; 4] = [1, 8, 32, 256];

/// Level of the program's compressor.
const LEVEL: i32 = 4;

/// Bytes of a dictionary, and those of others to compare with.
const DICTIONARY_BYTES: usize = 8 << 10;
const OTHER_BYTES: [usize; 5] = [2 << 10, 4 << 10, DICTIONARY_BYTES, 16 << 10, 32 << 10];

/// Plants to train on and events of each; those measured have other seeds.
const TRAINED: u64 = 1_500;
const TRAINED_EVENTS: usize = 40;

/// Plants to measure and events of each.
const MEASURED: std::ops::Range<u64> = 1_000_000..1_000_016;
const MEASURED_EVENTS: usize = 1_024;

/// Runs for a time; the fastest counts.
const ROUNDS: usize = 5;

/// Batches of one gateway.
type Batches = Vec<(Origin, Vec<Vec<Outbound>>)>;

/// What batches are compressed with besides the dictionary of the program.
struct Dictionaries {
    /// For JSON.
    json: Vec<u8>,
    /// For bodies, of other lengths.
    others: [Vec<u8>; 5],
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [train, file] = arguments.as_slice()
        && train == "--train"
    {
        let samples = training(|origin, events| compact(origin, events).0);
        let dictionary = zstd::dict::from_samples(&samples, DICTIONARY_BYTES).unwrap();
        fs::write(file, dictionary).unwrap();
        return;
    }
    memory();
    let models = Models::shipped();
    let samples = training(|origin, events| compact(origin, events).0);
    let others = OTHER_BYTES.map(|bytes| zstd::dict::from_samples(&samples, bytes).unwrap());
    let dictionaries =
        Dictionaries { json: zstd::dict::from_samples(&training(json), DICTIONARY_BYTES).unwrap(), others };
    for (title, names) in [
        ("made-up plants, models of this repository and usual names", Names::Usual),
        ("made-up plants, all names their own", Names::Own),
    ] {
        let plants: Vec<_> = MEASURED
            .map(|seed| {
                let mut plant = Plant::new(&models, names, seed);
                let events = plant.events(MEASURED_EVENTS);
                (plant.origin, events)
            })
            .collect();
        report(title, &plants, &dictionaries);
    }
    let plants: Vec<_> = MEASURED
        .map(|seed| {
            let mut plant = Plant::new(&models, Names::Usual, seed);
            let events = plant.summaries(48);
            (plant.origin, events)
        })
        .collect();
    report("made-up plants, summaries of hours and gaps", &plants, &dictionaries);
    for file in &arguments {
        let text = fs::read_to_string(file).unwrap();
        let events: Vec<_> = text.lines().map(|line| parse_event(line.as_bytes()).unwrap()).collect();
        let origin = events[0].0.clone();
        let events = events.into_iter().map(|(_, facts)| Outbound::passed(facts)).collect();
        report(file, &[(origin, events)], &dictionaries);
    }
}

/// What a reader holds besides the batch itself.
fn memory() {
    let dictionary = zstd::dict::DecoderDictionary::copy(frames::DICTIONARY);
    let (context, prepared) = (zstd::zstd_safe::DCtx::create().sizeof(), dictionary.as_ddict().sizeof());
    println!(
        "reader: {} KiB while it unpacks, {} KiB for the dictionary once",
        context / 1024,
        prepared / 1024
    );
    println!("program: {} bytes of dictionary", frames::DICTIONARY.len());
}

/// What a dictionary is made from: small batches of many plants.
fn training(body: impl Fn(&Origin, &[Outbound]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let models = Models::shipped();
    let mut samples = Vec::new();
    for seed in 0..TRAINED {
        let names = if seed % 10 == 0 { Names::Own } else { Names::Usual };
        let mut plant = Plant::new(&models, names, seed);
        let mut events = plant.events(TRAINED_EVENTS);
        if seed % 5 == 0 {
            events.extend(plant.summaries(2));
        }
        for count in [1, 2, 4, 8] {
            samples.extend(batches(&events, count).iter().map(|batch| body(&plant.origin, batch)));
        }
    }
    samples
}

/// Batches as they are sent: of one lane each.
fn batches(events: &[Outbound], count: usize) -> Vec<Vec<Outbound>> {
    let lanes = Priority::ALL.map(|lane| {
        let of_lane: Vec<_> = events.iter().filter(|event| event.facts().priority == lane).cloned().collect();
        of_lane.chunks(count).map(<[Outbound]>::to_vec).collect::<Vec<_>>()
    });
    lanes.into_iter().flatten().collect()
}

fn json(origin: &Origin, events: &[Outbound]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_json(origin, events, &mut out);
    out
}

/// Body and frame of a batch.
fn compact(origin: &Origin, events: &[Outbound]) -> (Vec<u8>, usize) {
    let mut frame = Vec::new();
    Encoder::new().encode(origin, events, &mut frame).unwrap();
    (frames::body(&frame), frame.len())
}

/// A compressor as the program's, with or without a dictionary.
fn compressor(level: i32, dictionary: &[u8]) -> Compressor<'static> {
    use zstd::zstd_safe::CParameter::{ChecksumFlag, ContentSizeFlag, DictIdFlag};
    let mut compressor = Compressor::with_dictionary(level, dictionary).unwrap();
    for flag in [ChecksumFlag(false), ContentSizeFlag(false), DictIdFlag(false)] {
        compressor.set_parameter(flag).unwrap();
    }
    compressor
}

fn report(title: &str, plants: &[(Origin, Vec<Outbound>)], dictionaries: &Dictionaries) {
    let total: usize = plants.iter().map(|(_, events)| events.len()).sum();
    println!(
        "\n{title}: {total} events\n\n| bytes per event in batches of | 1 | 8 | 32 | 256 |\n|---|---|---|---|---|"
    );
    let sized = COUNTS.map(|count| -> Batches {
        plants.iter().map(|(origin, events)| (origin.clone(), batches(events, count))).collect()
    });
    let row = |name: &str, size: &mut dyn FnMut(&Origin, &[Outbound]) -> usize| {
        let cells = sized.iter().map(|plants| {
            let bytes: usize = each(plants).map(|(origin, batch)| size(origin, batch)).sum();
            format!("{:.1}", bytes as f64 / total as f64)
        });
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    };
    let (mut plain, mut with) = (compressor(3, &[]), compressor(LEVEL, &dictionaries.json));
    let (mut columns, mut ours) = (compressor(3, &[]), compressor(LEVEL, frames::DICTIONARY));
    let packed = |compressor: &mut Compressor<'_>, bytes: &[u8]| compressor.compress(bytes).unwrap().len();
    row("JSON", &mut |origin, batch| json(origin, batch).len());
    row("JSON, Zstandard", &mut |origin, batch| packed(&mut plain, &json(origin, batch)));
    row("JSON, Zstandard with dictionary", &mut |origin, batch| packed(&mut with, &json(origin, batch)));
    // Neither has a form for summaries.
    let windows = plants.iter().flat_map(|(_, events)| events).all(|event| event.facts().summary.is_none());
    if windows {
        row("Sparkplug B", &mut |_, batch| sparkplug::payload(batch, false).len());
        row("Sparkplug B, names sent before", &mut |_, batch| sparkplug::payload(batch, true).len());
        row("Sparkplug B, Zstandard", &mut |_, batch| packed(&mut plain, &sparkplug::payload(batch, false)));
    }
    row("columns", &mut |origin, batch| 16 + compact(origin, batch).0.len());
    row("columns, Zstandard (version 1)", &mut |origin, batch| {
        16 + packed(&mut columns, &compact(origin, batch).0)
    });
    if windows {
        row("columns, pco, names by dictionary", &mut |origin, batch| pco_bytes(origin, batch, &mut ours));
    }
    row("**columns, Zstandard with dictionary (version 2)**", &mut |origin, batch| compact(origin, batch).1);
    times(&sized, total, &dictionaries.json);
    levels(&sized, total, &dictionaries.others);
}

fn each(plants: &Batches) -> impl Iterator<Item = (&Origin, &Vec<Outbound>)> {
    plants.iter().flat_map(|(origin, batches)| batches.iter().map(move |batch| (origin, batch)))
}

/// Encoding and decoding, and each as a share of JSON's time in the same run.
fn times(sized: &[Batches; 4], total: usize, json_dictionary: &[u8]) {
    println!(
        "\n| µs per event, encode + decode (JSON is 1), in batches of | 1 | 8 | 32 | 256 |\n|---|---|---|---|---|"
    );
    let mut rows = [const { Vec::new() }; 3];
    for plants in sized {
        let [json_time, packed, ours] = times_of(&each(plants).collect::<Vec<_>>(), json_dictionary);
        for (row, time) in rows.iter_mut().zip([json_time, packed, ours]) {
            let per_event = time.map(|time| time / total as f64);
            let share = [time[0] / json_time[0], time[1] / json_time[1]];
            row.push(format!("{:.2} + {:.2} ({:.2}, {:.2})", per_event[0], per_event[1], share[0], share[1]));
        }
    }
    for (name, row) in ["JSON", "JSON, Zstandard with dictionary", "**version 2**"].iter().zip(&rows) {
        println!("| {name} | {} |", row.join(" | "));
    }
}

/// Microseconds to encode and decode all batches: as JSON, as JSON compressed, as frames.
fn times_of(all: &[(&Origin, &Vec<Outbound>)], json_dictionary: &[u8]) -> [[f64; 2]; 3] {
    let (mut out, mut packed) = (Vec::with_capacity(1 << 20), Vec::with_capacity(1 << 20));
    let mut encoder = Encoder::new();
    let encode = fastest(all, |(origin, batch)| {
        out.clear();
        encoder.encode(origin, batch, &mut out).unwrap();
    });
    let frame = |(origin, batch): &(&Origin, &Vec<Outbound>)| {
        let mut out = Vec::new();
        encoder.encode(origin, batch, &mut out).unwrap();
        out
    };
    let frames: Vec<_> = all.iter().map(frame).collect();
    let decode = fastest(&frames, |frame| drop(decode_batch(frame).unwrap()));
    let json_encode = fastest(all, |(origin, batch)| {
        out.clear();
        encode_json(origin, batch, &mut out);
    });
    let lines: Vec<_> = all.iter().map(|(origin, batch)| json(origin, batch)).collect();
    let json_decode = fastest(&lines, |lines| {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            drop(parse_event(line).unwrap());
        }
    });
    let mut with = compressor(LEVEL, json_dictionary);
    let compress = fastest(&lines, |lines| {
        packed.clear();
        with.compress_to_buffer(lines.as_slice(), &mut packed).unwrap();
    });
    let stored: Vec<_> = lines.iter().map(|lines| (lines.len(), with.compress(lines).unwrap())).collect();
    let dictionary = zstd::dict::DecoderDictionary::copy(json_dictionary);
    let decompress = fastest(&stored, |(length, stored)| {
        let mut decompressor = Decompressor::with_prepared_dictionary(&dictionary).unwrap();
        drop(decompressor.decompress(stored, *length).unwrap());
    });
    [[json_encode, json_decode], [json_encode + compress, json_decode + decompress], [encode, decode]]
}

/// What each level of the compressor and each length of a dictionary takes and gives.
fn levels(sized: &[Batches; 4], total: usize, dictionaries: &[Vec<u8>]) {
    println!(
        "\n| level: bytes, µs per event; KiB of the compressor | 1 | 8 | 32 | 256 |\n|---|---|---|---|---|"
    );
    let bodies: Vec<Vec<_>> = sized
        .iter()
        .map(|plants| each(plants).map(|(origin, batch)| compact(origin, batch).0).collect())
        .collect();
    let mut out = Vec::with_capacity(1 << 20);
    for level in [1, 3, LEVEL, 5, 9, 19] {
        let cells = bodies.iter().map(|bodies| {
            let (mut compressor, mut bytes) = (compressor(level, frames::DICTIONARY), 0);
            let time = fastest(bodies, |body| {
                out.clear();
                bytes += compressor.compress_to_buffer(body.as_slice(), &mut out).unwrap();
            });
            let bytes = bytes / ROUNDS;
            let memory = compressor.context_mut().sizeof() / 1024;
            format!("{:.1}, {:.2}; {memory}", bytes as f64 / total as f64, time / total as f64)
        });
        println!("| {level} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    println!("\n| bytes per event, by bytes of the dictionary | 1 | 8 | 32 | 256 |\n|---|---|---|---|---|");
    for dictionary in dictionaries {
        let mut compressor = compressor(LEVEL, dictionary);
        let cells = bodies.iter().map(|bodies| {
            let bytes: usize = bodies.iter().map(|body| compressor.compress(body).unwrap().len()).sum();
            format!("{:.1}", bytes as f64 / total as f64)
        });
        println!("| {} | {} |", dictionary.len(), cells.collect::<Vec<_>>().join(" | "));
    }
}

/// Microseconds over all items, of the fastest of some runs.
fn fastest<T>(items: &[T], mut run: impl FnMut(&T)) -> f64 {
    let runs = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        items.iter().for_each(&mut run);
        start.elapsed().as_secs_f64() * 1e6
    });
    runs.fold(f64::INFINITY, f64::min)
}

/// Bytes with every column of numbers by pco, or as it is where that is less, and all names by the dictionary.
fn pco_bytes(origin: &Origin, events: &[Outbound], names: &mut Compressor<'_>) -> usize {
    let mut words: Vec<&str> = Vec::new();
    let mut columns: std::collections::BTreeMap<(usize, usize, usize), Vec<i64>> =
        std::collections::BTreeMap::new();
    for event in events {
        number_columns(event.facts(), &mut words, &mut columns);
    }
    let mut text = [&*origin.site, &*origin.gateway].concat();
    for word in words {
        text.push(char::from(word.len().min(127) as u8));
        text.push_str(word);
    }
    // Head of the frame as in version 2; four bytes less for the beginning of a Zstandard frame.
    let names = 10 + names.compress(text.as_bytes()).unwrap().len() - 4;
    names + columns.values().map(|column| 1 + pco_column(column)).sum::<usize>()
}

/// One column for each field of each stream.
fn number_columns<'a>(
    facts: &'a Facts,
    words: &mut Vec<&'a str>,
    columns: &mut std::collections::BTreeMap<(usize, usize, usize), Vec<i64>>,
) {
    let mut word = |text: &'a str| {
        words.iter().position(|word| *word == text).unwrap_or_else(|| {
            words.push(text);
            words.len() - 1
        })
    };
    let stream = word(&facts.stream);
    let mut put =
        |field: usize, item: usize, value: i64| columns.entry((stream, field, item)).or_default().push(value);
    let (start, length) = match facts.when {
        When::Span(span) => (span.from.0 / 1_000_000, (span.to.0 - span.from.0) / 1_000),
        When::At(at) => (at.0 / 1_000, 0),
    };
    put(0, 0, facts.id.number.cast_signed());
    put(1, 0, start);
    put(2, 0, length);
    put(3, 0, (facts.change as i64) | i64::from(facts.historical) << 2);
    put(4, 0, facts.completeness.map_or(-1, |share| (share * 100.0).round() as i64));
    put(5, 0, word(&facts.model) as i64);
    for (item, result) in facts.results.iter().enumerate() {
        put(6, item, word(&result.task) as i64);
        put(7, item, word(&result.label) as i64);
        put(8, item, (result.score * 100.0).round() as i64);
        put(9, item, result.verdict as i64);
        for (at, score) in result.scores.iter().enumerate() {
            put(10, item << 16 | at, word(&score.name) as i64);
            put(11, item << 16 | at, (score.value * 100.0).round() as i64);
        }
    }
    for (item, feature) in facts.features.iter().enumerate() {
        put(12, item, word(&feature.name) as i64);
        put(13, item, (f64::from(feature.value) * 1_000.0).round() as i64);
    }
    put(14, 0, facts.entities.len() as i64);
    for entity in &facts.entities {
        put(15, 0, word(&entity.kind) as i64);
        put(16, 0, entity.value.as_deref().map_or(-1, |value| word(value) as i64));
    }
    put(17, 0, facts.extraction.as_ref().map_or(-1, |found| found.verdict as i64));
}

fn pco_column(values: &[i64]) -> usize {
    // As in columns of version 1: all alike take one value, zeros nothing.
    let number = |value: i64| postcard::to_stdvec(&value).unwrap().len();
    if values.iter().all(|value| *value == values[0]) {
        return number(values[0]);
    }
    let steps = values.windows(2).map(|pair| number(pair[1] - pair[0])).sum::<usize>() + number(values[0]);
    let compressor = pco::wrapped::FileCompressor::default();
    let chunk = compressor.chunk_compressor(values, &pco::ChunkConfig::default()).unwrap();
    let mut out = Vec::new();
    chunk.write_chunk_meta(&mut out).unwrap();
    (0..chunk.n_per_page().len()).for_each(|page| chunk.write_page(page, &mut out).map(drop).unwrap());
    steps.min(values.iter().copied().map(number).sum()).min(out.len())
}
