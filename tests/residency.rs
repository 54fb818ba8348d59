//! What the shipped models cost, as their manifests say and as the counting allocator finds it.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and tell why")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidegate::infer::residency::RELOAD_MAX;
use tidegate::io::admission::Admission;
use tidegate::units::Bytes;

#[global_allocator]
static ALLOCATOR: tidegate_alloc::Counting = tidegate_alloc::Counting;

const MODELS: [&str; 5] =
    ["excavator-triage", "failure-mode", "hydraulic-condition", "redactor", "work-order-entities"];

/// Difference from the manifest that is allowed, of the figure in it: kernels pack weights by what the processor has.
const TOLERANCE: f64 = 0.1;

fn folder(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(model)
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "how long loading takes is what is measured")]
    Instant::now()
}

fn near(found: u64, said: Option<u64>) -> bool {
    said.is_some_and(|said| (found as f64 - said as f64).abs() <= TOLERANCE * said as f64)
}

#[test]
fn every_form_of_every_shipped_model_takes_what_its_manifest_says_and_is_reloaded_in_time() {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_tidegate"));
    let admission = Admission { program, memory: Bytes(1 << 30), seconds: 60 };
    for model in MODELS {
        let source = admission.admit(&folder(model)).unwrap().source();
        for (index, variant) in source.manifest().variants.iter().enumerate() {
            let (name, began) = (&variant.name, now());
            let (loaded, cost) = source.load(index).unwrap();
            let took = began.elapsed();
            println!(
                "MEM: {model} {name}: keeps {}, {} while it is loaded, predicted {}; reloaded in {} ms, {:?} an input",
                Bytes(cost.kept),
                Bytes(cost.peak),
                Bytes(variant.memory_bytes),
                took.as_millis(),
                cost.spent
            );
            assert!(near(cost.kept, variant.memory_measured), "{model} {name}: {cost:?} {variant:?}");
            assert!(near(cost.peak, variant.load_peak), "{model} {name}: {cost:?} {variant:?}");
            assert!(took < RELOAD_MAX, "{model} {name}: {took:?}");
            assert!(cost.spent > Duration::ZERO && cost.peak > cost.kept);
            let before = tidegate_alloc::live_total() as u64;
            drop(loaded);
            let freed = before.saturating_sub(tidegate_alloc::live_total() as u64);
            assert!(near(freed, Some(cost.kept)), "{model} {name}: {freed} of {} came back", cost.kept);
        }
    }
}
