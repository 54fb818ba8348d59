//! The demonstration keeps what it promises: nothing is lost through an outage, heat is answered, all streams decide.
#![cfg(feature = "demo")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use serde_json::Value;

/// Runs the program as a user would, from a folder that holds nothing.
fn demo(arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let output = command
        .arg("demo")
        .args(arguments)
        .current_dir(&folder)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert!(left.is_empty(), "the demonstration left something behind: {left:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_short_demonstration_loses_nothing_through_an_outage_and_answers_the_heat() {
    let (code, out, told) = demo(&["--seconds", "12", "--seed", "7", "--json"]);
    assert_eq!(code, Some(0), "{told}");
    let json: Value = serde_json::from_str(&out).unwrap();
    let number =
        |path: &str| json.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {out}"));
    assert_eq!(number("/events/lost"), 0, "{out}");
    assert!(
        number("/events/arrived") > 20 && number("/events/arrived") == number("/events/durable"),
        "{out}"
    );
    assert_eq!(number("/messages/received"), number("/messages/sent"), "{out}");
    assert!(number("/outage/connects") >= 2 && number("/outage/backlog_max") > 0, "{out}");
    assert_ne!(json["heat"]["level_max"], "nominal", "{out}");
    assert!(number("/heat/shed") > 0, "{out}");
    for stream in ["hydraulics-1", "hydraulics-2", "work-orders", "excavators", "handovers"] {
        assert!(number(&format!("/decisions/{stream}")) > 0, "{out}");
    }
    assert!(number("/bytes/in") > 5 * number("/bytes/out"), "{out}");
    assert!(!told.contains('\u{1b}'), "no colours without a terminal");
    assert!(told.contains("the link upstream is cut") && told.contains("heat wave"), "{told}");
}

#[test]
fn a_length_that_shows_nothing_is_refused() {
    let (code, _, told) = demo(&["--seconds", "3"]);
    assert_eq!(code, Some(64), "{told}");
}
