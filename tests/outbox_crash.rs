//! Power loss at every operation of the outbox, and in every byte of a write.
//!
//! A script runs against a disk with a live and a durable image. The power goes during its n-th changing operation, for
//! every n; what remains is one of many images; the outbox opens it and is compared with a plain queue. Every other cut is
//! followed by a second run, a second cut, and its images. Scripts come from seeds; a failure names the seed, the cut and the
//! image. Each of the bugs this is the guard for is planted once, and noticed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test program"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use tidegate::outbox::Lane;

#[path = "support/crash_disk.rs"]
#[expect(dead_code, reason = "shared with the tests of damage and full disks")]
mod crash_disk;
#[path = "crash/model.rs"]
mod model;
use crash_disk::{Coin, CrashDisk, Lie, Remains};
use model::{Model, Op, empty, format_1};

/// Crash states that one run of this file tries at least.
const STATES_MIN: u64 = 100_000;

/// Scripts made from seeds: enough for [`STATES_MIN`].
const SEEDS: u64 = 24;

/// After these, a directory of format 1 with the script of seed 0.
const UPGRADE: u64 = SEEDS + 1;

/// Appends, rolls segments over, acknowledges, settles, removes, uses files again.
fn short_script() -> Vec<Op> {
    use Lane::{Alarm, Normal};
    use Op::{Ack, Append, Checkpoint, Remember, Restart, Settle, Sync};
    let mut script = vec![Append(Normal, 20), Append(Alarm, 9), Append(Normal, 1), Sync, Append(Normal, 40)];
    script.extend([Append(Normal, 500), Append(Normal, 470), Ack(Normal, 1), Append(Normal, 30), Sync]);
    script.extend([Append(Alarm, 12), Ack(Alarm, 0), Sync, Ack(Normal, 1), Checkpoint, Append(Normal, 600)]);
    script.extend([Append(Normal, 610), Sync, Ack(Normal, 0), Append(Normal, 8), Ack(Alarm, 0), Restart]);
    script.extend([
        Append(Alarm, 30),
        Ack(Normal, 0),
        Remember(40),
        Append(Normal, 5),
        Sync,
        Append(Alarm, 3),
    ]);
    script.extend([Append(Normal, 300), Append(Normal, 500), Append(Normal, 700), Append(Normal, 400), Sync]);
    script.extend([
        Settle(Normal, 1, 0),
        Checkpoint,
        Settle(Normal, 2, 1),
        Remember(7),
        Append(Normal, 9),
        Sync,
    ]);
    script
}

/// Fills the outbox until segments are dropped, and lets records expire.
fn script(seed: u64) -> Vec<Op> {
    let mut coin = Coin(seed);
    let longest = [60, 300, 900][usize::try_from(seed % 3).unwrap()];
    let mut script = Vec::new();
    for _ in 0..90 {
        let lane = Lane::ALL[usize::try_from(coin.below(3)).unwrap()];
        script.push(match coin.below(48) {
            0..=25 => Op::Append(lane, 1 + usize::try_from(coin.below(longest)).unwrap()),
            26..=27 => Op::Coarsen(lane),
            28..=36 => Op::Sync,
            37..=39 => Op::Ack(lane, coin.below(12)),
            40..=42 => Op::Settle(lane, 1 + coin.below(9), coin.below(9)),
            43 => Op::Remember(usize::try_from(coin.below(400)).unwrap()),
            44 | 45 => Op::Checkpoint,
            46 => Op::Restart,
            _ => Op::Expire,
        });
    }
    script
}

/// What is tried of each cut.
#[derive(Clone, Copy)]
struct Images {
    /// Distance of the bytes at which the last write is torn.
    torn_step: usize,
    /// Images by the toss of a coin.
    tossed: u64,
}

/// `OUTBOX_CRASH_IMAGES=100` makes a thorough night of it.
fn tossed(default: u64) -> u64 {
    std::env::var("OUTBOX_CRASH_IMAGES").map_or(default, |images| images.parse().expect("a number"))
}

/// Makes a disk and knows what is on it.
type Start = fn(Lie) -> (CrashDisk, Model);

/// Cuts the power in every operation of the script; returns the images tried, or the first violation.
fn cut_everywhere(start: Start, lie: Lie, script: &[Op], images: Images) -> Result<u64, String> {
    let (whole, mut model) = start(lie);
    whole.crash_after(None);
    model.run_all(&whole, script);
    let mut tried = 0;
    for cut in 0..whole.operations() {
        let (disk, mut model) = start(lie);
        disk.crash_after(Some(cut));
        model.run_all(&disk, script);
        assert!(disk.is_off());
        let mut remains = vec![Remains::Durable, Remains::Live, Remains::NamesLost, Remains::ContentsLost];
        remains.push(Remains::Zeros);
        remains.extend(
            (cut % images.torn_step..disk.last_write_bytes()).step_by(images.torn_step).map(Remains::Torn),
        );
        for image in 0..images.tossed {
            let seed = image * 1_000 + cut as u64;
            remains.push(if image % 4 == 3 { Remains::Pages(seed) } else { Remains::Sectors(seed) });
        }
        for remains in remains {
            let at = |fault| format!("cut {cut}, {remains:?}: {fault}");
            let after = disk.reboot(remains);
            let mut model = model.clone();
            drop(model.check(&after, remains).map_err(at)?);
            tried += 1;
            if let Remains::Sectors(seed) | Remains::Pages(seed) = remains {
                tried += second_cut(&after, model, script, seed).map_err(at)?;
            }
        }
    }
    Ok(tried)
}

/// Runs the script on what a cut has left, cuts again, and looks at some of the images.
fn second_cut(disk: &CrashDisk, mut model: Model, script: &[Op], seed: u64) -> Result<u64, String> {
    let mut coin = Coin(seed ^ 0xb0b);
    disk.crash_after(Some(usize::try_from(coin.below(40)).unwrap()));
    model.run_all(disk, script);
    let images = [Remains::Live, Remains::Sectors(seed ^ 1 << 40), Remains::Sectors(seed ^ 2 << 40)];
    for remains in images {
        let mut model = model.clone();
        let after = disk.reboot(remains);
        let at = |fault| format!("second cut, {remains:?}: {fault}");
        let mut outbox = model.check(&after, remains).map_err(at)?;
        model.run(&mut outbox, &after, Op::Append(Lane::Normal, 5)).unwrap();
        model.run(&mut outbox, &after, Op::Sync).unwrap();
    }
    Ok(images.len() as u64)
}

#[test]
fn no_cut_loses_what_was_durable_or_invents_what_was_not() {
    let (next, states) = (AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let (every_byte, some) = (
                        Images { torn_step: 1, tossed: tossed(8) },
                        Images { torn_step: 211, tossed: tossed(6) },
                    );
                    let tried = match seed {
                        0 => cut_everywhere(empty, Lie::None, &short_script(), every_byte),
                        1..=SEEDS => cut_everywhere(empty, Lie::None, &script(seed), some),
                        UPGRADE => cut_everywhere(format_1, Lie::None, &short_script(), some),
                        _ => return,
                    };
                    let tried = tried.unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
                    states.fetch_add(tried, Ordering::Relaxed);
                }
            });
        }
    });
    let states = states.into_inner();
    println!("seeds 0 to {UPGRADE}: {states} crash states, 0 records lost");
    assert!(states >= STATES_MIN, "{states}");
}

/// Plants a bug and returns what is said of it first.
fn noticed(lie: Lie) -> String {
    for seed in 0..=SEEDS {
        let script = if seed == 0 { short_script() } else { script(seed) };
        if let Err(fault) = cut_everywhere(empty, lie, &script, Images { torn_step: 61, tossed: 2 }) {
            println!("{lie:?}: seed {seed}: {fault}");
            return fault;
        }
    }
    panic!("{lie:?} is not noticed")
}

#[test]
fn acknowledging_before_fsync_is_noticed() {
    assert!(noticed(Lie::Sync).contains("is lost"));
}

#[test]
fn a_directory_that_is_never_synced_is_noticed() {
    assert!(noticed(Lie::SyncDir).contains("is lost"));
}

#[test]
fn a_checksum_without_a_salt_is_noticed() {
    assert!(noticed(Lie::Salt).contains("was never stored"));
}

#[test]
fn a_checksum_that_is_not_looked_at_is_noticed() {
    assert!(noticed(Lie::Checksum).contains("was never stored"));
}

#[test]
fn using_a_file_again_before_the_cursor_is_durable_is_noticed() {
    let fault = noticed(Lie::Cursor);
    assert!(fault.contains("damage where there is none") || fault.contains("fell back"), "{fault}");
}

#[test]
fn old_records_that_go_before_what_stands_for_them_is_durable_are_noticed() {
    assert!(noticed(Lie::Draw).contains("is lost"));
}
