//! Manifests and golden files that are wrong, long, deep or point elsewhere, around a good graph.

use std::fs;

use crate::folder::Folder;
use crate::{SECONDS, graphs, refusal_of};

/// Refusals of the good folder after a change of its manifest.
fn with_manifest(change: impl Fn(&str) -> Vec<u8>) -> String {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("changed");
    let folder = Folder::pair("changed", graphs::dense());
    folder.write(&dir);
    fs::write(dir.join("manifest.toml"), change(&folder.manifest())).unwrap();
    refusal_of(&dir, SECONDS)
}

fn replaced(from: &str, to: &str) -> String {
    with_manifest(|text| {
        assert!(text.contains(from), "{from} is not there");
        text.replacen(from, to, 1).into_bytes()
    })
}

#[test]
fn hostile_manifests_are_refused_by_name_before_a_graph_is_read() {
    assert_eq!(with_manifest(|text| text.as_bytes().to_vec()), "");
    let long = "\"a.f\",".repeat(30_000);
    for (said, why) in [
        (replaced("file = \"model.onnx\"", "file = \"../../../etc/passwd\""), "file"),
        (replaced("file = \"model.onnx\"", "file = \"/etc/passwd\""), "file"),
        (replaced("file = \"model.onnx\"", "file = \".\""), "file"),
        (replaced("file = \"model.onnx\"", "file = \"\""), "file"),
        (replaced("file = \"golden.json\"", "file = \"sub/golden.json\""), "file"),
        (replaced("sha256 = \"", "sha256 = \"zz"), "sha256"),
        (replaced("std = [1.0, 1.0]", "std = [0.0, 1.0]"), "std"),
        (replaced("std = [1.0, 1.0]", "std = [nan, 1.0]"), "std"),
        (replaced("mean = [0.0, 0.0]", "mean = [inf, 0.0]"), "mean"),
        (replaced("mean = [0.0, 0.0]", "mean = [0.0]"), "mean"),
        (replaced("\"a.f0\", \"a.f1\"", "\"a.f0\", \"a.f0\""), "features"),
        (replaced("labels = [\"l0\", \"l1\"]", "labels = [\"l0\", \"l0\"]"), "labels"),
        (replaced("labels = [\"l0\", \"l1\"]", "labels = []"), "labels"),
        (replaced("tolerance = 1e-4", "tolerance = nan"), "tolerance"),
        (replaced("tolerance = 1e-4", "tolerance = 1e300"), "tolerance"),
        (replaced("threshold = 0.5", "threshold = 0.5\nunknown = 1"), "unknown"),
        (with_manifest(|_| Vec::new()), "manifest"),
        (with_manifest(|_| vec![0xff; 100]), "UTF-8"),
        (with_manifest(|_| vec![b'['; 100_000]), "manifest"),
        (with_manifest(|_| format!("x = {}", "[".repeat(100_000)).into_bytes()), "manifest"),
        (with_manifest(|_| format!("x{} = 1", ".a".repeat(50_000)).into_bytes()), "manifest"),
        (with_manifest(|text| format!("{text}{}", "#".repeat(300 << 10)).into_bytes()), "manifest"),
        (with_manifest(|text| text.replacen("\"a.f0\",", &long, 1).into_bytes()), "features"),
    ] {
        assert!(said.contains(why) && said.contains("changed"), "{said:?} does not name {why}");
    }
}

#[test]
fn hostile_golden_files_are_refused_by_name() {
    let case = r#"{"input":[0.5,-0.25],"outputs":{"y":[0.5,-0.25]}}"#;
    let many = format!("{{\"cases\":[{}]}}", vec![case; 1001].join(","));
    let long =
        format!("{{\"cases\":[{{\"input\":[{}0],\"outputs\":{{\"y\":[0,0]}}}}]}}", "0,".repeat(1_000_000));
    for (golden, why) in [
        ("", "EOF"),
        ("{}", "cases"),
        ("[]", "golden.json"),
        (&"[".repeat(1_000_000), "golden.json"),
        (&format!("{{\"cases\":{}", "[".repeat(1_000_000)), "golden.json"),
        (&many, "1001 cases, allowed are 1 to 1000"),
        (&long, "case 0 has 1000001 inputs"),
        (r#"{"cases":[{"input":[],"outputs":{"y":[0,0]}}]}"#, "case 0 has 0 inputs"),
        (r#"{"cases":[{"input":[0.5,-0.25],"outputs":{}}]}"#, "case 0 has 0 values of y"),
        (r#"{"cases":[{"input":[0.5,-0.25],"outputs":{"z":[0,0]}}]}"#, "case 0 has 0 values of y"),
        (r#"{"cases":[{"input":["0.5",-0.25],"outputs":{"y":[0,0]}}]}"#, "invalid type"),
        (r#"{"cases":[{"input":[0.5,-0.25],"outputs":{"y":[-0.25,0.5]}}]}"#, "case 0: y differs by 0.75"),
        (r#"{"cases":[{"input":[1e308,0],"outputs":{"y":[0,0]}}]}"#, "case 0"),
        (r#"{"cases":[{"input":[0.5,-0.25],"outputs":{"y":[0.5,-0.25]},"extra":1}]}"#, "unknown field"),
        ("{\"cases\":[{\"input\":[0.5,-0.25],\"outputs\":{\"y\":[0.5,-0.25]}}]}\0", "trailing"),
    ] {
        let said = crate::refusal(&Folder::pair("hostile-golden", graphs::dense()).golden(golden));
        assert!(said.contains(why) && said.contains("hostile-golden"), "{said:?} does not say {why:?}");
    }
}
