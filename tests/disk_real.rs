//! The outbox on a real file system that is too small, on a medium that fails, and on one that the kernel has made
//! read-only: 8 MiB of ext4 in a file, mounted by loop.
//!
//! Needs root and `mkfs.ext4`; says `SKIPPED` without. `cargo test --test disk_real -- --nocapture` prints the counts.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]
#![expect(clippy::print_stdout, reason = "seed and counts")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tidegate::clock::{ClockQuality, EARLIEST_PLAUSIBLE, UtcTime};
use tidegate::io::disk::Directory;
use tidegate::outbox::{Appended, DiskState, Lane, Outbox, OutboxConfig, Record, Seq};
use tidegate::units::Bytes;

const NO_CLOCK: UtcTime = UtcTime { micros: 0, quality: ClockQuality::Unset };
const MIB: u64 = 1 << 20;

/// The worker tries a disk again this often; own clock: the test asks at these times.
const MEND_EVERY: Duration = Duration::from_secs(2);
const RESUME_MAX: Duration = Duration::from_secs(5);

const CYCLES: u32 = 20;

fn config() -> OutboxConfig {
    let segment_bytes = Bytes(64 << 10);
    OutboxConfig {
        segment_bytes,
        size_max: Bytes(4 * MIB),
        free_min: Bytes(256 << 10),
        ..OutboxConfig::default()
    }
}

/// A tmpfs with an image in it, and the image mounted. Taken down in the end.
struct Mounted {
    folder: tempfile::TempDir,
    done: Vec<PathBuf>,
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments:?}: {said}")) }
}

impl Mounted {
    /// An ext4 of 8 MiB in a file for which there is `backing` of memory. Without a journal: one that fails would make the
    /// whole file system read-only.
    fn new(backing: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut mounted = Self { folder, done: Vec::new() };
        let (under, image, top) = (mounted.path("under"), mounted.path("under/image"), mounted.path("top"));
        fs::create_dir(&under).and_then(|()| fs::create_dir(&top)).map_err(|e| e.to_string())?;
        let text = |path: &Path| path.to_str().unwrap_or_default().to_owned();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={backing}"), "tmpfs", &text(&under)])?;
        mounted.done.push(under);
        let file = File::create(&image).map_err(|e| e.to_string())?;
        file.set_len(8 * MIB).map_err(|e| e.to_string())?;
        run("mkfs.ext4", &["-q", "-F", "-O", "^has_journal", "-m", "0", &text(&image)])?;
        run("mount", &["-o", "loop,errors=continue", &text(&image), &text(&top)])?;
        mounted.done.push(top);
        Ok(mounted)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Outbox<Directory> {
        let directory = Directory::open(&self.path("top/outbox")).unwrap();
        Outbox::open(directory, config(), 7, NO_CLOCK).unwrap().outbox
    }

    /// Another program takes all the room there is.
    fn fill(&self) {
        let mut file = File::create(self.path("top/other")).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
        drop(file.sync_all());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for mounted in self.done.iter().rev() {
            if let Err(error) = run("umount", &["-l", mounted.to_str().unwrap_or_default()]) {
                println!("{error}");
            }
        }
    }
}

/// Says loudly that this was not tried.
fn mounted(backing: &str) -> Option<Mounted> {
    match Mounted::new(backing) {
        Ok(mounted) => Some(mounted),
        Err(error) => {
            println!("SKIPPED disk_real: a loop mount is needed, for which one has to be root: {error}");
            None
        }
    }
}

fn store(outbox: &mut Outbox<Directory>, lane: Lane, number: u32) {
    let mut payload = vec![0x5a; 200];
    payload[..4].copy_from_slice(&number.to_le_bytes());
    let appended = outbox.append(lane, &payload, EARLIEST_PLAUSIBLE).unwrap();
    assert!(matches!(appended, Appended::Stored(_)), "{lane:?} {number}: {appended:?}");
    assert!(outbox.tally().balances(outbox.held()), "{:?} held {}", outbox.tally(), outbox.held());
}

fn numbers(outbox: &mut Outbox<Directory>, lane: Lane) -> Vec<u32> {
    let mut records: Vec<Record> = Vec::new();
    outbox.read(lane, Seq(0), Seq(u64::MAX), usize::MAX, usize::MAX, &mut records).unwrap();
    records.iter().map(|record| u32::from_le_bytes(record.payload[..4].try_into().unwrap())).collect()
}

/// Mends as the worker does, and returns how long after `mended` the disk is well again, by the clock of the worker.
fn resume(outbox: &mut Outbox<Directory>) -> Duration {
    let mut waited = Duration::ZERO;
    while !outbox.mend() {
        waited += MEND_EVERY;
        assert!(waited <= RESUME_MAX, "{:?} for {waited:?}", outbox.disk_state());
    }
    assert_eq!((outbox.disk_state(), outbox.held_records()), (DiskState::Ok, 0));
    waited
}

/// Alarms go to the reserve, everything else to memory, and all of it to the disk when the other program has gone.
#[test]
fn a_file_system_that_others_fill_costs_nothing() {
    let Some(mounted) = mounted("64m") else { return };
    let mut outbox = mounted.open();
    let (mut expected, mut number, mut held, mut slowest) =
        ([Vec::new(), Vec::new(), Vec::new()], 0, 0, Duration::ZERO);
    for cycle in 0..CYCLES {
        mounted.fill();
        // More than the open segments and the spare ones have room for, and less than memory.
        for turn in 0..3_000_u32 {
            let lane = if turn % 20 == 0 { Lane::Alarm } else { Lane::ALL[1 + (turn % 2) as usize] };
            number += 1;
            store(&mut outbox, lane, number);
            expected[lane as usize].push(number);
            if turn % 50 == 49 {
                drop(outbox.sync());
            }
        }
        assert_eq!(outbox.disk_state(), DiskState::Full, "cycle {cycle}");
        assert_eq!(outbox.durable(Lane::Alarm), outbox.appended(Lane::Alarm), "alarms are on the disk");
        held += outbox.held_records();
        assert!(!outbox.mend());
        for lane in Lane::ALL {
            assert_eq!(numbers(&mut outbox, lane), expected[lane as usize], "all can be delivered");
        }
        fs::remove_file(mounted.path("top/other")).unwrap();
        slowest = slowest.max(resume(&mut outbox));
        for lane in Lane::ALL {
            assert_eq!(outbox.durable(lane), outbox.appended(lane));
            // The last cycle stays for the next opening.
            if cycle + 1 < CYCLES {
                outbox.advance(lane, outbox.durable(lane)).unwrap();
                expected[lane as usize].clear();
            }
        }
    }
    assert_eq!((outbox.tally().dropped_total(), outbox.failed_syncs()), (0, 0));
    println!(
        "DISK ext4 8 MiB: {CYCLES} times filled, {number} records, {held} waited in memory, resumed in {slowest:?}"
    );
    drop(outbox);
    let mut outbox = mounted.open();
    for lane in Lane::ALL {
        assert_eq!(numbers(&mut outbox, lane), expected[lane as usize]);
    }
}

/// The medium has no room for what the file system has promised: writes fail that had their room.
#[test]
fn a_medium_that_fails_for_a_while_costs_nothing() {
    let Some(mounted) = mounted("1536k") else { return };
    let mut outbox = mounted.open();
    let (mut expected, mut number) = (Vec::new(), 0);
    while outbox.disk_state() == DiskState::Ok {
        number += 1;
        store(&mut outbox, Lane::Normal, number);
        expected.push(number);
        if number % 50 == 0 {
            drop(outbox.sync());
        }
        assert!(number < 20_000, "the medium never failed");
    }
    let (failed, state) = (number, outbox.disk_state().as_str());
    for _ in 0..500 {
        number += 1;
        store(&mut outbox, Lane::Normal, number);
        expected.push(number);
    }
    drop(outbox.sync());
    assert!(!outbox.mend() && outbox.held_records() > 0);
    assert_ne!(outbox.disk_state(), DiskState::Ok);
    assert_eq!(numbers(&mut outbox, Lane::Normal), expected, "all can be delivered");
    run("mount", &["-o", "remount,size=64m", mounted.path("under").to_str().unwrap()]).unwrap();
    let waited = resume(&mut outbox);
    assert_eq!(outbox.durable(Lane::Normal), Seq(u64::from(number)));
    println!("DISK medium: {state} at record {failed}, {number} records, resumed in {waited:?}");
    drop(outbox);
    assert_eq!(numbers(&mut mounted.open(), Lane::Normal), expected);
}

/// The kernel makes a file system read-only when it finds it broken; only mounting it again ends that.
#[test]
fn a_file_system_that_became_read_only_is_outlived() {
    let Some(mounted) = mounted("64m") else { return };
    let mut outbox = mounted.open();
    for number in 0..10 {
        store(&mut outbox, Lane::Normal, number);
    }
    outbox.sync().unwrap();
    let (top, device) = (mounted.path("top"), device_of(&mounted.path("top")));
    let trigger = PathBuf::from(format!("/sys/fs/ext4/{device}/trigger_fs_error"));
    run("mount", &["-o", "remount,errors=remount-ro", top.to_str().unwrap()]).unwrap();
    if let Err(error) = fs::write(&trigger, "out of a test") {
        println!("SKIPPED disk_real, read-only: {}: {error}", trigger.display());
        return;
    }
    for number in 10..20 {
        store(&mut outbox, if number % 2 == 0 { Lane::Normal } else { Lane::Alarm }, number);
    }
    let error = outbox.sync().unwrap_err();
    assert_eq!((outbox.disk_state(), outbox.mend()), (DiskState::ReadOnly, false), "{error}");
    assert_eq!(numbers(&mut outbox, Lane::Normal).len(), 15, "all can be delivered");
    // Delivered from memory, and the cursor cannot be written.
    drop(outbox.advance(Lane::Alarm, Seq(5)));
    assert_eq!((numbers(&mut outbox, Lane::Alarm).len(), outbox.held()), (0, 15));
    println!("DISK read-only: 10 durable, 10 in memory, 5 delivered from there; {error}");
    drop(outbox);
    let image = mounted.path("under/image");
    run("umount", &[top.to_str().unwrap()]).unwrap();
    run("mount", &["-o", "loop", image.to_str().unwrap(), top.to_str().unwrap()]).unwrap();
    assert_eq!(numbers(&mut mounted.open(), Lane::Normal), (0..10).collect::<Vec<_>>());
}

/// Name of the loop device that is mounted somewhere.
fn device_of(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| line.split(' ').nth(1) == folder.to_str()).unwrap().to_owned();
    line.split(' ').next().unwrap().trim_start_matches("/dev/").to_owned()
}
