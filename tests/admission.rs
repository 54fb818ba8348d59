//! Hostile models are refused by the admission child with a clear error, and the parent lives.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tidegate::infer::tensor::{Bucket, Dtype, InputPort, OutputPort, Spec, Width};
use tidegate::infer::{Draft, Footprint, ModelInput};
use tidegate::io::admission::{Admission, AdmitError, Admitted};
use tidegate::units::Bytes;

#[path = "support/onnx.rs"]
#[expect(dead_code, reason = "its other half is for hostile graphs")]
mod onnx;

use onnx::{Dim, F32, floats, graph, model, node, port};

/// Enough for every small model, far too little for the hostile ones.
const MEMORY: Bytes = Bytes(256 << 20);

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(name)
}

fn admission() -> Admission {
    Admission { program: env!("CARGO_BIN_EXE_tidegate").into(), memory: MEMORY, seconds: 20 }
}

#[expect(clippy::disallowed_methods, reason = "real processes take real time")]
fn now() -> Instant {
    Instant::now()
}

/// A program of our own in place of the child.
///
/// A shell writes it: a file this process has open for writing may be inherited by a child another test is just
/// starting, and then it cannot be run.
fn impostor(folder: &Path, script: &str) -> PathBuf {
    let program = folder.join("impostor");
    let text = format!("#!/bin/sh\n{script}\n");
    let write = ["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", &text];
    assert!(Command::new("sh").args(write).arg(&program).status().unwrap().success());
    program
}

/// A copy of the good model that may be damaged.
fn copy_of_the_good_one(folder: &Path) {
    for file in ["manifest.toml", "model.onnx", "golden.json"] {
        fs::copy(golden("dense-pair").join(file), folder.join(file)).unwrap();
    }
}

fn refused(admitted: Result<Admitted, AdmitError>) -> String {
    let Err(error) = admitted else { panic!("was admitted") };
    error.to_string()
}

#[test]
fn good_models_of_every_input_type_are_admitted_and_run_from_the_examined_bytes() {
    for name in ["dense-pair", "bytes-in", "signed-bytes-in", "with-index", "echo", "embedding"] {
        let admitted = admission().admit(&golden(name)).unwrap();
        assert_eq!(admitted.report().model, format!("{name}@1.0.0"));
        let (_, variant) = admitted.variant(None).unwrap();
        assert!(variant.golden_error_max < 1e-5, "{name}: {variant:?}");
        let mut model = admitted.load(Some("fp32")).unwrap().unwrap();
        assert!(admitted.load(Some("int8")).unwrap().is_none());
        let length = model.manifest().input.lengths()[0];
        let (values, ids) = (vec![0.5; length], vec![1; length]);
        let features = ModelInput::Features { values: &values, completeness: None };
        let input =
            if name == "embedding" { ModelInput::Words { ids: &ids, known_share: None } } else { features };
        assert!(model.judge(&input, &mut || false).is_ok(), "{name}");
    }
}

#[test]
fn hostile_models_are_refused_by_name_and_the_parent_lives() {
    for (name, why) in [
        ("deep-dimension", "model.onnx takes 28000 bytes in one name or text, allowed are 1024"),
        ("truncated", "model.onnx cannot be used"),
        ("wrong-golden", "case 0: wear differs by 0.01"),
        ("huge-constant", "failed to allocate"),
        ("external-weights", "no model path was specified"),
        ("looks-at-padding", "case 1 with words of padding behind it: class differs by"),
    ] {
        let started = now();
        let why_not = refused(admission().admit(&golden(name)));
        assert!(why_not.contains(why), "{name}: {why_not:?} does not contain {why:?}");
        assert!(why_not.contains(name), "{why_not:?} does not name the model");
        assert!(started.elapsed() < Duration::from_secs(20), "{name} took {:?}", started.elapsed());
    }
}

#[test]
fn a_tagger_is_admitted_with_the_files_beside_it_and_not_without() {
    let admitted = admission().admit(&golden("tagger")).unwrap();
    for file in ["vocabulary.json", "known.bin"] {
        assert_eq!(admitted.file(file).unwrap(), fs::read(golden("tagger").join(file)).unwrap());
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(golden("tagger")).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        fs::write(folder.path().join(file), "{}").unwrap();
        let why = refused(admission().admit(folder.path()));
        assert!(why.contains(&format!("{file} has digest")), "{why}");
        fs::remove_file(folder.path().join(file)).unwrap();
        let why = refused(admission().admit(folder.path()));
        assert!(why.contains(&format!("/{file}: correct")), "{why}");
    }
    let mut model = admitted.load(None).unwrap().unwrap();
    let row = |words: usize| vec![1_i64; words * 4];
    let rows: Vec<_> = [1, 4, 5, 8].map(row).into();
    let inputs: Vec<_> = rows.iter().map(|ids| ModelInput::Words { ids, known_share: None }).collect();
    let tagged = model.tag_batch(&inputs, &mut |_| false);
    let lengths: Vec<usize> = tagged.iter().map(|logits| logits.as_ref().unwrap().len()).collect();
    assert_eq!(lengths, [5, 20, 25, 40], "five numbers for each word and none for padding");
}

#[test]
fn a_damaged_file_is_refused_by_its_digest_before_a_child_is_started() {
    let folder = tempfile::tempdir().unwrap();
    copy_of_the_good_one(folder.path());
    let mut bytes = fs::read(folder.path().join("model.onnx")).unwrap();
    bytes[100] ^= 0x10;
    fs::write(folder.path().join("model.onnx"), bytes).unwrap();
    let nobody = Admission { program: "/nonexistent".into(), ..admission() };
    let why = refused(nobody.admit(folder.path()));
    assert!(why.contains("model.onnx has digest") && why.contains("copy the model again"), "{why}");
}

#[test]
fn files_that_are_missing_or_too_long_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let why = refused(admission().admit(folder.path()));
    assert!(why.contains("/manifest.toml: correct"), "{why}");
    copy_of_the_good_one(folder.path());
    fs::remove_file(folder.path().join("golden.json")).unwrap();
    let why = refused(admission().admit(folder.path()));
    assert!(why.contains("/golden.json: correct"), "{why}");
    fs::File::create(folder.path().join("golden.json")).unwrap().set_len(1 << 40).unwrap();
    let why = refused(admission().admit(folder.path()));
    assert!(why.contains("/golden.json: correct"), "{why}");
    fs::write(folder.path().join("manifest.toml"), "name = 1").unwrap();
    let why = refused(admission().admit(folder.path()));
    assert!(why.contains("manifest.toml"), "{why}");
}

#[test]
fn a_child_that_hangs_dies_babbles_or_lies_is_refused() {
    let report = "{\\\"report\\\":{\\\"model\\\":\\\"dense-pair@1.0.0\\\"}}";
    for (script, why) in [
        ("exec sleep 30", "was stopped after 1 s while it was to start"),
        (
            "echo '{\"step\":\"parse model.onnx\"}'; exec sleep 30",
            "was stopped after 1 s while it was to parse",
        ),
        ("kill -9 $$", "used up its processor time while it was to start"),
        ("kill -11 $$", "was killed by signal 11 while it was to start"),
        (
            "echo \"thread 'main' has overflowed its stack\" >&2; kill -6 $$",
            "overflowed its stack while it was to start",
        ),
        (
            "echo 'memory allocation of 9 bytes failed' >&2; kill -6 $$",
            "ran out of the memory it may take while it was to start",
        ),
        ("exit 3", "ended with exit code 3 and no report"),
        ("exec 1>&-; exec sleep 30", "the admission child"),
        ("yes '{\"step\":\"x\"}' 2>/dev/null", "the admission child"),
        (&format!("echo \"{report}\""), "and no report"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let program = impostor(folder.path(), script);
        let started = now();
        let found = refused(Admission { program, seconds: 1, ..admission() }.admit(&golden("dense-pair")));
        assert!(found.contains(why), "{script}: {found:?} does not contain {why:?}");
        assert!(started.elapsed() < Duration::from_secs(10), "{script} took {:?}", started.elapsed());
    }
    let none = Admission { program: "/nonexistent".into(), ..admission() };
    assert!(matches!(none.admit(&golden("dense-pair")), Err(AdmitError::Start { .. })));
}

#[test]
fn a_child_that_examined_other_files_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    copy_of_the_good_one(folder.path());
    // Between the parent's reading and the child's, the folder is swapped for another good model.
    let (other, child) = (golden("echo"), env!("CARGO_BIN_EXE_tidegate"));
    let (other, memory) = (other.display(), MEMORY.0);
    let script = format!("exec {child} admit --dir {other} --memory {memory} --seconds 5");
    let program = impostor(folder.path(), &script);
    let swapped = Admission { program, ..admission() }.admit(folder.path());
    assert!(matches!(swapped, Err(AdmitError::Changed { .. })));
}

#[test]
fn a_folder_with_a_pipe_in_place_of_a_file_does_not_hold_anybody_up() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("mkfifo").arg(folder.path().join("manifest.toml")).status().unwrap();
    assert!(made.success());
    assert!(refused(admission().admit(folder.path())).contains("/manifest.toml: correct"));
}

#[test]
fn the_child_gets_no_environment_and_no_more_memory_than_it_may_take() {
    let folder = tempfile::tempdir().unwrap();
    let program = impostor(folder.path(), "test -z \"$HOME$CARGO_MANIFEST_DIR\" || exit 9; exit 8");
    let found = refused(Admission { program, ..admission() }.admit(&golden("dense-pair")));
    assert!(found.contains("exit code 8"), "{found}");
    let poor = Admission { memory: Bytes(64 << 10), ..admission() };
    let found = refused(poor.admit(&golden("dense-pair")));
    assert!(found.contains("ran out of the memory it may take while it was to"), "{found}");
}

#[test]
fn the_child_limits_itself_before_it_reads_anything() {
    // Its first word finds the pipe full, so it stands still after it has set its limits.
    let (_unread, mut full) = std::io::pipe().unwrap();
    full.write_all(&vec![b' '; 64 << 10]).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["admit", "--dir", "/nonexistent", "--memory", "1048576", "--seconds", "7"])
        .stdout(full)
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    let started = now();
    let text = loop {
        let text = fs::read_to_string(&limits).unwrap();
        let memory = text.lines().find(|line| line.starts_with("Max address space")).unwrap_or_default();
        if !memory.contains("unlimited") || started.elapsed() > Duration::from_secs(10) {
            break text;
        }
        std::thread::yield_now();
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let soft_and_hard = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..]
            .split_whitespace()
            .take(2)
            .map(|word| word.parse().ok())
            .collect::<Vec<Option<u64>>>()
    };
    assert_eq!(soft_and_hard("Max core file size"), [Some(0); 2]);
    assert_eq!(soft_and_hard("Max cpu time"), [Some(7); 2]);
    assert_eq!(soft_and_hard("Max open files"), [Some(16); 2]);
    assert!(soft_and_hard("Max address space")[0].is_some_and(|bytes| bytes > 1 << 20));
}

/// What a choice between two products costs: of a row of four with a matrix of this width and back, or with none.
fn footprint_of_a_choice(then_width: u16, else_width: u16) -> Footprint {
    let row = [Dim::Fixed(1), Dim::Fixed(4)];
    let branch = |width: u16, name: &str| {
        let (wide, back, there) = (format!("{name}-wide"), format!("{name}-back"), format!("{name}-there"));
        let weights = |name: &str, dims: [u16; 2]| {
            let dims = dims.map(i64::from);
            floats(name, &dims, &vec![0.5; usize::from(width) * 4])
        };
        let nodes = [
            node("MatMul", &format!("features {wide}"), &there),
            node("MatMul", &format!("{there} {back}"), name),
        ];
        let constants = [weights(&wide, [4, width]), weights(&back, [width, 4])];
        graph(&[], &[port(name, F32, &row)], &nodes, &constants)
    };
    let nodes = [
        node("ReduceSum", "features", "sum").attribute_int("keepdims", 0),
        node("Greater", "sum half", "is_busy"),
        node("If", "is_busy", "y")
            .attribute_graph("then_branch", branch(then_width, "long"))
            .attribute_graph("else_branch", branch(else_width, "short")),
    ];
    let bytes = model(graph(
        &[port("features", F32, &row)],
        &[port("y", F32, &row)],
        &nodes,
        &[floats("half", &[], &[0.5])],
    ));
    let input = InputPort { name: "features".into(), dtype: Dtype::F32 };
    let output = OutputPort { name: "y".into(), width: Width::Fixed(4), dtype: Dtype::F32 };
    let spec = Spec { inputs: vec![input], outputs: vec![output] };
    Draft::parse(&spec, &bytes).unwrap().footprint(Bucket { items: 1, length: 4 }).unwrap()
}

#[test]
fn of_the_branches_of_a_graph_the_costliest_counts_and_the_weights_of_both() {
    let (base, wide) = (footprint_of_a_choice(8, 8), footprint_of_a_choice(1_000, 8));
    assert_eq!(wide, footprint_of_a_choice(8, 1_000), "whichever it is");
    assert_eq!(wide.operations - base.operations, 2 * 4 * (1_000 - 8));
    assert_eq!(wide.parameters - base.parameters, 2 * 4 * (1_000 - 8));
    assert!(wide.scratch_bytes >= base.scratch_bytes + 4 * (1_000 - 8), "{wide:?} {base:?}");
}
