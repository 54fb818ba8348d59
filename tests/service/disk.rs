//! A disk that is full.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::service::gateway::waiting;
use crate::service::world::{Plan, World, last};

/// A small file system in memory. Unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None` where mounting is not permitted.
    fn mount(at: &Path) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=18m", "tidegate-test"]).arg(at).output();
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
fn a_full_disk_costs_nothing_that_memory_holds() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_tmpfs) = Tmpfs::mount(directory.path()) else {
        println!("SKIPPED a_full_disk_costs_nothing_that_memory_holds: mounting is not permitted");
        return;
    };
    let state_dir = directory.path().display().to_string();
    // Segments of 128 KiB, the shortest.
    let config = "[outbox]\nsize_max = \"8 MiB\"\nfree_min = \"64 KiB\"\n".to_owned();
    let world = World::start(&Plan { state_dir, config, upstream_there: false, ..Plan::default() });
    world.feed_good(0..100);
    world.decided(0..100);
    let filler = directory.path().join("filler");
    fill(&filler);
    // More than fits into the segment that is there.
    world.feed_good(100..4_000);
    world.decided(100..4_000);
    world.metrics(world.ear.mark(), "what was stored or waits in memory", |json| {
        let outbox = &json["stages"]["outbox"];
        (outbox["in"] == 4_000).then(|| assert_eq!(outbox["held"], 4_000, "{outbox}"))
    });
    world.ear.wait(0, "health that names the disk", |seen| {
        last(seen, "status/health")
            .filter(|seen| seen.text().contains("the disk of the outbox is full"))
            .map(|_| ())
    });
    std::fs::remove_file(&filler).unwrap();
    world.feed_good(4_000..4_100);
    world.decided(4_000..4_100);
    world.gate.set(true);
    world.delivered(0..4_100);
    world.finish();
    assert!(waiting(&directory.path().join("outbox")).is_empty());
}
