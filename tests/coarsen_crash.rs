//! Power loss while stored events are drawn together: each of them is told once, as itself or in a summary.
//!
//! The real merger over the real outbox. The power goes during every changing operation of the disk; what remains is one of
//! many images; the outbox opens it, draws together again, and everything is sent and added up.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

use std::time::Duration;

use tidegate::clock::{ClockQuality, EventTime, UtcTime};
use tidegate::flow::Priority;
use tidegate::outbox::{Appended, Coarsened, Lane, Outbox, OutboxConfig, OutboxError, Seq, WhenFull};
use tidegate::runtime::{Coarsening, SummaryIds};
use tidegate::units::Bytes;

#[path = "support/crash_disk.rs"]
#[expect(dead_code, reason = "shared with the tests of the outbox alone")]
mod crash_disk;
#[path = "support/story.rs"]
#[expect(dead_code, reason = "shared with the tests of drawing together")]
mod story;

use crash_disk::{CrashDisk, Lie, Remains};
use story::{Ledger, MINUTE, Plant, START, begin, door, read, record};

const NOW: UtcTime = UtcTime { micros: START, quality: ClockQuality::Synced };

fn config() -> OutboxConfig {
    OutboxConfig {
        segment_bytes: Bytes(8 << 10),
        size_max: Bytes(512 << 10),
        when_full: WhenFull::Coarsen,
        age_max: Duration::from_hours(60 * 24),
        ..OutboxConfig::default()
    }
}

fn open(disk: &CrashDisk, entropy: u64) -> Result<(Outbox<CrashDisk>, Coarsening), OutboxError> {
    let outbox = Outbox::open(disk.clone(), config(), entropy, NOW)?.outbox;
    let merger = Coarsening::new(door(), SummaryIds::new(outbox.epoch()));
    Ok((outbox, merger))
}

/// An outbox with a few hours of windows and reports, all durable, and what was stored.
fn stored(lie: Lie) -> (CrashDisk, Ledger) {
    let disk = CrashDisk::new(lie);
    let (mut outbox, _) = open(&disk, 1).unwrap();
    let (mut plant, mut appended) = (Plant::new(3), Ledger::default());
    for minute in 0..90 {
        let at = START + minute * MINUTE;
        let mut events: Vec<_> =
            (0..3).map(|stream| plant.event(stream, at, MINUTE, Priority::Normal)).collect();
        events.push(plant.event(3, at, 0, Priority::Bulk));
        for event in events {
            appended.add(event.facts());
            let lane = if event.facts().priority == Priority::Bulk { Lane::Bulk } else { Lane::Normal };
            let stored = outbox.append(lane, &record(&event), EventTime(begin(event.facts()))).unwrap();
            assert!(matches!(stored, Appended::Stored(_)));
        }
    }
    outbox.sync().unwrap();
    drop(outbox);
    // As if all had been synced, whatever the disk says.
    (disk.reboot(Remains::Live), appended)
}

/// Draws together what can be, so many rounds of each lane.
fn draw(
    outbox: &mut Outbox<CrashDisk>,
    merger: &mut Coarsening,
    rounds: usize,
) -> Result<usize, OutboxError> {
    let mut done = 0;
    for _ in 0..rounds {
        for (lane, priority) in [(Lane::Bulk, Priority::Bulk), (Lane::Normal, Priority::Normal)] {
            let drawn = outbox.coarsen(lane, merger.on(priority))?;
            done += usize::from(matches!(drawn, Coarsened::Done { .. }));
        }
    }
    Ok(done)
}

/// Everything that would be sent.
fn told(outbox: &mut Outbox<CrashDisk>) -> Ledger {
    let mut ledger = Ledger::default();
    for lane in Lane::ALL {
        let mut found = Vec::new();
        let durable = outbox.durable(lane);
        outbox.read(lane, Seq(1), durable, usize::MAX, usize::MAX, &mut found).unwrap();
        for record in found {
            ledger.add(&read(&record.payload));
        }
    }
    ledger
}

struct Figures {
    operations: usize,
    images: usize,
    wrong: Vec<String>,
}

/// Cuts the power at every operation of three rounds and tries what may remain.
fn cut_everywhere(lie: Lie, seeds: u64) -> Figures {
    let (disk, appended) = stored(lie);
    let whole = disk.reboot(Remains::Live);
    let (mut outbox, mut merger) = open(&whole, 2).unwrap();
    whole.crash_after(None);
    assert!(draw(&mut outbox, &mut merger, 3).unwrap() >= 4, "there is something to draw together");
    let operations = whole.operations();
    let mut figures = Figures { operations, images: 0, wrong: Vec::new() };
    for cut in 0..operations {
        let disk = disk.reboot(Remains::Live);
        let (mut outbox, mut merger) = open(&disk, 2).unwrap();
        disk.crash_after(Some(cut));
        drop(draw(&mut outbox, &mut merger, 3));
        assert!(disk.is_off(), "the power went");
        let torn = disk.last_write_bytes();
        let fixed =
            [Remains::Durable, Remains::Live, Remains::NamesLost, Remains::ContentsLost, Remains::Zeros];
        let torn = [0, 1, torn / 2, torn.saturating_sub(1)].map(Remains::Torn);
        let random = (0..seeds).flat_map(|seed| [Remains::Sectors(seed), Remains::Pages(seed)]);
        for remains in fixed.into_iter().chain(torn).chain(random) {
            figures.images += 1;
            let after = disk.reboot(remains);
            let (mut outbox, mut merger) = open(&after, 3).unwrap();
            let mut wrong = told(&mut outbox).differs(&appended);
            if wrong.is_none() {
                draw(&mut outbox, &mut merger, 1).unwrap();
                wrong = told(&mut outbox).differs(&appended);
            }
            figures.wrong.extend(wrong.map(|wrong| format!("operation {cut}, {remains:?}: {wrong:.120}")));
        }
    }
    figures
}

#[test]
fn a_power_cut_while_drawing_together_loses_nothing_and_tells_nothing_twice() {
    let Figures { operations, images, wrong } = cut_everywhere(Lie::None, 4);
    println!("{operations} operations, {images} images, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{:#?}", &wrong[..wrong.len().min(5)]);
    assert!(operations > 10 && images > 100);
}

#[test]
fn a_planted_bug_is_seen_a_sync_that_does_nothing() {
    let Figures { wrong, .. } = cut_everywhere(Lie::Sync, 1);
    println!("{} wrong", wrong.len());
    assert!(!wrong.is_empty());
}
