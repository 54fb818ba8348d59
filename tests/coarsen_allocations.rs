//! Drawing together takes memory for what is told apart, not for how many events there are.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

use allocation_counter::measure;
use tidegate::clock::EventTime;
use tidegate::distill::COARSENING_BYTES_MAX;
use tidegate::flow::Priority;
use tidegate::outbox::Coarsen;
use tidegate::runtime::{Coarsening, SummaryIds};

#[path = "support/story.rs"]
#[expect(dead_code, reason = "shared with the tests of drawing together")]
mod story;

use story::{DAY, MINUTE, Plant, START, door, record};

/// Most memory at one time while so many events are drawn together, one every `step` on each of four streams.
fn peak(count: i64, step: i64) -> u64 {
    let mut plant = Plant::new(9);
    let mut records = Vec::new();
    for index in 0..count / 4 {
        let at = START + index * step;
        let events = (0..4).map(|stream| plant.event(stream, at, MINUTE, Priority::Normal));
        records.extend(events.map(|event| (record(&event), EventTime(at))));
    }
    let mut merger = Coarsening::new(door(), SummaryIds::new(1));
    let mut emitted = 0;
    let used = measure(|| {
        for (record, at) in &records {
            merger.take(record, *at);
        }
        merger.finish(&mut |record, _| emitted += record.len());
    });
    assert!(emitted > 0);
    used.bytes_max
}

#[test]
fn memory_follows_what_is_told_apart_and_not_the_number_of_events() {
    // The same two days, told by few events and by sixteen times as many.
    let (few, many) = (peak(2_000, MINUTE * 6), peak(32_000, MINUTE * 6 / 16));
    // A segment of a megabyte at one event a minute and stream; a clock that jumps a day with every event.
    let (segment, broken) = (peak(8_000, MINUTE), peak(16_000, DAY));
    println!(
        "peak memory: {} KiB for 2,000 events, {} KiB for 32,000 of the same time, {} KiB for a megabyte, {} KiB with a broken clock; at most {} KiB",
        few >> 10,
        many >> 10,
        segment >> 10,
        broken >> 10,
        COARSENING_BYTES_MAX >> 10,
    );
    assert!(many < 2 * few, "{many} for 32,000 events, {few} for 2,000");
    for peak in [few, many, segment, broken] {
        assert!(peak <= u64::try_from(COARSENING_BYTES_MAX).unwrap(), "{peak} bytes");
    }
}
