//! Time and memory of a graph, measured in this process on this thread.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::exit::Failure;
use crate::cli::model::cases::Cases;
use crate::cli::model::graph::Graph;
use crate::clock::{Clock, SystemClock};
use crate::infer::{Engine, VariantReport};
use crate::io::program::own_output;
use crate::io::sysfs::Sysfs;
use crate::quality::Quantiles;

/// Copies of a model that are loaded to measure one: what loading throws away is then small against what it keeps.
const COPIES_MAX: u64 = 8;

/// Memory all copies together may take.
const COPIES_BYTES_MAX: u64 = 8 << 20;

/// Runs before the first one that counts: caches and branch predictors settle within a few, clocks of the processor
/// within a tenth of a second.
const WARM_UP: Duration = Duration::from_millis(100);

/// Runs that are measured at least, however slow they are: fewer have no 99th percentile worth the name.
const RUNS_MIN: usize = 100;

/// Runs that are measured at most: 8 MB of times.
const RUNS_MAX: usize = 1_000_000;

/// Longest measurement of one shape, whatever [`RUNS_MIN`] asks for.
const LENGTH_MAX: Duration = Duration::from_mins(1);

/// How long runs took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cli::model) struct Timing {
    /// Runs measured.
    pub(in crate::cli::model) runs: usize,
    /// The fastest.
    pub(in crate::cli::model) min: u64,
    /// The median.
    pub(in crate::cli::model) p50: u64,
    /// The slowest but one in a hundred.
    pub(in crate::cli::model) p99: u64,
    /// The mean.
    pub(in crate::cli::model) mean: f64,
}

impl Timing {
    /// Of these times in nanoseconds.
    pub(in crate::cli::model) fn of(times: Vec<u64>) -> Self {
        let times = Quantiles::of(times);
        let at = |share| times.at(share).unwrap_or(0);
        Self {
            runs: times.count(),
            min: at(0.0),
            p50: at(0.5),
            p99: at(0.99),
            mean: times.mean().unwrap_or(0.0),
        }
    }

    /// Items per second, one run after the other.
    pub(in crate::cli::model) fn per_second(&self, items: usize) -> f64 {
        if self.mean > 0.0 { items as f64 * 1e9 / self.mean } else { 0.0 }
    }

    /// In microseconds, for programs.
    pub(in crate::cli::model) fn json(&self, items: usize) -> Value {
        json!({
            "runs": self.runs, "min_us": micros(self.min as f64), "p50_us": micros(self.p50 as f64),
            "p99_us": micros(self.p99 as f64), "mean_us": micros(self.mean),
            "per_second": self.per_second(items).round(),
        })
    }
}

/// Nanoseconds as microseconds with three digits after the point.
fn micros(nanos: f64) -> f64 {
    nanos.round() / 1e3
}

/// A time for people, three digits of it.
pub(in crate::cli::model) fn span(nanos: u64) -> String {
    let nanos = nanos as f64;
    let (value, unit) = match nanos {
        small if small < 1e6 => (small / 1e3, "µs"),
        middle if middle < 1e9 => (middle / 1e6, "ms"),
        large => (large / 1e9, "s"),
    };
    let digits = match value {
        small if small < 10.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// Runs something for about this long after a warm-up, and measures each run.
pub(in crate::cli::model) fn time<E>(
    length: Duration,
    run: &mut dyn FnMut(usize) -> Result<(), E>,
) -> Result<Timing, E> {
    let clock = SystemClock::start();
    let mut number = 0;
    let mut next = || {
        number += 1;
        run(number)
    };
    let warm = clock.uptime();
    next()?;
    while clock.uptime().since(warm) < WARM_UP.min(length) {
        next()?;
    }
    let mut times = Vec::with_capacity(RUNS_MAX.min(1 << 16));
    let began = clock.uptime();
    loop {
        let from = clock.uptime();
        next()?;
        let to = clock.uptime();
        times.push(u64::try_from(to.since(from).as_nanos()).unwrap_or(u64::MAX));
        let passed = to.since(began);
        let enough = passed >= length && times.len() >= RUNS_MIN;
        if enough || times.len() >= RUNS_MAX || passed >= LENGTH_MAX {
            return Ok(Timing::of(times));
        }
    }
}

/// Memory of a variant among so many that are measured. Of several each is measured by this program in a process of its
/// own: in one that has measured another, it would hide in what the allocator has kept.
pub(in crate::cli::model) fn memory_among(
    count: usize,
    dir: &Path,
    variant: &VariantReport,
    graph: &Graph<'_>,
    cases: &Cases,
) -> Result<Option<u64>, Failure> {
    if count > 1 { memory_apart(dir, &variant.name) } else { memory(graph, cases, variant.memory_bytes) }
}

fn memory_apart(dir: &Path, variant: &str) -> Result<Option<u64>, Failure> {
    let dir = dir.as_os_str();
    let arguments = ["model", "inspect", "--json", "--variant", variant, "--"].map(OsStr::new);
    let said = own_output(arguments.into_iter().chain([dir]));
    let said =
        said.map_err(|error| Failure::Io(anyhow::Error::new(error).context("measure a variant apart")))?;
    let found: Value = serde_json::from_slice(&said).map_err(|error| Failure::Bug(error.into()))?;
    Ok(found.pointer("/variants/0/memory_measured").and_then(Value::as_u64))
}

/// Memory that one copy of a graph keeps once it has run at each of its shapes, by how much this process grows;
/// `None` where the kernel does not say.
pub(in crate::cli::model) fn memory(
    graph: &Graph<'_>,
    cases: &Cases,
    predicted: u64,
) -> Result<Option<u64>, Failure> {
    let system = Sysfs::at(Path::new("/"));
    let taken = || system.process_memory().ok().and_then(|memory| memory.anonymous);
    let blocks = blocks(graph, cases);
    let used = || -> Result<Engine, Failure> {
        let mut engine = graph.load()?;
        for block in &blocks {
            block.run(&mut engine).map_err(|error| Failure::Config(error.into()))?;
        }
        Ok(engine)
    };
    // The first one fills the gaps that reading and examining left.
    let mut copies = vec![used()?];
    let before = taken();
    let count = (COPIES_BYTES_MAX / predicted.max(1)).clamp(1, COPIES_MAX);
    for _ in 0..count {
        copies.push(used()?);
    }
    let after = taken();
    drop(copies);
    Ok(before.zip(after).map(|(before, after)| after.0.saturating_sub(before.0) / count))
}

/// One block for each shape of a graph, of real numbers.
fn blocks(graph: &Graph<'_>, cases: &Cases) -> Vec<crate::cli::model::graph::Block> {
    let of = |bucket: &crate::infer::tensor::Bucket| {
        let rows = cases.of_length(bucket.length);
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).cycle().take(bucket.items).collect();
        graph.block(&rows)
    };
    graph.buckets.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_with_three_digits() {
        for (nanos, text) in [
            (0, "0.00 µs"),
            (1_234, "1.23 µs"),
            (56_789, "56.8 µs"),
            (456_789, "457 µs"),
            (1_234_567, "1.23 ms"),
            (12_345_678_900, "12.3 s"),
        ] {
            assert_eq!(span(nanos), text);
        }
    }

    #[test]
    fn a_measurement_has_at_least_a_hundred_runs_and_ends_at_a_failure() {
        let mut runs = 0;
        let timing = time(Duration::ZERO, &mut |_| {
            runs += 1;
            Ok::<_, ()>(())
        });
        assert_eq!((timing.unwrap().runs, runs), (RUNS_MIN, RUNS_MIN + 1), "one run to warm up");
        assert!(time(Duration::ZERO, &mut |run| if run > 5 { Err(()) } else { Ok(()) }).is_err());
    }
}
