//! The figures of an evaluation: for each task the risk–coverage curve and the confusion matrix.

use std::sync::Arc;

use crate::cli::model::eval::svg::{Anchor, Svg};
use crate::cli::model::eval::tally::Tally;
use crate::infer::Manifest;
use crate::quality::{Confusion, Scored, risk_coverage};

/// Width of the drawing.
const WIDTH: f64 = 1000.0;
/// Side of the curve's frame.
const CURVE: f64 = 300.0;
/// Where the matrix begins, left of it its labels.
const MATRIX_LEFT: f64 = 620.0;
/// Its side.
const MATRIX: f64 = 330.0;
/// Room for the title.
const TITLE: f64 = 40.0;
/// Room above a figure for its name at least.
const TOP_MIN: f64 = 45.0;
/// Room below it.
const BELOW: f64 = 65.0;
/// Characters of a label that are shown.
const LABEL_CHARS: usize = 26;
/// Sizes of letters.
const LARGE: f64 = 16.0;
const SMALL: f64 = 11.0;
/// How wide a letter and a digit are at most on average, by their size.
const LETTER: f64 = 0.62;
/// Share of answers below which a risk rests on too few of them to set the scale.
const COVERAGE_MIN: f64 = 0.05;
/// Colours: axes, curve, threshold.
const INK: &str = "#333333";
const BLUE: &str = "#1f5fa8";
const RED: &str = "#b03030";

/// What is drawn of one task.
struct Figure<'a> {
    name: &'a str,
    /// What the matrix counts.
    counted: &'static str,
    labels: &'a [Arc<str>],
    threshold: f32,
    answers: &'a [Scored],
    confusion: &'a Confusion,
}

/// Draws all tasks that have labelled answers, one below the other; for entities their types where the place is right.
pub(in crate::cli::model::eval) fn plot(manifest: &Manifest, tally: &Tally) -> String {
    let tasks = manifest.tasks.iter().zip(&tally.tasks).map(|(task, tally)| Figure {
        name: &task.name,
        counted: "answers",
        labels: &task.labels,
        threshold: task.threshold,
        answers: &tally.answers,
        confusion: &tally.confusion,
    });
    let entities = tally.entities.as_ref().zip(manifest.tags.as_ref()).map(|(tally, tags)| Figure {
        name: "entities",
        counted: "entities in the right place",
        labels: &tally.types,
        threshold: tags.threshold,
        answers: &tally.answers,
        confusion: tally.all.same_place(),
    });
    let mut svg = Svg::new(WIDTH);
    svg.text((20.0, 28.0), manifest.id(), Anchor::Start, (LARGE, 0.0));
    let mut top = TITLE;
    for figure in tasks.chain(entities).filter(|figure| !figure.answers.is_empty()) {
        top += room_above(&figure);
        curve(&mut svg, top, &figure);
        matrix(&mut svg, top, &figure);
        top += MATRIX + BELOW;
    }
    svg.finish(20.0)
}

/// Room for the labels that stand upright above the matrix.
fn room_above(figure: &Figure<'_>) -> f64 {
    let (seen, _, size) = grid(figure);
    let longest = seen.iter().map(|index| label(figure.labels, *index).chars().count()).max().unwrap_or(0);
    (longest as f64 * size * LETTER + 12.0).max(TOP_MIN)
}

/// Labels that occur, side of a box, size of the letters beside it.
fn grid(figure: &Figure<'_>) -> (Vec<usize>, f64, f64) {
    let seen: Vec<usize> =
        (0..figure.confusion.labels()).filter(|label| figure.confusion.class(*label).is_seen()).collect();
    let side = MATRIX / seen.len().max(1) as f64;
    (seen, side, SMALL.min(side * 0.7).max(5.0))
}

/// A round distance between the marks of an axis, five of them at most above 0.
fn step(highest: f64) -> f64 {
    let least = highest.max(1e-3) / 5.0;
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|round| round * power)
        .find(|step| *step >= least * 0.999)
        .unwrap_or(least)
}

/// Risk over coverage, with the point the threshold chooses.
fn curve(svg: &mut Svg, top: f64, figure: &Figure<'_>) {
    let left = 70.0;
    let points = risk_coverage(figure.answers);
    let chosen = points.iter().rfind(|point| point.score >= f64::from(figure.threshold));
    let telling = points.iter().filter(|point| point.coverage >= COVERAGE_MIN).chain(chosen);
    let needed = telling.map(|point| point.risk).fold(0.05, f64::max);
    let step = step(needed);
    let marks: Vec<f64> = (0..=5_u8).map(|mark| f64::from(mark) * step).collect();
    let highest = marks.iter().copied().find(|mark| *mark >= needed * 0.999).unwrap_or(needed);
    let place = |coverage: f64, risk: f64| {
        (left + coverage * CURVE, top + CURVE * (1.0 - risk.min(highest) / highest))
    };
    let name = if figure.name.is_empty() { "label" } else { figure.name };
    svg.text((left, top - 14.0), name, Anchor::Start, (LARGE, 0.0));
    svg.line(&[(left, top), (left, top + CURVE), (left + CURVE, top + CURVE)], INK, 1.0);
    for step in 0..=4_u8 {
        let share = f64::from(step) / 4.0;
        let (x, y) = place(share, 0.0);
        svg.text((x, y + 16.0), &format!("{share:.2}"), Anchor::Middle, (SMALL, 0.0));
    }
    for mark in marks.into_iter().filter(|mark| *mark <= highest * 1.001) {
        let (x, y) = place(0.0, mark);
        svg.line(&[(x - 3.0, y), (x, y)], INK, 1.0);
        svg.text((x - 6.0, y + 4.0), &format!("{mark:.2}"), Anchor::End, (SMALL, 0.0));
    }
    let middle = left + CURVE / 2.0;
    svg.text((middle, top + CURVE + 36.0), "share of answers kept", Anchor::Middle, (SMALL, 0.0));
    svg.text((18.0, top + CURVE / 2.0), "share of them wrong", Anchor::Middle, (SMALL, -90.0));
    let line: Vec<(f64, f64)> = points.iter().map(|point| place(point.coverage, point.risk)).collect();
    svg.line(&line, BLUE, 2.0);
    if let Some(point) = chosen {
        let (x, y) = place(point.coverage, point.risk);
        svg.line(&[(x, top), (x, top + CURVE)], RED, 1.0);
        svg.area((x - 4.0, y - 4.0), (8.0, 8.0), RED);
        let words =
            format!("threshold {:.2}: {:.3} kept, {:.3} wrong", figure.threshold, point.coverage, point.risk);
        svg.text((middle, top + CURVE + 52.0), &words, Anchor::Middle, (SMALL, 0.0));
    }
}

/// One box per pair of labels that occur, darker where more; rows are the truth and add up to one.
fn matrix(svg: &mut Svg, top: f64, figure: &Figure<'_>) {
    let confusion = figure.confusion;
    let (seen, side, size) = grid(figure);
    for (row, &truth) in seen.iter().enumerate() {
        let y = top + side * row as f64;
        let support = confusion.class(truth).support;
        let name = format!("{} ({support})", label(figure.labels, truth));
        svg.text((MATRIX_LEFT - 6.0, y + side / 2.0 + size / 3.0), &name, Anchor::End, (size, 0.0));
        for (column, &predicted) in seen.iter().enumerate() {
            let x = MATRIX_LEFT + side * column as f64;
            let count = confusion.count(truth, predicted);
            let share = if support == 0 { 0.0 } else { count as f64 / support as f64 };
            let fill = shade(share, truth == predicted);
            svg.area((x, y), (side - 0.5, side - 0.5), &fill);
            if count > 0 {
                let count = count.to_string();
                let size = size.min(side * 0.9 / (count.len() as f64 * LETTER));
                let at = (x + side / 2.0, y + side / 2.0 + size / 3.0);
                svg.text(at, &count, Anchor::Middle, (size, 0.0));
            }
        }
    }
    for (column, &predicted) in seen.iter().enumerate() {
        let x = MATRIX_LEFT + side * (column as f64 + 0.5) + size / 3.0;
        svg.text((x, top - 6.0), &label(figure.labels, predicted), Anchor::Start, (size, -90.0));
    }
    let (left, right, bottom) = (MATRIX_LEFT, MATRIX_LEFT + MATRIX, top + MATRIX);
    let frame = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
    svg.line(&frame, INK, 0.5);
    let below = (MATRIX_LEFT + MATRIX / 2.0, top + MATRIX + 18.0);
    let words = format!("{}; rows: true (count), columns: answered", figure.counted);
    svg.text(below, &words, Anchor::Middle, (SMALL, 0.0));
}

fn label(labels: &[Arc<str>], index: usize) -> String {
    let label = labels.get(index).map_or("", |label| &**label);
    if label.chars().count() <= LABEL_CHARS {
        return label.to_owned();
    }
    label.chars().take(LABEL_CHARS - 1).chain(['…']).collect()
}

/// White to blue for what is right, to red for what is wrong.
fn shade(share: f64, right: bool) -> String {
    let light = 255.0 - 165.0 * share;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 90 to 255")]
    let light = light.round() as u8;
    if right { format!("#{light:02x}{light:02x}ff") } else { format!("#ff{light:02x}{light:02x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_an_axis_are_round_and_reach_its_end() {
        for (highest, wanted) in
            [(0.05, 0.01), (0.127, 0.05), (0.185, 0.05), (0.31, 0.1), (0.5, 0.1), (1.0, 0.2)]
        {
            let step = step(highest);
            assert!((step - wanted).abs() < 1e-9, "{highest}: {step}");
            assert!(step * 5.0 >= highest * 0.999, "{highest}: {step}");
        }
    }
}
