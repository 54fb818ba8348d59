//! Every shipped board file loads, is built in, and stands in the table of the README.

#![expect(clippy::unwrap_used, reason = "a folder that cannot be read fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tidegate::board::{Profile, builtin};

/// Name and text of every file in `boards/`.
fn files() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let boards = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    boards
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

#[test]
fn every_board_file_is_valid_and_named_as_its_board() {
    let files = files();
    assert!(files.len() >= 3, "{:?}", files.keys());
    for (name, text) in &files {
        match Profile::parse(text) {
            Ok(profile) => assert_eq!(&profile.name, name),
            Err(faults) => panic!("{name}: {faults:#?}"),
        }
    }
}

#[test]
fn every_board_file_is_built_in() {
    let built_in: BTreeMap<String, String> =
        builtin().into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    assert_eq!(built_in, files());
}

#[test]
fn every_board_file_is_in_the_readme() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    for name in files().keys() {
        assert!(readme.contains(&format!("| `{name}.toml` |")), "{name}");
    }
}

#[test]
fn every_value_of_a_board_says_where_it_comes_from() {
    for (name, text) in files() {
        let mut explained = false;
        for line in text.lines().skip_while(|line| !line.starts_with('[')) {
            let line = line.trim();
            explained = line.starts_with('#') || (explained && !line.is_empty() && !line.starts_with('['));
            assert!(explained || !line.contains(" = "), "{name}: {line}");
        }
    }
}

#[test]
fn no_two_boards_claim_the_same_sign() {
    let mut claimed = BTreeMap::new();
    for (name, text) in files() {
        let recognise = Profile::parse(&text).unwrap().recognise;
        let signs = recognise.compatible.into_iter().chain(recognise.dmi).chain(recognise.arch);
        for sign in signs {
            if let Some(other) = claimed.insert(sign.clone(), name.clone()) {
                panic!("{sign}: {other} and {name}");
            }
        }
    }
}
