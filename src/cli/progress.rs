//! How a replay goes: a bar on a terminal, a plain line now and then elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::exit::say;
use crate::runtime::{ReplayCounts, ReplayWatcher};

/// Steps of the bar.
const STEPS: u64 = 1000;

/// Between plain lines: a log stays readable.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the progress to whoever is there.
pub(in crate::cli) enum Watcher {
    /// To nobody.
    Quiet,
    /// To a terminal.
    Bar(ProgressBar),
    /// To a file or a journal.
    Lines {
        /// When the last line was written.
        last: Duration,
    },
}

impl Watcher {
    /// By what stderr is.
    pub(in crate::cli) fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { last: Duration::ZERO };
        }
        let bar = ProgressBar::new(STEPS);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self::Bar(bar)
    }

    /// Makes room for the last line.
    pub(in crate::cli) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl ReplayWatcher for Watcher {
    fn progress(&mut self, fraction: f64, counts: &ReplayCounts) {
        let seconds = counts.elapsed.as_secs_f64();
        let rate = counts.sent as f64 / seconds.max(1e-3);
        let rows =
            format!("{} rows sent, {} acknowledged, {rate:.0} rows/s", counts.sent, counts.acknowledged);
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a share of the steps of a bar"
                )]
                bar.set_position((fraction.clamp(0.0, 1.0) * STEPS as f64) as u64);
                bar.set_message(rows);
            }
            Self::Lines { last } => {
                if counts.elapsed.saturating_sub(*last) >= LINE_EVERY {
                    *last = counts.elapsed;
                    say(&format!("{:.0} %  {rows}", fraction * 100.0));
                }
            }
        }
    }

    fn note(&mut self, line: &str) {
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => bar.suspend(|| say(line)),
            Self::Lines { .. } => say(line),
        }
    }
}
