//! Does any model, however wrong, do more than be refused with a clear word?
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tidegate::io::admission::Admission;
use tidegate::units::Bytes;

#[path = "hostile/folder.rs"]
mod folder;
#[path = "hostile/graphs.rs"]
mod graphs;
#[path = "support/onnx.rs"]
mod onnx;

use folder::Folder;

const MEMORY: Bytes = Bytes(256 << 20);
const SECONDS: u32 = 10;

#[expect(clippy::disallowed_methods, reason = "real processes take real time")]
fn now() -> Instant {
    Instant::now()
}

fn admission() -> Admission {
    Admission { program: env!("CARGO_BIN_EXE_tidegate").into(), memory: MEMORY, seconds: SECONDS }
}

fn cut_and_flipped() -> Vec<(String, Vec<u8>)> {
    let whole = graphs::dense();
    let mut random = fastrand::Rng::with_seed(1);
    let cut = (1..30).map(|n| (format!("cut-at-{n}"), whole[..whole.len() * n / 30].to_vec()));
    let flipped = (0..60).map(|n| {
        let mut bytes = whole.clone();
        for _ in 0..=n % 4 {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
        }
        (format!("flipped-{n}"), bytes)
    });
    cut.collect::<Vec<_>>().into_iter().chain(flipped.collect::<Vec<_>>()).collect()
}

#[test]
fn probe() {
    let root = tempfile::tempdir().unwrap();
    let mut cases = graphs::all();
    cases.extend(cut_and_flipped());
    println!("{} cases", cases.len());
    let queue = Mutex::new(cases.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((name, graph)) = queue.lock().unwrap().next() else { return };
                    let dir: &Path = &root.path().join(&name);
                    Folder::pair(&name, graph).write(dir);
                    let started = now();
                    let said = match admission().admit(dir) {
                        Ok(_) => "ADMITTED".to_owned(),
                        Err(error) => error.to_string(),
                    };
                    println!("{:6} ms  {name}: {said}", started.elapsed().as_millis());
                    let _ = Duration::ZERO;
                }
            });
        }
    });
}
