//! Exports the features of recorded samples in tumbling windows of 60 s.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "an example that prints"
)]

use std::io::{BufWriter, stdout};
use std::time::Duration;

use anyhow::Context as _;
use tidegate::cli::features::feature_rows;
use tidegate::cli::recorded::Columns;
use tidegate::features::FeatureLayout;
use tidegate::flow::StreamId;
use tidegate::window::{FUTURE_MAX, IDLE, LATENESS, Length, SAMPLES_MAX, WindowConfig};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, features, channels @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: export_features SAMPLES.csv 'FEATURE FEATURE …' CHANNEL CHANNEL …");
    };
    let layout = FeatureLayout::resolve(&patterns(features), channels)?;
    let length = Duration::from_secs(60);
    let window = WindowConfig {
        stream: StreamId(0),
        channels: u16::try_from(channels.len())?,
        length: Length::Time { length, hop: length },
        lateness: LATENESS,
        idle: IDLE,
        future_max: FUTURE_MAX,
        period: None,
        samples_max: SAMPLES_MAX,
    };
    let file = std::fs::File::open(path).with_context(|| format!("open {path}"))?;
    let columns = Columns { time: None, channels, delimiter: b',' };
    let done = feature_rows(&layout, &window, &columns, file, BufWriter::new(stdout().lock()))?;
    eprintln!(
        "{} rows, {} windows, {} samples dropped",
        done.rows,
        done.windows,
        done.samples.dropped_total()
    );
    Ok(())
}

/// Splits at commas and blanks outside brackets.
fn patterns(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut list = vec![String::new()];
    for character in text.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (character == ',' || character.is_whitespace()) {
            list.push(String::new());
        } else if let Some(last) = list.last_mut() {
            last.push(character);
        }
    }
    list.retain(|pattern| !pattern.is_empty());
    list
}
