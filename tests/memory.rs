//! The memory plan as `check` prints it: is it the sum of its lines, and is what cannot fit refused?

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use tidegate::board::{Profile, builtin};
use tidegate::config::DEFAULT_CONFIG;
use tidegate::units::Bytes;

/// Half of the last digit printed, in bytes: lines are rounded to a tenth of a MiB, or finer.
const ROUNDED: u64 = (1 << 20) / 20 + 1;

/// How `check` ended and what it said.
struct Ended {
    code: Option<i32>,
    said: String,
}

/// What `check` says of the default configuration with the shipped models and this budget.
fn check(budget: &str) -> Ended {
    check_that(DEFAULT_CONFIG, budget)
}

fn check_that(config: &str, budget: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").display().to_string();
    let text = config
        .replace("/usr/share/tidegate/models", &models)
        .replace("# memory = \"96 MiB\"", &format!("memory = \"{budget}\""));
    let path = folder.path().join("tidegate.toml");
    fs::write(&path, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("check").arg("--config").arg(path).output();
    let output = output.unwrap();
    Ended { code: output.status.code(), said: String::from_utf8(output.stderr).unwrap() }
}

/// The lines of the plan: what, and how much; and the sum as printed.
fn plan(ended: &Ended) -> (Vec<(String, u64)>, u64) {
    let lines = ended.said.lines().skip_while(|line| *line != "memory plan").skip(1);
    let mut parts = Vec::new();
    for line in lines.filter(|line| line.starts_with("  ")) {
        let (size, what) = line.trim().split_once("  ").unwrap();
        let bytes = size.trim().parse::<Bytes>().unwrap().0;
        if what.starts_with("together") {
            return (parts, bytes);
        }
        parts.push((what.to_owned(), bytes));
    }
    panic!("no sum: {}", ended.said)
}

#[test]
fn the_sum_is_that_of_the_lines_and_every_model_has_its_own() {
    let boards = builtin().into_iter().map(|(_, text)| Profile::parse(text).unwrap().budget.memory.0);
    // The default configuration with all models that are shipped is for every board.
    for budget in boards.collect::<BTreeSet<u64>>() {
        let ended = check(&Bytes(budget).to_string());
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        let (parts, sum) = plan(&ended);
        let added: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
        assert!(added.abs_diff(sum) <= ROUNDED * parts.len() as u64, "{added} and {sum}: {parts:?}");
        assert_eq!(parts.iter().filter(|(what, _)| what.starts_with("model ")).count(), 5, "{parts:?}");
        println!("{} parts, {} together, of {}", parts.len(), Bytes(sum), Bytes(budget));
    }
}

#[test]
fn models_that_cannot_fit_are_refused_with_the_sum() {
    let ended = check("16 MiB");
    assert_eq!(ended.code, Some(78), "{}", ended.said);
    let (_, sum) = plan(&ended);
    assert!(sum > 16 << 20);
    let wrong = format!("budget.memory: 16 MiB is less than the {} the plan needs", Bytes(sum));
    assert!(ended.said.contains(&wrong), "{wrong}: {}", ended.said);
}

/// A size above that of the smallest form would not tell why the plan has less.
#[test]
fn the_plan_says_which_form_of_a_model_it_counts_where_the_best_do_not_fit() {
    let (ample, scarce) = (plan(&check("96 MiB")).0, plan(&check("64 MiB")).0);
    let line = |parts: &[(String, u64)]| {
        parts
            .iter()
            .map(|(what, _)| what.clone())
            .find(|what| what.starts_with("model failure-mode"))
            .unwrap()
    };
    assert_eq!(line(&ample), "model failure-mode@2.0.0");
    assert_eq!(line(&scarce), "model failure-mode@2.0.0 as int8-qoperator");
}

/// The sum alone sends the operator round in circles: with a larger budget windows and queues get more, and the sum grows.
#[test]
fn the_budget_that_a_refusal_names_is_enough_and_a_mebibyte_less_is_not() {
    let refused = check("40 MiB");
    let (_, rest) = refused.said.split_once("the plan needs; allowed: at least ").unwrap();
    let least = rest.split_once(',').unwrap().0.parse::<Bytes>().unwrap();
    let enough = check(&least.to_string());
    assert_eq!(enough.code, Some(0), "{}", enough.said);
    let less = check(&Bytes(least.0 - (1 << 20)).to_string());
    assert_eq!(less.code, Some(78), "{}", less.said);
    assert!(
        less.said.contains(&format!("allowed: at least {least},")),
        "the same whatever was asked: {}",
        less.said
    );
}

/// Between "all at once" and "not at all" lie budgets with which the models take turns. The planted bug, a sum that forgets
/// a model or counts one twice, shows as a budget that is accepted below its own sum, or refused above it.
#[test]
fn a_budget_is_refused_exactly_where_the_plan_does_not_fit() {
    // Two models: each examination costs seconds here.
    let (head, rest) = DEFAULT_CONFIG.split_once("[[models]]").unwrap();
    let entry =
        |name: &str| format!("[[models]]\nname = \"{name}\"\npath = \"/usr/share/tidegate/models/{name}\"\n");
    // Commented examples follow it.
    let handovers = rest.rsplit_once("\n[[streams]]").unwrap().1;
    let reports = r#"[[streams]]
name = "orders"
kind = "report"
topic = "plant/orders"
payload = { format = "text" }
classifier = "failure-mode"
forward = { events = "all" }
"#;
    let models = [entry("failure-mode"), entry("redactor")].concat();
    let config = format!("{head}{models}{reports}[[streams]]{handovers}");
    let (mut refused, mut accepted) = (16 << 20, 96 << 20);
    let mut turns = 0;
    while accepted - refused > 1 << 18 {
        let budget = u64::midpoint(refused, accepted);
        let ended = check_that(&config, &format!("{budget} B"));
        let (_, sum) = plan(&ended);
        let is_accepted = ended.code == Some(0);
        assert!(
            if is_accepted { sum <= budget + ROUNDED } else { sum + ROUNDED >= budget },
            "{}",
            ended.said
        );
        turns += u32::from(ended.said.contains("in turns"));
        if is_accepted { accepted = budget } else { refused = budget }
    }
    println!("accepted from {} on; {turns} of the budgets looked at let models take turns", Bytes(accepted));
    assert!(turns > 0, "nowhere did they take turns");
}
