//! What the outbox promises while the power stays on: order, limits, accounting, damage.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use tidegate::clock::{ClockQuality, EARLIEST_PLAUSIBLE, EventTime, UtcTime};
use tidegate::outbox::{
    Action, Appended, DiskState, FORMAT, Lane, Opened, Outbox, OutboxConfig, OutboxError, PAYLOAD_BYTES_MAX,
    Record, Seq, WhenFull, inspect,
};
use tidegate::tally::DropReason;
use tidegate::units::Bytes;

#[path = "support/crash_disk.rs"]
#[expect(dead_code, reason = "shared with the crash test, which cuts the power")]
mod crash_disk;
use crash_disk::{CrashDisk, Remains};

const NO_CLOCK: UtcTime = UtcTime { micros: 0, quality: ClockQuality::Unset };

const NOON: EventTime = EventTime(EARLIEST_PLAUSIBLE.0 + 12 * 3_600_000_000);

/// Short segments, and the smallest size that goes with them.
fn small(when_full: WhenFull) -> OutboxConfig {
    let segment_bytes = Bytes(2048);
    OutboxConfig {
        segment_bytes,
        size_max: OutboxConfig::size_min(segment_bytes),
        when_full,
        ..OutboxConfig::default()
    }
}

/// Short segments in plenty of room.
fn roomy() -> OutboxConfig {
    OutboxConfig { size_max: Bytes(64 << 20), ..small(WhenFull::DropOldest) }
}

fn open(disk: &CrashDisk, config: OutboxConfig) -> Opened<CrashDisk> {
    let opened = Outbox::open(disk.clone(), config, 42, NO_CLOCK).unwrap();
    assert!(opened.outbox.tally().balances(opened.outbox.held()));
    opened
}

/// Stores records of `len` bytes, the first byte of each being its number.
fn fill(outbox: &mut Outbox<CrashDisk>, lane: Lane, records: u8, len: usize) {
    for number in 0..records {
        let mut payload = vec![0x5a; len];
        payload[0] = number;
        assert!(matches!(outbox.append(lane, &payload, NOON).unwrap(), Appended::Stored(_)));
    }
    outbox.sync().unwrap();
}

fn read(outbox: &mut Outbox<CrashDisk>, lane: Lane) -> Vec<Record> {
    let mut records = Vec::new();
    outbox.read(lane, Seq(0), Seq(u64::MAX), usize::MAX, usize::MAX, &mut records).unwrap();
    assert!(outbox.tally().balances(outbox.held()), "{:?} held {}", outbox.tally(), outbox.held());
    records
}

fn seqs(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.seq.0).collect()
}

#[derive(Clone, Debug)]
enum Op {
    Append(usize, Vec<u8>),
    Sync,
    Read { lane: usize, skip: u64, records: usize, bytes: usize },
    Ack(usize, u64),
    Checkpoint,
    Reopen,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0..3_usize, prop::collection::vec(any::<u8>(), 1..300)).prop_map(|(lane, p)| Op::Append(lane, p)),
        3 => Just(Op::Sync),
        4 => (0..3_usize, 0..30_u64, 0..20_usize, 0..2000_usize)
            .prop_map(|(lane, skip, records, bytes)| Op::Read { lane, skip, records, bytes }),
        2 => (0..3_usize, 0..20_u64).prop_map(|(lane, count)| Op::Ack(lane, count)),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
    ];
    prop::collection::vec(op, 1..120)
}

/// A lane as a plain queue.
#[derive(Clone, Debug, Default)]
struct Queue {
    waiting: VecDeque<Record>,
    acked: u64,
    durable: u64,
    appended: u64,
}

impl Queue {
    fn synced(self) -> Self {
        Self { durable: self.appended, ..self }
    }

    /// What was not synced is gone with the process.
    fn forget(mut self) -> Self {
        self.appended = self.durable;
        self.waiting.retain(|record| record.seq.0 <= self.durable);
        self
    }

    fn expected(&self, from: u64, records: usize, bytes: usize) -> Vec<Record> {
        let mut left = bytes;
        let durable = self.waiting.iter().filter(|r| r.seq.0 >= from && r.seq.0 <= self.durable);
        let fits = durable.take(records).enumerate().take_while(|(index, record)| {
            let fits = *index == 0 || record.payload.len() <= left;
            left = left.saturating_sub(record.payload.len());
            fits
        });
        fits.map(|(_, record)| record.clone()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn an_outbox_is_three_plain_queues(ops in ops()) {
        let disk = CrashDisk::default();
        let mut outbox = open(&disk, roomy()).outbox;
        let mut queues: [Queue; 3] = Default::default();
        for op in ops {
            match op {
                Op::Append(lane, payload) => {
                    let queue = &mut queues[lane];
                    queue.appended += 1;
                    let seq = Seq(queue.appended);
                    let at = EventTime(i64::from(payload[0]) - 100);
                    prop_assert_eq!(outbox.append(Lane::ALL[lane], &payload, at).unwrap(), Appended::Stored(seq));
                    queue.waiting.push_back(Record { seq, at, payload });
                }
                Op::Sync => {
                    outbox.sync().unwrap();
                    queues = queues.map(Queue::synced);
                }
                Op::Read { lane, skip, records, bytes } => {
                    let from = queues[lane].acked + skip;
                    let mut found = Vec::new();
                    outbox.read(Lane::ALL[lane], Seq(from), Seq(u64::MAX), records, bytes, &mut found).unwrap();
                    prop_assert_eq!(found, queues[lane].expected(from, records, bytes));
                }
                Op::Ack(lane, count) => {
                    let queue = &mut queues[lane];
                    // More than is durable must not be believed; a segment that is full is durable before the next sync.
                    queue.durable = outbox.durable(Lane::ALL[lane]).0;
                    let upto = queue.acked + count;
                    outbox.advance(Lane::ALL[lane], Seq(upto)).unwrap();
                    queue.acked = queue.acked.max(upto.min(queue.durable));
                    let acked = queue.acked;
                    queue.waiting.retain(|record| record.seq.0 > acked);
                }
                Op::Checkpoint => outbox.checkpoint().unwrap(),
                Op::Reopen => {
                    outbox.checkpoint().unwrap();
                    drop(outbox);
                    outbox = open(&disk, roomy()).outbox;
                    queues = queues.map(Queue::forget);
                }
            }
            for (lane, queue) in Lane::ALL.into_iter().zip(&mut queues) {
                let stat = outbox.stat(lane).unwrap();
                prop_assert!(stat.durable.0 >= queue.durable);
                queue.durable = stat.durable.0;
                prop_assert_eq!(stat.records, queue.waiting.len() as u64);
                prop_assert_eq!((stat.acked.0, stat.appended.0), (queue.acked, queue.appended));
                let oldest = queue.waiting.front().filter(|record| record.seq.0 <= queue.durable);
                prop_assert_eq!(stat.oldest, oldest.map(|record| record.at));
            }
            prop_assert!(outbox.tally().balances(outbox.held()));
        }
    }

    #[test]
    fn no_sequence_of_appends_exceeds_the_size_or_loses_count(
        appends in prop::collection::vec((0..3_usize, 1..900_usize), 1..300), reject in any::<bool>(),
    ) {
        let disk = CrashDisk::default();
        let config = small(if reject { WhenFull::RejectNew } else { WhenFull::DropOldest });
        let mut outbox = open(&disk, config.clone()).outbox;
        for (lane, len) in appends {
            let alarms = outbox.stat(Lane::Alarm).unwrap().records;
            let appended = outbox.append(Lane::ALL[lane], &vec![1; len], NOON).unwrap();
            prop_assert!(outbox.used() <= config.size_max);
            prop_assert!(disk.bytes() as u64 <= config.size_max.0);
            prop_assert!(outbox.tally().balances(outbox.held()));
            if lane > 0 {
                prop_assert_eq!(outbox.stat(Lane::Alarm).unwrap().records, alarms, "an alarm gave way");
            } else if !reject {
                prop_assert!(matches!(appended, Appended::Stored(_)), "an alarm was refused");
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Harm {
    Overwrite(usize, Vec<u8>),
    Cut(usize),
    Extend(Vec<u8>),
    CopyOver(usize),
    Remove,
    Foreign(String),
}

fn harms() -> impl Strategy<Value = Vec<(usize, Harm)>> {
    let noise = || prop::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 1..80);
    let harm = prop_oneof![
        6 => (0..2100_usize, noise()).prop_map(|(offset, bytes)| Harm::Overwrite(offset, bytes)),
        2 => (0..2100_usize).prop_map(Harm::Cut),
        1 => noise().prop_map(Harm::Extend),
        2 => (0..20_usize).prop_map(Harm::CopyOver),
        1 => Just(Harm::Remove),
        1 => "(alarm|normal|bulk)-[01]{1}[0-9]{19}[.]seg".prop_map(Harm::Foreign),
    ];
    prop::collection::vec((0..20_usize, harm), 1..12)
}

fn harm(disk: &CrashDisk, file: usize, harm: Harm) {
    let names = disk.names();
    let name = &names[file % names.len()];
    let mut content = disk.content(name);
    match harm {
        Harm::Overwrite(offset, bytes) => {
            for (target, byte) in content.iter_mut().skip(offset).zip(bytes) {
                *target = byte;
            }
        }
        Harm::Cut(len) => content.truncate(len),
        Harm::Extend(bytes) => content.extend(bytes),
        Harm::CopyOver(other) => content = disk.content(&names[other % names.len()]),
        Harm::Remove => return disk.delete(name),
        Harm::Foreign(name) => return disk.put(&name, &content),
    }
    disk.put(name, &content);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_content_makes_opening_fail_or_gives_a_record_that_was_never_stored(harms in harms()) {
        let disk = CrashDisk::default();
        let mut outbox = open(&disk, roomy()).outbox;
        for (lane, records) in [(Lane::Normal, 40), (Lane::Alarm, 3), (Lane::Bulk, 15)] {
            fill(&mut outbox, lane, records, 50);
        }
        outbox.advance(Lane::Normal, Seq(5)).unwrap();
        outbox.checkpoint().unwrap();
        drop(outbox);
        for (file, what) in harms {
            harm(&disk, file, what);
        }
        inspect(&mut disk.clone()).unwrap();
        let mut outbox = open(&disk, roomy()).outbox;
        for lane in Lane::ALL {
            let found = read(&mut outbox, lane);
            prop_assert!(found.is_sorted_by(|a, b| a.seq < b.seq));
            for record in found {
                prop_assert_eq!(record.seq.0, u64::from(record.payload[0]) + 1);
                prop_assert!(record.payload[1..].iter().all(|&byte| byte == 0x5a));
            }
            prop_assert!(matches!(outbox.append(lane, b"\0", NOON).unwrap(), Appended::Stored(_)));
        }
        outbox.sync().unwrap();
        outbox.advance(Lane::Normal, outbox.durable(Lane::Normal)).unwrap();
        outbox.checkpoint().unwrap();
        prop_assert!(outbox.tally().balances(outbox.held()));
        drop(outbox);
        prop_assert_eq!(open(&disk, roomy()).outbox.stat(Lane::Normal).unwrap().records, 0);
    }
}

#[test]
fn the_least_urgent_gives_way_first_and_is_counted_by_the_record() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, small(WhenFull::DropOldest)).outbox;
    fill(&mut outbox, Lane::Bulk, 4, 900);
    fill(&mut outbox, Lane::Normal, 4, 900);
    fill(&mut outbox, Lane::Alarm, 1, 900);
    assert_eq!(outbox.tally().dropped_total(), 0);
    let waiting = |outbox: &mut Outbox<CrashDisk>| {
        Lane::ALL.map(|lane| (outbox.stat(lane).unwrap().records, outbox.acked(lane).0))
    };
    fill(&mut outbox, Lane::Alarm, 1, 900);
    assert_eq!(waiting(&mut outbox), [(2, 0), (4, 0), (4, 0)], "into the reserve");
    fill(&mut outbox, Lane::Normal, 1, 900);
    assert_eq!(waiting(&mut outbox), [(2, 0), (5, 0), (2, 2)], "beside the reserve");
    fill(&mut outbox, Lane::Alarm, 3, 900);
    assert_eq!(waiting(&mut outbox), [(5, 0), (5, 0), (0, 4)]);
    // Nothing less urgent is left: bulk finds no room, and alarms drop alarms only at the very end.
    assert_eq!(
        outbox.append(Lane::Bulk, &[1; 900], NOON).unwrap(),
        Appended::Rejected(DropReason::OutboxFull)
    );
    fill(&mut outbox, Lane::Alarm, 6, 900);
    assert_eq!(waiting(&mut outbox), [(10, 1), (0, 5), (0, 4)]);
    assert_eq!(outbox.tally().dropped(DropReason::OutboxFull), 4 + 5 + 1 + 1);
    drop(outbox);
    let mut reopened = open(&disk, small(WhenFull::DropOldest));
    assert_eq!(reopened.recovered.damaged_records, 0, "what was dropped is not missed");
    assert_eq!(seqs(&read(&mut reopened.outbox, Lane::Alarm)), (2..=11).collect::<Vec<_>>());
}

#[test]
fn keeping_what_is_stored_refuses_new_records_and_alarms_last() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, small(WhenFull::RejectNew)).outbox;
    let mut stored = [0_u64; 3];
    for lane in [Lane::Bulk, Lane::Normal, Lane::Alarm] {
        while let Appended::Stored(seq) = outbox.append(lane, &[7; 900], NOON).unwrap() {
            stored[lane as usize] = seq.0;
        }
    }
    assert!(stored[0] >= 2 && stored[2] >= 4, "{stored:?}");
    assert_eq!(stored[1], 0, "the reserve is for alarms");
    assert_eq!(outbox.tally().dropped(DropReason::OutboxReject), 3);
    assert_eq!(outbox.held(), stored.iter().sum::<u64>());
    outbox.sync().unwrap();
    outbox.advance(Lane::Bulk, Seq(stored[2])).unwrap();
    assert!(matches!(outbox.append(Lane::Normal, &[7; 900], NOON).unwrap(), Appended::Stored(_)));
}

#[test]
fn what_a_full_disk_does_not_take_waits_in_memory_until_there_is_room() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, roomy()).outbox;
    fill(&mut outbox, Lane::Normal, 2, 100);
    disk.set_capacity(Some(disk.bytes() + 60));
    for number in 0..3 {
        // A segment has its room from the beginning; a new one finds none.
        let appended = outbox.append(Lane::Normal, &[9; 900], NOON).unwrap();
        assert_eq!(appended, Appended::Stored(Seq(3 + number)));
        let other_lane = outbox.append(Lane::Bulk, &[9; 100], NOON).unwrap();
        assert_eq!(other_lane, Appended::Stored(Seq(1 + number)));
    }
    let error = outbox.sync().unwrap_err();
    assert!(matches!(error, OutboxError::Held { disk: "full", records: 6 }), "{error}");
    assert_eq!((outbox.disk_state(), outbox.held_records()), (DiskState::Full, 6));
    assert_eq!((outbox.durable(Lane::Normal), outbox.readable(Lane::Normal)), (Seq(2), Seq(5)));
    assert_eq!(seqs(&read(&mut outbox, Lane::Normal)), [1, 2, 3, 4, 5]);
    outbox.settle(Lane::Normal, Seq(5), Seq(5)).unwrap();
    assert_eq!(seqs(&read(&mut outbox, Lane::Normal)), [1, 2, 3, 4]);
    assert!(!outbox.mend());
    disk.set_capacity(None);
    assert!(outbox.mend());
    assert_eq!((outbox.durable(Lane::Normal), outbox.held_records()), (Seq(5), 0));
    assert_eq!(outbox.append(Lane::Normal, &[3; 5], NOON).unwrap(), Appended::Stored(Seq(6)));
    outbox.sync().unwrap();
    assert_eq!(seqs(&read(&mut outbox, Lane::Normal)), [1, 2, 3, 4, 6]);
    drop(outbox);
    let mut reopened = open(&disk, roomy());
    assert_eq!((reopened.recovered.records, reopened.recovered.damaged_ranges), (8, 0));
    assert_eq!(seqs(&read(&mut reopened.outbox, Lane::Normal)), [1, 2, 3, 4, 6]);
}

#[test]
fn a_disk_that_fills_and_empties_a_thousand_times_costs_nothing_while_memory_lasts() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, roomy()).outbox;
    let (mut stored, mut held) = (0, 0);
    for cycle in 0..1000_usize {
        disk.set_capacity((cycle % 2 == 0).then(|| disk.bytes() + cycle % 700));
        for len in [30, 900, 3] {
            let appended = outbox.append(Lane::ALL[cycle % 3], &vec![1; len], NOON).unwrap();
            stored += u64::from(matches!(appended, Appended::Stored(_)));
        }
        held += u64::from(outbox.sync().is_err());
        assert!(outbox.mend() || cycle % 2 == 0, "cycle {cycle}: {:?}", outbox.disk_state());
        assert!(outbox.tally().balances(outbox.held()), "{:?} held {}", outbox.tally(), outbox.held());
    }
    let evicted = outbox.tally().dropped(DropReason::OutboxFull);
    assert!(held > 100, "{held}");
    assert_eq!((outbox.held() + evicted, stored), (3_000, 3_000));
    drop(outbox);
    let reopened = open(&disk, roomy());
    assert_eq!(reopened.recovered.records + evicted, stored);
    assert_eq!(reopened.recovered.damaged_ranges, 0);
}

#[test]
fn an_alarm_finds_the_reserve_on_a_full_disk_and_then_the_place_of_something_less_urgent() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, roomy()).outbox;
    fill(&mut outbox, Lane::Bulk, 3, 900);
    disk.set_capacity(Some(disk.bytes()));
    fill(&mut outbox, Lane::Alarm, 1, 900);
    assert_eq!(outbox.tally().dropped_total(), 0, "into the reserve");
    fill(&mut outbox, Lane::Alarm, 1, 900);
    assert_eq!(outbox.tally().dropped(DropReason::OutboxFull), 1);
    assert_eq!(outbox.durable(Lane::Alarm), Seq(2));
    assert_eq!(seqs(&read(&mut outbox, Lane::Bulk)), [2, 3]);
}

/// After a sync that failed nothing of the file counts: what it may have lost goes into another one, and is durable when
/// that is.
#[test]
fn what_a_failed_sync_may_have_lost_goes_into_another_file() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, roomy()).outbox;
    fill(&mut outbox, Lane::Normal, 3, 40);
    outbox.sync().unwrap();
    let store = |outbox: &mut Outbox<CrashDisk>| {
        let stored = outbox.append(Lane::Normal, &[7; 40], NOON).unwrap();
        assert!(matches!(stored, Appended::Stored(_)));
    };
    store(&mut outbox);
    store(&mut outbox);
    disk.fail_sync(true);
    let error = outbox.sync().unwrap_err();
    assert!(matches!(error, OutboxError::Held { records: 2, .. }), "{error}");
    assert_eq!((error.action(), outbox.disk_state()), (Action::Retry, DiskState::Failing));
    assert_eq!((outbox.durable(Lane::Normal), outbox.readable(Lane::Normal)), (Seq(3), Seq(5)));
    assert_eq!(read(&mut outbox, Lane::Normal).len(), 5, "they can be delivered all the same");
    store(&mut outbox);
    assert!(!outbox.mend() && outbox.durable(Lane::Normal) == Seq(3));
    disk.fail_sync(false);
    assert!(outbox.mend(), "{:?}", outbox.disk_state());
    assert_eq!((outbox.durable(Lane::Normal), outbox.disk_state()), (Seq(6), DiskState::Ok));
    assert_eq!(read(&mut outbox, Lane::Normal).len(), 6);
    let mut again = open(&disk.reboot(Remains::Durable), roomy()).outbox;
    assert_eq!(read(&mut again, Lane::Normal).len(), 6);
}

#[test]
fn any_damaged_byte_of_a_closed_segment_costs_one_record_at_most() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, roomy()).outbox;
    fill(&mut outbox, Lane::Normal, 40, 50);
    drop(outbox);
    let (name, follower) = ("normal-00000000000000000001.seg", 14);
    assert!(disk.names().contains(&format!("normal-{follower:020}.seg")), "{:?}", disk.names());
    let intact = disk.content(name);
    for byte in 0..intact.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = intact.clone();
            damaged[byte] ^= mask;
            disk.put(name, &damaged);
            let at = |what: &str| format!("byte {byte} mask {mask:#x}: {what}");
            let before = inspect(&mut disk.clone()).unwrap();
            let mut opened = open(&disk, roomy());
            let found = seqs(&read(&mut opened.outbox, Lane::Normal));
            let lost: Vec<u64> = (1..=40).filter(|seq| !found.contains(seq)).collect();
            let struck =
                byte.checked_sub(1024).map(|offset| offset as u64 / 74 + 1).filter(|&seq| seq < follower);
            assert_eq!(lost, struck.into_iter().collect::<Vec<_>>(), "{}", at("lost"));
            assert_eq!(
                opened.recovered.damaged_records,
                0,
                "{}",
                at("a full segment is not read at the start")
            );
            assert_eq!(opened.outbox.tally().dropped(DropReason::Damaged), lost.len() as u64);
            assert_eq!(before.lanes[1].damaged_records, lost.len() as u64, "{}", at("inspected"));
            disk.put(name, &intact);
        }
    }
}

#[test]
fn any_damaged_byte_of_a_small_file_costs_a_resend_at_most() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, roomy()).outbox;
    fill(&mut outbox, Lane::Normal, 9, 50);
    outbox.advance(Lane::Normal, Seq(4)).unwrap();
    outbox.checkpoint().unwrap();
    drop(outbox);
    let mut epoch = 1;
    for name in ["epoch", "cursor-normal", "cursor-alarm"] {
        for byte in 0..1024 {
            let mut damaged = disk.content(name);
            damaged[byte] ^= 0x40;
            disk.put(name, &damaged);
            let mut outbox = open(&disk, roomy()).outbox;
            assert!(outbox.epoch() > epoch, "{name} {byte}: {} after {epoch}", outbox.epoch());
            epoch = outbox.epoch();
            let found = seqs(&read(&mut outbox, Lane::Normal));
            assert!(found.ends_with(&[5, 6, 7, 8, 9]), "{name} {byte}: {found:?}");
            outbox.advance(Lane::Normal, Seq(4)).unwrap();
            outbox.checkpoint().unwrap();
        }
    }
}

#[test]
fn without_a_cursor_everything_is_sent_again_and_nothing_skipped() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, roomy()).outbox;
    fill(&mut outbox, Lane::Normal, 40, 50);
    outbox.advance(Lane::Normal, Seq(30)).unwrap();
    outbox.checkpoint().unwrap();
    drop(outbox);
    disk.put("cursor-normal", &[0xff; 1024]);
    let mut opened = open(&disk, roomy());
    let found = seqs(&read(&mut opened.outbox, Lane::Normal));
    assert_eq!(found, (27..=40).collect::<Vec<_>>(), "from the oldest segment on");
    assert_eq!(opened.recovered.damaged_records, 0);
    disk.delete("cursor-normal");
    drop(opened);
    assert_eq!(open(&disk, roomy()).recovered.records, 14);
}

#[test]
fn damage_that_appears_while_running_is_skipped_and_counted() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, roomy()).outbox;
    fill(&mut outbox, Lane::Normal, 40, 50);
    let name = "normal-00000000000000000014.seg";
    let mut content = disk.content(name);
    content[1024 + 74 * 2 + 30] ^= 1;
    content[1024 + 74 * 12 + 30] ^= 1;
    disk.put(name, &content);
    for _ in 0..2 {
        let found = seqs(&read(&mut outbox, Lane::Normal));
        assert_eq!(found.len(), 38, "{found:?}");
        assert!(!found.contains(&16) && !found.contains(&26));
        assert_eq!(outbox.tally().dropped(DropReason::Damaged), 2);
    }
    for acked in [14, 15, 17, 26, 40] {
        outbox.advance(Lane::Normal, Seq(acked)).unwrap();
        assert!(outbox.tally().balances(outbox.held()), "at {acked}");
    }
    assert_eq!((outbox.tally().passed, outbox.held()), (38, 0));
}

#[test]
fn an_unreadable_sector_costs_what_is_in_it_and_nothing_is_cut_off() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, roomy()).outbox;
    fill(&mut outbox, Lane::Normal, 13, 50);
    drop(outbox);
    let name = "normal-00000000000000000001.seg";
    let len = disk.content(name).len();
    disk.lose_sector(name, 1536);
    let mut opened = open(&disk, roomy());
    // Bytes 1536 to 2048 are the end of the segment: frame 7 reaches into it.
    assert_eq!(seqs(&read(&mut opened.outbox, Lane::Normal)), (1..=6).collect::<Vec<_>>());
    assert_eq!(disk.content(name).len(), len);
    assert_eq!(opened.recovered.damaged_ranges, 1);
    fill(&mut opened.outbox, Lane::Normal, 1, 50);
    assert!(opened.outbox.durable(Lane::Normal) > Seq(13), "a number is given out twice");
    drop(opened);
    disk.lose_sector("none", 0);
    let numbers = seqs(&read(&mut open(&disk, roomy()).outbox, Lane::Normal));
    assert_eq!(numbers[..13], (1..=13).collect::<Vec<_>>(), "the sector has come back");
    assert_eq!(numbers.len(), 14);
}

#[test]
fn a_newer_format_is_refused_and_other_files_are_left_alone() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, roomy()).outbox;
    fill(&mut outbox, Lane::Normal, 1, 50);
    drop(outbox);
    for other in ["notes.txt", "normal-1.seg", "lock", "normal-00000000000000000001.seg.bak"] {
        disk.put(other, b"not ours");
    }
    assert_eq!(open(&disk, roomy()).recovered.records, 1);
    assert_eq!(disk.content("notes.txt"), b"not ours");
    for name in ["normal-00000000000000000001.seg", "cursor-bulk", "epoch"] {
        let before = disk.content(name);
        let mut newer = before.clone();
        for copy in newer.chunks_mut(512).take(2) {
            copy[8] = u8::try_from(FORMAT).unwrap() + 1;
            let crc = crc32c::crc32c(&copy[..44]);
            copy[44..48].copy_from_slice(&crc.to_le_bytes());
        }
        disk.put(name, &newer);
        let error = Outbox::open(disk.clone(), roomy(), 1, NO_CLOCK).unwrap_err();
        let expected = format!("outbox file {name} has format 3 and this tidegate reads up to 2");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert_eq!(error.action(), Action::Stop);
        assert_eq!(disk.content(name), newer, "refusing changes nothing");
        disk.put(name, &before);
    }
}

#[test]
fn records_expire_by_age_only_when_both_times_can_be_believed() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, OutboxConfig { age_max: Duration::from_hours(1), ..roomy() }).outbox;
    let hours = |count: u64| NOON.after(Duration::from_hours(count));
    let boot = EventTime(5_000_000);
    for at in [boot, hours(0), hours(0), boot, hours(2), boot] {
        assert!(matches!(outbox.append(Lane::Bulk, b"x", at).unwrap(), Appended::Stored(_)));
    }
    outbox.sync().unwrap();
    let mut expire = |now: EventTime, quality| {
        outbox.expire(UtcTime { micros: now.0, quality }).unwrap();
        assert!(outbox.tally().balances(outbox.held()));
        outbox.tally().dropped(DropReason::Expired)
    };
    assert_eq!(expire(hours(1), ClockQuality::Synced), 0, "exactly one hour is not too old");
    assert_eq!(expire(hours(9), ClockQuality::Unset), 0);
    assert_eq!(expire(hours(2), ClockQuality::Synced), 3, "the unknown time before old ones is old");
    assert_eq!(expire(hours(9), ClockQuality::Unknown), 5);
    assert_eq!(expire(hours(999), ClockQuality::Synced), 5, "the last one may be new");
    assert_eq!(outbox.held(), 1);
}

#[test]
fn what_cannot_be_a_record_is_refused_and_counted() {
    let disk = CrashDisk::default();
    let big = OutboxConfig { segment_bytes: Bytes(1 << 20), ..OutboxConfig::default() };
    let mut outbox = open(&disk, big).outbox;
    let longest = vec![1; PAYLOAD_BYTES_MAX as usize];
    let mut append = |payload: &[u8]| outbox.append(Lane::Normal, payload, NOON).unwrap();
    assert_eq!(append(b""), Appended::Rejected(DropReason::Empty));
    assert_eq!(append(&[&longest[..], b"1"].concat()), Appended::Rejected(DropReason::Oversize));
    assert_eq!(append(&longest), Appended::Stored(Seq(1)));
    assert!(outbox.tally().balances(1));
    let mut short = open(&CrashDisk::default(), roomy()).outbox;
    assert_eq!(
        short.append(Lane::Normal, &[1; 1001], NOON).unwrap(),
        Appended::Rejected(DropReason::Oversize)
    );
    assert_eq!(short.append(Lane::Normal, &[1; 1000], NOON).unwrap(), Appended::Stored(Seq(1)));
    let tiny = OutboxConfig { size_max: Bytes(1 << 20), ..OutboxConfig::default() };
    let error = Outbox::open(CrashDisk::default(), tiny, 1, NO_CLOCK).unwrap_err();
    assert_eq!(error.to_string(), "outbox size_max of 1 MiB is below the 7.0 MiB that its segments need");
}

#[test]
fn appending_allocates_nothing_once_it_runs() {
    let temporary = tempfile::tempdir().unwrap();
    let disk = tidegate::io::disk::Directory::open(temporary.path()).unwrap();
    let mut outbox = Outbox::open(disk, OutboxConfig::default(), 1, NO_CLOCK).unwrap().outbox;
    let mut append = || {
        for _ in 0..50 {
            assert!(matches!(outbox.append(Lane::Normal, &[1; 200], NOON).unwrap(), Appended::Stored(_)));
        }
        outbox.sync().unwrap();
    };
    append();
    let allocated = allocation_counter::measure(append);
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn a_payload_made_of_frames_is_one_record() {
    let disk = CrashDisk::default();
    let mut outbox = open(&disk, roomy()).outbox;
    fill(&mut outbox, Lane::Normal, 3, 100);
    let name = "normal-00000000000000000001.seg";
    let frames = disk.content(name)[1024..1024 + 3 * 124].to_vec();
    assert!(matches!(outbox.append(Lane::Alarm, &frames, NOON).unwrap(), Appended::Stored(_)));
    outbox.sync().unwrap();
    drop(outbox);
    let hostile = "alarm-00000000000000000001.seg";
    let mut content = disk.content(hostile);
    content[1024] ^= 0x20;
    disk.put(hostile, &content);
    let opened = open(&disk, roomy());
    assert_eq!(opened.outbox.held(), 3, "another segment's frames do not count");
}
