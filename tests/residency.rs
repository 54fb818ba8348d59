//! What the shipped models cost, as their manifests say and as the counting allocator finds it.
#![expect(clippy::unwrap_used, reason = "a test may panic and tell why")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
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

/// What `check` makes of a budget.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Together,
    Turns,
    Refused,
}

/// Checks a gateway with two models in so many KiB.
fn checked(kib: u64, folder: &Path) -> (Outcome, String) {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models");
    let mut config = format!(
        "[gateway]\nsite = \"test\"\nid = \"turns\"\nboard = \"generic-x86-64\"\nstate_dir = \"/nowhere\"\n\
         [plant]\nurl = \"mqtt://127.0.0.1:1\"\n[upstream]\nurl = \"mqtt://127.0.0.1:2\"\n\
         [budget]\nmemory = \"{kib} KiB\"\n"
    );
    for name in ["embedding", "tagger"] {
        let (path, key) = (models.join(name), if name == "tagger" { "extractor" } else { "classifier" });
        write!(
            config,
            "[[models]]\nname = \"{name}\"\npath = \"{}\"\n\
             [[streams]]\nname = \"{name}\"\nkind = \"report\"\ntopic = \"plant/{name}\"\n\
             payload = {{ format = \"json\", time = \"ts\", text = \"text\" }}\n{key} = \"{name}\"\n",
            path.display()
        )
        .unwrap();
    }
    let file = folder.join("config.toml");
    std::fs::write(&file, config).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("check")
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    let outcome = match ended.status.code() {
        Some(0) if said.contains("in turns") => Outcome::Turns,
        Some(0) => Outcome::Together,
        _ => Outcome::Refused,
    };
    (outcome, said)
}

#[test]
fn check_says_who_takes_turns_and_refuses_what_cannot_fit_with_the_sum() {
    let folder = tempfile::tempdir().unwrap();
    // The smallest budget in which they fit together, to the KiB.
    let (mut less, mut enough) = (16 << 10, 256 << 10);
    let most = checked(enough, folder.path());
    assert_eq!(most.0, Outcome::Together, "{}", most.1);
    while enough - less > 1 {
        let middle = less.midpoint(enough);
        if checked(middle, folder.path()).0 == Outcome::Together { enough = middle } else { less = middle }
    }
    let (outcome, said) = checked(less, folder.path());
    assert_eq!(outcome, Outcome::Turns, "{said}");
    let line = said.lines().find(|line| line.contains("in turns")).unwrap();
    assert!(line.contains("embedding@1.0.0, tagger@1.0.0"), "{line}");
    let (outcome, said) = checked(17 << 10, folder.path());
    assert_eq!(outcome, Outcome::Refused, "{said}");
    assert!(
        said.contains("budget.memory: 17 MiB is less than the ") && said.contains("the plan needs"),
        "{said}"
    );
}
