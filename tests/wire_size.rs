//! How many bytes an event costs upstream: `cargo test --test wire_size -- --nocapture` prints the figures of made-up
//! plants; with `WIRE_EVENTS=FILE`, event JSON as `tidegate decode` prints it, also those of a recording. The other
//! formats it was chosen from: `cargo bench --bench wire`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test of figures it makes itself"
)]

#[path = "support/events.rs"]
mod events;

use events::{Models, Names, Plant};
use tidegate::flow::{Outbound, Priority};
use tidegate::wire::{Encoder, Origin, encode_json, encode_record, parse_event};

/// Events of one gateway.
type Gateway = (Origin, Vec<Outbound>);

/// Plants that no dictionary was trained on.
fn gateways(names: Names, summaries: bool) -> Vec<Gateway> {
    let models = Models::shipped();
    let gateway = |seed| {
        let mut plant = Plant::new(&models, names, seed);
        let events = if summaries { plant.summaries(48) } else { plant.events(512) };
        (plant.origin, events)
    };
    (1_000_000..1_000_016).map(gateway).collect()
}

/// Batches as they are sent: of one lane each.
fn batches(events: &[Outbound], count: usize) -> Vec<Vec<Outbound>> {
    let lane = |lane| events.iter().filter(move |event| event.facts().priority == lane).cloned();
    let chunks = |lane: Vec<Outbound>| lane.chunks(count).map(<[Outbound]>::to_vec).collect::<Vec<_>>();
    Priority::ALL.into_iter().flat_map(|priority| chunks(lane(priority).collect())).collect()
}

/// Bytes per event as JSON, as a record and in batches of 1, 8, 32 and 256.
fn figures(title: &str, gateways: &[Gateway]) -> (f64, [f64; 4]) {
    let total: usize = gateways.iter().map(|(_, events)| events.len()).sum();
    let (mut json, mut records, mut encoder) = (Vec::new(), Vec::new(), Encoder::new());
    for (origin, events) in gateways {
        encode_json(origin, events, &mut json);
        for event in events {
            encode_record(event, &mut records).unwrap();
        }
    }
    let sizes = [1, 8, 32, 256].map(|count| {
        let mut sent = Vec::new();
        for (origin, events) in gateways {
            for batch in batches(events, count) {
                encoder.encode(origin, &batch, &mut sent).unwrap();
            }
        }
        sent.len() as f64 / total as f64
    });
    let json = json.len() as f64 / total as f64;
    let record = records.len() as f64 / total as f64;
    let cells = sizes.map(|size| format!("{size:.1}")).join(" | ");
    println!("| {title} | {cells} | {json:.0} | {record:.0} |");
    (json, sizes)
}

#[test]
fn a_compact_event_costs_a_small_part_of_its_json() {
    println!(
        "| bytes per event in batches of | 1 | 8 | 32 | 256 | JSON | record |\n|---|---|---|---|---|---|---|"
    );
    let checks = [
        // Shares of JSON: at most so much in batches of 1, 8 and 256.
        ("usual names", gateways(Names::Usual, false), [1.0 / 5.0, 1.0 / 15.0, 1.0 / 40.0]),
        ("all names their own", gateways(Names::Own, false), [1.0 / 2.5, 1.0 / 10.0, 1.0 / 40.0]),
        ("summaries and gaps", gateways(Names::Usual, true), [1.0 / 5.0, 1.0 / 11.0, 1.0 / 25.0]),
    ];
    for (title, gateways, most) in checks {
        let (json, [one, eight, _, many]) = figures(title, &gateways);
        for (count, size, most) in [(1, one, most[0]), (8, eight, most[1]), (256, many, most[2])] {
            assert!(size < json * most, "{title}: {size} bytes of {json} in batches of {count}");
        }
    }
    if let Some(file) = std::env::var_os("WIRE_EVENTS") {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text.lines().map(|line| parse_event(line.as_bytes()).unwrap()).collect();
        let origin = lines[0].0.clone();
        let events = lines.into_iter().map(|(_, facts)| Outbound::passed(facts)).collect();
        figures("recording", &[(origin, events)]);
    }
}

#[test]
fn what_is_sent_depends_on_nothing_but_the_events() {
    let gateways = gateways(Names::Usual, false);
    let (origin, events) = &gateways[0];
    let (mut used, mut first, mut again) = (Encoder::new(), Vec::new(), Vec::new());
    for batch in batches(events, 8) {
        used.encode(origin, &batch, &mut first).unwrap();
        Encoder::new().encode(origin, &batch, &mut again).unwrap();
    }
    assert_eq!(first, again, "a batch is decodable alone");
}
