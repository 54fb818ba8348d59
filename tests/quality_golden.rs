//! The figures of quality are those of scikit-learn (`tests/golden/quality.py`).

#![expect(clippy::unwrap_used, reason = "a test")]

use serde_json::Value;
use tidegate::quality::{
    Confusion, ECE_BINS, Entity, EntityCounts, Scored, calibration_error, coverage_at, risk_coverage,
};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/quality.json")).unwrap()
}

fn near(found: f64, wanted: &Value) {
    let wanted = wanted.as_f64().unwrap();
    assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

#[test]
fn classes_have_the_figures_of_scikit_learn() {
    let golden = &golden()["classes"];
    let mut confusion = Confusion::new(number(&golden["labels"]));
    for (truth, answer) in
        golden["truth"].as_array().unwrap().iter().zip(golden["answer"].as_array().unwrap())
    {
        confusion.add(number(truth), number(answer));
    }
    near(confusion.accuracy().unwrap(), &golden["accuracy"]);
    near(confusion.macro_f1().unwrap(), &golden["macro_f1"]);
    for (truth, row) in golden["confusion"].as_array().unwrap().iter().enumerate() {
        for (predicted, count) in row.as_array().unwrap().iter().enumerate() {
            assert_eq!(confusion.count(truth, predicted), count.as_u64().unwrap());
        }
    }
    for wanted in golden["classes"].as_array().unwrap() {
        let class = confusion.class(number(&wanted["label"]));
        near(class.precision(), &wanted["precision"]);
        near(class.recall(), &wanted["recall"]);
        near(class.f1(), &wanted["f1"]);
        assert_eq!(class.support, wanted["support"].as_u64().unwrap());
    }
}

#[test]
fn scores_have_the_calibration_error_and_coverage_of_scikit_learn() {
    let golden = &golden()["scores"];
    let pairs = golden["score"].as_array().unwrap().iter().zip(golden["right"].as_array().unwrap());
    let answers: Vec<Scored> = pairs
        .map(|(score, right)| Scored { score: score.as_f64().unwrap(), right: right.as_bool().unwrap() })
        .collect();
    near(calibration_error(&answers, ECE_BINS).unwrap(), &golden["ece"]);
    let curve = risk_coverage(&answers);
    near(coverage_at(&curve, golden["precision"].as_f64().unwrap()), &golden["coverage"]);
}

#[test]
fn entities_have_the_f1_of_scikit_learn() {
    let golden = &golden()["entities"];
    let entities = |list: &Value| -> Vec<Entity> {
        let of = |entity: &Value| Entity {
            kind: number(&entity[0]),
            start: number(&entity[1]),
            end: number(&entity[2]),
        };
        list.as_array().unwrap().iter().map(of).collect()
    };
    let mut counts = EntityCounts::new(number(&golden["types"]));
    for text in golden["texts"].as_array().unwrap() {
        counts.add(&entities(&text["truth"]), &entities(&text["found"]));
    }
    near(counts.all().f1(), &golden["micro_f1"]);
    for (kind, wanted) in golden["f1"].as_array().unwrap().iter().enumerate() {
        near(counts.class(kind).f1(), wanted);
    }
}
