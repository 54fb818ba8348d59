//! What `scripts/bench outbox` runs: the outbox on a real directory as its shell drives it, a bare loop of write and
//! sync beside it, and an opening. Not a benchmark by itself; `cargo bench` passes over it.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a tool that measures time and prints it, not part of the gateway"
)]

#[path = "peer/options.rs"]
mod options;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use tidegate::clock::{ClockQuality, EventTime, UtcTime};
use tidegate::io::disk::Directory;
use tidegate::outbox::{Appended, Lane, Outbox, OutboxConfig, Seq};
use tidegate::units::Bytes;

use options::Options;

/// Length of the file that the bare loop overwrites again and again.
const INPLACE_BYTES: u64 = 16 << 20;

fn main() {
    let (command, options) = Options::of_command_line();
    match command.as_str() {
        "append" => append(&options),
        "bare" => bare(&options),
        "open" => open(&options),
        _ => println!("outbox_peer append|bare|open: see scripts/bench"),
    }
}

/// Now, as the outbox stamps it.
fn now() -> EventTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    EventTime(i64::try_from(since.as_micros()).unwrap())
}

fn open_outbox(options: &Options) -> Outbox<Directory> {
    let directory = Directory::open(Path::new(options.text("dir"))).unwrap();
    let config = OutboxConfig {
        size_max: Bytes(options.number("size-max")),
        sync_interval: Duration::from_millis(options.number("sync-ms")),
        ..OutboxConfig::default()
    };
    let at = UtcTime { micros: now().0, quality: ClockQuality::Synced };
    Outbox::open(directory, config, now().0.cast_unsigned(), at).unwrap().outbox
}

/// Appends `--count` records of `--bytes` each, `--rate` a second (0: as fast as it goes), and syncs as the service does:
/// `--sync-ms` after the first that waits, or when the largest batch is full. With `--acks read` the link is up: what is
/// durable is read and acknowledged at once; with `--acks only` it is acknowledged and not read; with `--acks none` it stays.
fn append(options: &Options) {
    let (count, bytes, rate) = (options.number("count"), options.number("bytes"), options.number("rate"));
    let acks = options.text("acks");
    let mut outbox = open_outbox(options);
    let (interval, batch) = (outbox.config().sync_interval, u64::from(outbox.config().batch_records_max));
    let mut payload = vec![0; usize::try_from(bytes).unwrap()];
    let mut random = fastrand::Rng::with_seed(7);
    let (mut pending, mut syncs, mut due) = (0, 0_u64, None::<Instant>);
    let (mut records, mut at) = (Vec::new(), now());
    let started = Instant::now();
    for number in 0..count {
        if let Some(nanos) = (number * 1_000_000_000).checked_div(rate) {
            let next = started + Duration::from_nanos(nanos);
            if let Some(at) = due.filter(|&at| at < next) {
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                sync(&mut outbox, acks, &mut records);
                (pending, syncs, due) = (0, syncs + 1, None);
            }
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        random.fill(&mut payload);
        assert!(matches!(outbox.append(Lane::Normal, &payload, at), Ok(Appended::Stored(_))));
        pending += 1;
        if due.is_none() {
            // One look at the clock a batch: at full rate the clock would be measured.
            (due, at) = (Some(Instant::now() + interval), now());
        }
        if pending >= batch {
            sync(&mut outbox, acks, &mut records);
            (pending, syncs, due) = (0, syncs + 1, None);
        }
    }
    sync(&mut outbox, acks, &mut records);
    let seconds = started.elapsed().as_secs_f64();
    outbox.checkpoint().unwrap();
    println!(
        "{{\"records\":{count},\"payload\":{},\"seconds\":{seconds:.4},\"syncs\":{},\"written\":{}}}",
        count * bytes,
        syncs + 1,
        written()
    );
}

fn sync(outbox: &mut Outbox<Directory>, acks: &str, records: &mut Vec<tidegate::outbox::Record>) {
    outbox.sync().unwrap();
    match acks {
        "read" => {}
        "only" => return outbox.advance(Lane::Normal, outbox.durable(Lane::Normal)).unwrap(),
        _ => return,
    }
    loop {
        records.clear();
        let from = Seq(outbox.acked(Lane::Normal).0 + 1);
        outbox.read(Lane::Normal, from, outbox.durable(Lane::Normal), 256, 64 << 10, records).unwrap();
        let Some(last) = records.last() else { return };
        outbox.advance(Lane::Normal, last.seq).unwrap();
    }
}

/// Writes `--bytes` and syncs, `--syncs` times: to the end of a file that grows, or with `--inplace 1` round and round
/// over one that is there.
fn bare(options: &Options) {
    let (syncs, bytes) = (options.number("syncs"), options.number("bytes"));
    let inplace = options.number("inplace") == 1;
    let path = Path::new(options.text("dir")).join("bare");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).unwrap();
    let mut payload = vec![0; usize::try_from(bytes).unwrap()];
    if inplace {
        file.write_all_at(&vec![0; usize::try_from(INPLACE_BYTES).unwrap()], 0).unwrap();
        file.sync_all().unwrap();
    }
    let mut random = fastrand::Rng::with_seed(7);
    let started = Instant::now();
    let mut offset = 0;
    for _ in 0..syncs {
        random.fill(&mut payload);
        if inplace && offset + bytes > INPLACE_BYTES {
            offset = 0;
        }
        file.write_all_at(&payload, offset).unwrap();
        file.sync_data().unwrap();
        offset += bytes;
    }
    let seconds = started.elapsed().as_secs_f64();
    std::fs::remove_file(path).unwrap();
    println!("{{\"payload\":{},\"seconds\":{seconds:.4},\"written\":{}}}", syncs * bytes, written());
}

/// Opens what is there: how long it takes and how much private memory it keeps.
fn open(options: &Options) {
    let before = anonymous();
    let started = Instant::now();
    let outbox = open_outbox(options);
    let seconds = started.elapsed().as_secs_f64();
    let grown = anonymous().saturating_sub(before);
    println!("{{\"seconds\":{seconds:.4},\"grown\":{grown},\"held\":{}}}", outbox.held());
}

/// Bytes this process caused to be written to the medium, as the kernel counts them: without the journal.
fn written() -> u64 {
    field("/proc/self/io", "write_bytes:")
}

fn anonymous() -> u64 {
    field("/proc/self/smaps_rollup", "Anonymous:") * 1024
}

fn field(path: &str, name: &str) -> u64 {
    let text = std::io::read_to_string(File::open(path).unwrap()).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
