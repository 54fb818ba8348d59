//! A disk that is full.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::service::gateway::waiting;
use crate::service::world::{Plan, World};

/// A small file system in memory. Unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None` where mounting is not permitted.
    fn mount(at: &Path) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=9m", "tidegate-test"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a gateway that is just being killed may still be in it.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// Writes zeros until the disk is full.
fn fill(path: &Path) {
    let full = Command::new("dd")
        .args(["if=/dev/zero", "bs=4k"])
        .arg(format!("of={}", path.display()))
        .output()
        .unwrap();
    assert!(!full.status.success(), "the disk did not fill");
}

#[test]
fn a_full_disk_costs_records_that_are_counted_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_tmpfs) = Tmpfs::mount(directory.path()) else {
        println!(
            "SKIPPED a_full_disk_costs_records_that_are_counted_and_nothing_else: mounting is not permitted"
        );
        return;
    };
    let state_dir = directory.path().display().to_string();
    let world = World::start(&Plan { state_dir, upstream_there: false, ..Plan::default() });
    world.feed_good(0..100);
    world.decided(0..100);
    let filler = directory.path().join("filler");
    fill(&filler);
    // More than fits into the last block of a segment.
    world.feed_good(100..600);
    world.decided(100..600);
    let lost = world.metrics(world.ear.mark(), "refused records in the metrics", |json| {
        let outbox = &json["stages"]["outbox"];
        (outbox["in"] == 600).then(|| outbox["dropped"]["outbox-reject"].as_u64())?
    });
    assert!((1..=500).contains(&lost), "{lost}");
    std::fs::remove_file(&filler).unwrap();
    world.feed_good(600..700);
    world.decided(600..700);
    world.gate.set(true);
    world.delivered(0..100);
    world.delivered(600..700);
    world.finish();
    assert!(waiting(&directory.path().join("outbox")).is_empty());
}
