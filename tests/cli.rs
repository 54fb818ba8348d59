//! The commands as their users meet them: the real binary, a real Mosquitto, a subscriber that is not ours.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test"
)]

mod common;
#[path = "support/plain.rs"]
mod plain;
#[path = "support/program.rs"]
mod program;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use common::mosquitto::Mosquitto;
use plain::Plain;
use program::{Ended, Running, run, run_with};
use serde_json::Value;

fn url(broker: &Mosquitto) -> String {
    format!("mqtt://127.0.0.1:{}", broker.port())
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn golden(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire").join(name)).unwrap()
}

/// The ids in lines of event JSON.
fn ids<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    lines
        .into_iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect()
}

fn summary(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// The commands in a help text.
fn commands(help: &str) -> Vec<String> {
    let Some(list) = help.split("\nCommands:\n").nth(1) else { return Vec::new() };
    let words = list
        .lines()
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next());
    words.filter(|word| *word != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_explains_itself_on_stdout_without_colours() {
    let mut open = vec![vec![]];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let ended = run(&args);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{path:?}");
        let usage = ["Usage: tidegate"]
            .into_iter()
            .chain(path.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ");
        assert!(ended.stdout.contains(&usage), "{path:?}: {}", ended.stdout);
        assert!(!ended.stdout.contains('\u{1b}'), "{path:?}");
        open.extend(commands(&ended.stdout).into_iter().map(|word| [path.clone(), vec![word]].concat()));
        seen += 1;
    }
    assert!(seen > 10, "{seen} commands");
}

#[test]
fn a_folder_that_is_no_outbox_does_not_pass_for_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("outbox")).unwrap();
    for question in ["stat", "peek", "verify"] {
        let ended = run(&["outbox", question, &folder.path().display().to_string()]);
        assert_eq!(ended.code, Some(74), "{question}: {}", ended.stderr);
        assert!(ended.stderr.contains("gateway.state_dir"), "{question}: {}", ended.stderr);
    }
}

#[test]
fn what_is_asked_for_wrongly_is_a_usage_error_that_says_what_is_right() {
    let nobody = ["--url", "mqtt://127.0.0.1:1", "--topic"];
    for (args, words) in [
        (vec![], "Usage"),
        (vec!["sing"], "unrecognized subcommand"),
        (vec!["replay", "a.csv"], "--url"),
        (vec!["replay", "a.csv", "--url", "localhost", "--topic", "t"], "mqtt://host:1883"),
        (vec!["replay", "a.csv", "--url", "mqtts://localhost", "--topic", "t", "--speed", "max"], "ca_file"),
        ([vec!["replay", "a.csv"], nobody.to_vec(), vec!["a/+"]].concat(), "not a topic"),
        ([vec!["replay", "a.bin"], nobody.to_vec(), vec!["t"]].concat(), "--format"),
        ([vec!["replay", "a.csv"], nobody.to_vec(), vec!["t"]].concat(), "--time"),
        ([vec!["replay", "a.csv"], nobody.to_vec(), vec!["t", "--speed", "0"]].concat(), "0.001"),
        ([vec!["replay", "a.csv"], nobody.to_vec(), vec!["t", "--qos", "2"]].concat(), "0 or 1"),
        ([vec!["replay", "a.csv"], nobody.to_vec(), vec!["t", "--delimiter", "ab"]].concat(), "ASCII"),
        (vec!["decode", "--url", "mqtt://127.0.0.1:1"], "--topic"),
        (vec!["decode", "--topic", "t"], "--url"),
        ([vec!["decode", "a.bin"], nobody.to_vec(), vec!["t"]].concat(), "cannot be used with"),
        ([vec!["decode"], nobody.to_vec(), vec!["t", "--share", "a/b"]].concat(), "group"),
        (vec!["model"], "Usage"),
        (vec!["model", "list", "models", "--config", "x"], "cannot be used with"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = write(folder.path(), "a.csv", "t,x\n1,2\n");
        let args: Vec<&str> =
            args.into_iter().map(|arg| if arg == "a.csv" { file.as_str() } else { arg }).collect();
        let ended = run(&args);
        assert_eq!(ended.code, Some(64), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_broker_that_is_not_there_is_named_with_a_remedy() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("mqtt://127.0.0.1:{port}");
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.csv", "t,x\n1,2\n");
    for args in [
        vec!["replay", &file, "--url", &url, "--topic", "t", "--speed", "max"],
        vec!["decode", "--url", &url, "--topic", "t"],
    ] {
        let ended = run(&args);
        assert_eq!(ended.code, Some(74), "{}", ended.stderr);
        assert!(ended.stderr.contains("check the address and that the broker runs"), "{}", ended.stderr);
    }
}

#[test]
fn rows_of_csv_arrive_as_objects_and_a_bad_one_is_counted() {
    let broker = Mosquitto::start(false);
    let mut subscriber = Plain::connect(broker.port(), "scada", false);
    subscriber.subscribe("plant/#");
    let folder = tempfile::tempdir().unwrap();
    let csv =
        "ts;rpm;note\n2026-11-20T03:00:00Z;1480.5;ok\n2026-11-20T03:00:00.2Z;1\n2026-11-20T03:00:00.4Z;;\n";
    let file = write(folder.path(), "a.csv", csv);
    let args = [
        "replay",
        &file,
        "--url",
        &url(&broker),
        "--topic",
        "plant/pump",
        "--delimiter",
        ";",
        "--time",
        "ts",
        "--json",
    ];
    let ended = run(&args);
    let summary = summary(&ended);
    assert_eq!(
        (&summary["rows"], &summary["acknowledged"], &summary["bad_rows"]),
        (&2.into(), &2.into(), &1.into())
    );
    // The last row is due 0.4 s after the first one.
    assert!(summary["seconds"].as_f64().unwrap() >= 0.4, "{summary}");
    assert!(
        ended.stderr.contains("2 rows sent, 2 acknowledged") && ended.stderr.contains("row 2"),
        "{}",
        ended.stderr
    );
    let first = r#"{"ts":"2026-11-20T03:00:00Z","rpm":1480.5,"note":"ok"}"#;
    assert_eq!(subscriber.message().as_deref(), Some(first));
    let second = r#"{"ts":"2026-11-20T03:00:00.4Z","rpm":null,"note":null}"#;
    assert_eq!(subscriber.message().as_deref(), Some(second));
}

#[test]
fn lines_of_json_arrive_as_they_are_at_any_quality_of_service_and_protocol() {
    let broker = Mosquitto::start(false);
    let mut subscriber = Plain::connect(broker.port(), "scada", false);
    subscriber.subscribe("plant/reports");
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> =
        (0..2000).map(|n| format!("{{ \"id\": {n},  \"text\":\"pump \u{2014} leaks\" }}")).collect();
    let file = write(folder.path(), "a.jsonl", &lines.join("\n"));
    let url = url(&broker);
    for (qos, protocol) in [("0", "5"), ("0", "3.1.1"), ("1", "3.1.1")] {
        let base = [
            "replay",
            &file,
            "--url",
            &url,
            "--topic",
            "plant/reports",
            "--speed",
            "max",
            "--json",
            "--quiet",
        ];
        let ended = run(&[&base[..], &["--qos", qos, "--protocol", protocol]].concat());
        let summary = summary(&ended);
        assert_eq!((&summary["sent"], ended.stderr.as_str()), (&2000.into(), ""), "{summary}");
        let acknowledged = if qos == "1" { 2000 } else { 0 };
        assert_eq!(summary["acknowledged"], acknowledged, "{summary}");
        for line in &lines {
            assert_eq!(subscriber.message().as_ref(), Some(line), "QoS {qos}, MQTT {protocol}");
        }
    }
}

#[test]
fn a_restart_of_the_broker_loses_no_row() {
    const ROWS: usize = 20_000;
    let mut broker = Mosquitto::start(true);
    let mut subscriber = Plain::connect(broker.port(), "scada", true);
    subscriber.subscribe("plant/pump");
    let folder = tempfile::tempdir().unwrap();
    let rows = (0..ROWS).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
    let file = write(folder.path(), "a.jsonl", &rows);
    let args = ["replay", &file, "--url", &url(&broker), "--topic", "plant/pump", "--speed", "max", "--json"];
    let replay = Running::start(&args);
    let mut seen = BTreeSet::new();
    while seen.len() < 500 {
        seen.insert(subscriber.message().unwrap());
    }
    broker.stop();
    broker.restart();
    let mut subscriber = Plain::connect(broker.port(), "scada", true);
    while seen.len() < ROWS {
        seen.insert(subscriber.message().expect("the broker ended the connection"));
    }
    let ended = replay.end();
    let summary = summary(&ended);
    assert_eq!((&summary["reconnects"], &summary["acknowledged"]), (&1.into(), &ROWS.into()), "{summary}");
    assert!(ended.stderr.contains("trying again"), "{}", ended.stderr);
}

#[test]
fn what_a_broker_does_not_allow_is_a_failure_that_says_so() {
    let lines = "allow_anonymous true\nacl_file {dir}/acl\n";
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "acl", "topic write open\n");
    let broker = Mosquitto::start_prepared(folder, false, lines);
    let url = url(&broker);
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.jsonl", "1\n2\n");
    let base = ["replay", &file, "--url", &url, "--speed", "max", "--topic"];
    assert_eq!(run(&[&base[..], &["open"]].concat()).code, Some(0));
    let ended = run(&[&base[..], &["closed"]].concat());
    assert_eq!(ended.code, Some(74));
    assert!(ended.stderr.contains("2 refused") && ended.stderr.contains("ACL"), "{}", ended.stderr);
}

#[test]
fn rows_before_the_unreadable_end_of_a_file_arrive_and_rows_without_a_time_are_told() {
    let broker = Mosquitto::start(false);
    let mut subscriber = Plain::connect(broker.port(), "scada", false);
    subscriber.subscribe("t");
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(2 << 20);
    let file = write(folder.path(), "a.jsonl", &format!("{{\"ts\":1}}\n{{\"when\":2}}\n{long}\n"));
    let ended = run(&["replay", &file, "--url", &url(&broker), "--topic", "t", "--time", "ts"]);
    assert_eq!(ended.code, Some(74));
    assert!(
        ended.stderr.contains("row 2 has no time") && ended.stderr.contains("row 3 of"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        [subscriber.message(), subscriber.message()].map(Option::unwrap),
        ["{\"ts\":1}", "{\"when\":2}"]
    );
}

#[test]
fn a_replay_without_end_stops_in_order_when_asked_to() {
    let broker = Mosquitto::start(false);
    let mut subscriber = Plain::connect(broker.port(), "scada", false);
    subscriber.subscribe("t");
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.ndjson", "1\n2\n3\n");
    let replay = Running::start(&[
        "replay",
        &file,
        "--url",
        &url(&broker),
        "--topic",
        "t",
        "--speed",
        "max",
        "--loop",
        "--json",
    ]);
    for expected in ["1", "2", "3", "1", "2", "3", "1"] {
        assert_eq!(subscriber.message().as_deref(), Some(expected));
    }
    replay.terminate();
    let summary = summary(&replay.end());
    assert_eq!(
        (&summary["interrupted"], &summary["acknowledged"]),
        (&true.into(), &summary["sent"]),
        "{summary}"
    );
}

#[test]
fn batches_of_a_file_become_event_json_and_damage_is_told_but_does_not_stop() {
    let events = String::from_utf8(golden("events.json")).unwrap();
    let ended = run(&["decode", "tests/golden/wire/batch-three.bin"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(ended.stdout, events);
    let (one, three) = (golden("batch-one.bin"), golden("batch-three.bin"));
    for args in [vec!["decode"], vec!["decode", "-"]] {
        let ended = run_with(&args, &[&three[..], &one, &three].concat());
        assert_eq!((ended.code, ids(ended.stdout.lines()).len()), (Some(0), 7));
        let ended = run_with(&args, &[&three[..], b"rubbish", &one, &three].concat());
        assert_eq!((ended.code, ids(ended.stdout.lines()).len()), (Some(74), 7), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("damaged at byte {}", three.len())), "{}", ended.stderr);
    }
    assert_eq!(run(&["decode", "absent.bin"]).code, Some(74));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.bin");
    fs::write(&path, golden("batch-three.bin").repeat(5000)).unwrap();
    let mut decode = Running::start_unread(&["decode", &path.display().to_string()]);
    decode.close_stdout();
    let ended = decode.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));

    for command in [&["config", "--default"][..], &["model", "list", "models", "--json"]] {
        let mut running = Running::start_unread(command);
        running.close_stdout();
        let ended = running.end();
        assert!(ended.code == Some(0) && !ended.stderr.contains("error"), "{command:?}: {}", ended.stderr);
    }

    let broker = Mosquitto::start(false);
    let mut decode = Running::start_unread(&["decode", "--url", &url(&broker), "--topic", "up/#"]);
    decode.says("listening");
    decode.close_stdout();
    Plain::connect(broker.port(), "gateway", false).publish("up/normal", &golden("batch-one.bin"));
    assert_eq!(decode.end().code, Some(0));
}

#[test]
fn batches_are_decoded_as_they_arrive_until_enough_or_asked_to_stop() {
    let broker = Mosquitto::start(false);
    let url = url(&broker);
    let mut gateway = Plain::connect(broker.port(), "gateway", false);
    for (protocol, limit) in [("5", ["--count", "4"]), ("3.1.1", ["--seconds", "3600"])] {
        let base = ["decode", "--url", &url, "--topic", "site/+/up/#", "--protocol", protocol];
        let decode = Running::start(&[&base[..], &limit].concat());
        decode.says("listening to site/+/up/# at");
        gateway.publish("site/g/up/normal", &golden("batch-three.bin"));
        // Each line comes when its batch does, not when a buffer is full.
        let lines = [decode.line(), decode.line(), decode.line()];
        assert_eq!(lines.join("\n") + "\n", String::from_utf8(golden("events.json")).unwrap());
        gateway.publish("site/g/up/alarm", b"rubbish");
        gateway.publish("site/g/up/alarm", &golden("batch-one.bin"));
        assert_eq!(ids([decode.line().as_str()]).len(), 1);
        if limit[0] == "--seconds" {
            decode.terminate();
        }
        let ended = decode.end();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
        assert!(ended.stderr.contains("4 events in 2 batches, 1 damaged"), "{}", ended.stderr);
    }
    let ended = run(&["decode", "--url", &url, "--topic", "up/#", "--seconds", "1"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
}

#[test]
fn decoders_of_a_group_share_the_batches_between_them() {
    let broker = Mosquitto::start(false);
    let url = url(&broker);
    let start = || Running::start(&["decode", "--url", &url, "--topic", "up/#", "--share", "historian"]);
    let decoders = [start(), start()];
    for decoder in &decoders {
        decoder.says("listening to $share/historian/up/#");
    }
    let mut gateway = Plain::connect(broker.port(), "gateway", false);
    for _ in 0..10 {
        gateway.publish("up/normal", &golden("batch-one.bin"));
    }
    let mut each = [0, 0];
    while each[0] + each[1] < 10 {
        for (decoder, count) in decoders.iter().zip(&mut each) {
            *count += u32::from(decoder.line_within(Duration::from_millis(20)).is_some());
        }
    }
    assert!(each[0] > 0 && each[1] > 0, "{each:?}");
    for decoder in decoders {
        decoder.terminate();
        let ended = decoder.end();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_named_session_gets_what_came_while_it_was_away_and_what_it_did_not_print() {
    let broker = Mosquitto::start(false);
    let url = url(&broker);
    let args = ["decode", "--url", &url, "--topic", "up/#", "--session", "historian", "--count"];
    let first = Running::start(&[&args[..], &["2"]].concat());
    first.says("listening");
    let mut gateway = Plain::connect(broker.port(), "gateway", false);
    gateway.publish("up/normal", &golden("batch-three.bin"));
    let ended = first.end();
    assert_eq!((ended.code, ids(ended.stdout.lines()).len()), (Some(0), 2));
    gateway.publish("up/normal", &golden("batch-one.bin"));
    // The batch that was cut after two of three events comes again, whole.
    let ended = run(&[&args[..], &["4"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let whole = String::from_utf8(golden("events.json")).unwrap();
    assert!(ended.stdout.starts_with(&whole), "{}", ended.stdout);
    assert_eq!(ids(ended.stdout.lines()).len(), 4);
}

#[test]
fn shipped_models_are_listed_and_pass_inspection() {
    let ended = run(&["model", "list", "models", "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let models: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(models.len(), 5);
    let table = run(&["model", "list", "models"]);
    assert_eq!((table.code, table.stdout.as_str()), (Some(0), ""));
    for model in models {
        let id = model["model"].as_str().unwrap();
        assert!(table.stderr.contains(id), "{id}");
        // A model answers questions or marks entities.
        let asked = !model["tasks"].as_array().unwrap().is_empty();
        assert!(model["bytes"].as_u64().unwrap() > 0 && asked != model["tags"].is_object(), "{model}");
        let folder = model["folder"].as_str().unwrap();
        let ended = run(&["model", "inspect", folder, "--json"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let found: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(found["model"], id);
        assert_eq!((&found["tasks"], &found["tags"]), (&model["tasks"], &model["tags"]));
        for variant in found["variants"].as_array().unwrap() {
            let golden = &variant["golden"];
            assert!(
                golden["error_max"].as_f64().unwrap() <= golden["tolerance"].as_f64().unwrap(),
                "{variant}"
            );
            assert!(
                variant["operations"].as_u64().unwrap() > 0 && variant["parameters"].as_u64().unwrap() > 0
            );
            // One copy cannot take less than its numbers do, nor ten times what was predicted and a few pages.
            let (measured, predicted) =
                (variant["memory_measured"].as_u64().unwrap(), variant["memory_predicted"].as_u64().unwrap());
            assert!((predicted / 2..predicted * 10 + (1 << 20)).contains(&measured), "{variant}");
        }
    }
    let text = run(&["model", "inspect", "models/hydraulic-condition"]);
    assert_eq!((text.code, text.stdout.as_str()), (Some(0), ""));
    assert!(text.stderr.contains("golden") && !text.stderr.contains('\u{1b}'), "{}", text.stderr);
}

#[test]
fn a_broken_model_is_refused_with_the_reason() {
    for (folder, code, words) in [
        ("tests/golden/models/wrong-golden", 78, "differs by"),
        ("tests/golden/models/truncated", 78, "model.onnx"),
        ("tests/golden/models/absent", 74, "manifest.toml"),
    ] {
        let ended = run(&["model", "inspect", folder, "--json"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{folder}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{folder}: {}", ended.stderr);
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("odd")).unwrap();
    write(&folder.path().join("odd"), "manifest.toml", "name = 1");
    let place = folder.path().display().to_string();
    let ended = run(&["model", "list", &place]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(ended.stderr.contains("odd/manifest.toml"), "{}", ended.stderr);
    let ended = run(&["model", "list", &format!("{place}/absent")]);
    assert_eq!(ended.code, Some(74), "{}", ended.stderr);
}
