//! Models that are admitted and fail on some inputs: quarantine, and the others go on.

use tidegate::flow::FailureReason;
use tidegate::infer::{Digest, ModelInput, ModelState, Registry};
use tidegate::io::admission::{Admission, Admitted};

use crate::folder::{Folder, middle};
use crate::onnx::{Dim, F32, I64, Message, floats, graph, integers, model, node, port};
use crate::{MEMORY, SECONDS};

/// A graph of one feature, `f`, as a number and as the whole number `i`, with an output of two.
fn of_one(nodes: &[Message], constants: &[Message]) -> Vec<u8> {
    let ports = |width| [Dim::Named("N"), Dim::Fixed(width)];
    let mut all = vec![node("Cast", "features", "i").attribute_int("to", I64.cast_signed())];
    all.extend_from_slice(nodes);
    model(graph(&[port("features", F32, &ports(1))], &[port("y", F32, &ports(2))], &all, constants))
}

/// What two whole numbers become: `w` as numbers, twice.
fn twice(nodes: &[Message], constants: &[Message]) -> Vec<u8> {
    let tail =
        [node("Cast", "w", "f").attribute_int("to", 1), node("Concat", "f f", "y").attribute_int("axis", 1)];
    of_one(&[nodes, &tail].concat(), constants)
}

/// Name, graph, an input with its output, an input it fails on, and how.
type Failing = (&'static str, Vec<u8>, (f32, [f32; 2]), f32, FailureReason);

fn models() -> Vec<Failing> {
    let table = || floats("table", &[4, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    let flat = || integers("flat", &[1], &[-1]);
    let seven = || integers("seven", &[1], &[7]);
    let gather = [node("Reshape", "i flat", "row"), node("Gather", "table row", "y")];
    let log = [node("Log", "features", "l"), node("Concat", "l l", "y").attribute_int("axis", 1)];
    let root = [node("Sqrt", "features", "l"), node("Concat", "l l", "y").attribute_int("axis", 1)];
    let inverse = [node("Reciprocal", "features", "l"), node("Concat", "l l", "y").attribute_int("axis", 1)];
    let power = [node("Exp", "features", "l"), node("Concat", "l l", "y").attribute_int("axis", 1)];
    let elements = [
        node("GatherElements", "table i", "l").attribute_int("axis", 1),
        node("Concat", "l l", "y").attribute_int("axis", 1),
    ];
    vec![
        (
            "gather-beyond",
            of_one(&gather, &[table(), flat()]),
            (2.0, [4.0, 5.0]),
            99.0,
            FailureReason::Panicked,
        ),
        (
            "gather-far-below",
            of_one(&gather, &[table(), flat()]),
            (1.0, [2.0, 3.0]),
            -99.0,
            FailureReason::Panicked,
        ),
        (
            "divide-by-input",
            twice(&[node("Div", "seven i", "w")], &[seven()]),
            (7.0, [1.0; 2]),
            0.0,
            FailureReason::Errored,
        ),
        (
            "remainder-by-input",
            twice(&[node("Mod", "seven i", "w")], &[seven()]),
            (4.0, [3.0; 2]),
            0.0,
            FailureReason::Panicked,
        ),
        (
            "elements-beyond",
            of_one(&elements, &[floats("table", &[1, 4], &[0.0, 1.0, 2.0, 3.0])]),
            (2.0, [2.0; 2]),
            50.0,
            FailureReason::Errored,
        ),
        ("logarithm", of_one(&log, &[]), (1.0, [0.0; 2]), -1.0, FailureReason::NonFinite),
        ("logarithm-of-zero", of_one(&log, &[]), (1.0, [0.0; 2]), 0.0, FailureReason::NonFinite),
        ("root", of_one(&root, &[]), (4.0, [2.0; 2]), -1.0, FailureReason::NonFinite),
        ("inverse", of_one(&inverse, &[]), (2.0, [0.5; 2]), 0.0, FailureReason::NonFinite),
        ("power", of_one(&power, &[]), (0.0, [1.0; 2]), 900.0, FailureReason::NonFinite),
    ]
}

fn admit(name: &str, graph: Vec<u8>, (input, output): (f32, [f32; 2])) -> Admitted {
    let golden = format!("{{\"cases\":[{{\"input\":[{input}],\"outputs\":{{\"y\":{output:?}}}}}]}}");
    // Without the clip an input reaches the graph as it is.
    let middle = middle(1, 2).replace("[[tasks]]", "clip = 1000.0\n[[tasks]]");
    let folder = Folder::pair(name, graph).golden(&golden).middle(middle);
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(name);
    folder.write(&dir);
    let program = env!("CARGO_BIN_EXE_tidegate").into();
    let admitted = Admission { program, memory: MEMORY, seconds: SECONDS }.admit(&dir);
    admitted.unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn models_that_fail_on_some_inputs_are_set_aside_and_the_others_go_on() {
    let mut registry = Registry::new();
    let mut ids = Vec::new();
    for (name, graph, good, bad, how) in models() {
        let loaded = admit(name, graph, good).load(None).unwrap().unwrap();
        let id = registry.add(loaded, Digest::of(name.as_bytes()), 0).unwrap();
        ids.push((name, id, good.0, bad, how));
    }
    let ask = |registry: &mut Registry, id, value: f32| {
        let input = ModelInput::Features { values: &[value], completeness: Some(1.0) };
        registry.judge(id, &[input], &mut |_| false).remove(0)
    };
    for (index, &(name, id, good, bad, how)) in ids.iter().enumerate() {
        assert!(ask(&mut registry, id, good).is_ok(), "{name}");
        assert_eq!(ask(&mut registry, id, bad).err(), Some(how), "{name}");
        assert_eq!(ask(&mut registry, id, good).err(), Some(FailureReason::Quarantined), "{name}");
        for (later, id, good, ..) in &ids[index + 1..] {
            assert!(ask(&mut registry, *id, *good).is_ok(), "{later} after {name}");
        }
    }
    let states: Vec<_> = registry.status().map(|status| status.state).collect();
    let expected: Vec<_> = ids.iter().map(|(.., how)| ModelState::Quarantined(*how)).collect();
    assert_eq!(states, expected);
}
