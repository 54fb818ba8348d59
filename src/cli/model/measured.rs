//! Writes into a manifest what its variants cost, as measured just now.

use std::fmt::Write as _;
use std::path::Path;

use crate::cli::exit::{Failure, say};
use crate::cli::model::folder::{MANIFEST, admit};
use crate::infer::VariantReport;
use crate::io::files::{read_text, write_file};

/// The lines this writes, after the one they belong behind.
const BEHIND: &str = "memory_bytes =";
const WRITTEN: [&str; 2] = ["memory_measured =", "load_peak ="];

/// Examines a model and writes what was measured into its manifest. Everything else stays as it is, comments too.
pub(in crate::cli::model) fn write_measured(dir: &Path) -> Result<(), Failure> {
    let admitted = admit(dir)?;
    let path = dir.join(MANIFEST);
    let text = read_text(&path).map_err(|error| Failure::Io(error.into()))?;
    let new = with_measured(&text, &admitted.report().variants);
    let Some(new) = new else {
        let why = "nothing was measured, or a variant has no memory_bytes on a line of its own";
        return Err(Failure::Config(anyhow::anyhow!("{}: {why}", path.display())));
    };
    if new != text {
        write_file(&path, new.as_bytes()).map_err(|error| Failure::Io(error.into()))?;
    }
    say(&format!("wrote {}", path.display()));
    Ok(())
}

/// The manifest with what was measured of each variant, in their order; `None` where it does not fit.
pub(in crate::cli::model) fn with_measured(text: &str, variants: &[VariantReport]) -> Option<String> {
    let mut left = variants.iter();
    let mut out = String::new();
    for line in text.lines() {
        if WRITTEN.iter().any(|key| line.starts_with(key)) {
            continue;
        }
        out.push_str(line);
        out.push('\n');
        if line.starts_with(BEHIND) {
            let report = left.next().filter(|report| report.memory_measured > 0)?;
            for (key, value) in WRITTEN.into_iter().zip([report.memory_measured, report.load_peak]) {
                // Writing to a string cannot fail.
                writeln!(out, "{key} {value}").ok();
            }
        }
    }
    left.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::Digest;

    fn report(memory_measured: u64, load_peak: u64) -> VariantReport {
        VariantReport {
            name: "fp32".to_owned(),
            sha256: Digest::of(&[]),
            parameters: 1,
            operations: 1,
            memory_bytes: 1,
            memory_measured,
            load_peak,
            spent_nanos: 1,
            batches: vec![1],
            golden_cases: 1,
            golden_error_max: 0.0,
        }
    }

    #[test]
    fn what_was_measured_stands_behind_the_prediction_once_however_often_it_is_written() {
        let text =
            "# by hand\n[[variants]]\nmemory_bytes = 7\noperations = 2\n[[variants]]\nmemory_bytes = 5\n";
        let once = with_measured(text, &[report(10, 20), report(30, 40)]).unwrap();
        let wanted = "# by hand\n[[variants]]\nmemory_bytes = 7\nmemory_measured = 10\nload_peak = 20\noperations = 2\n\
                      [[variants]]\nmemory_bytes = 5\nmemory_measured = 30\nload_peak = 40\n";
        assert_eq!(once, wanted);
        assert_eq!(with_measured(&once, &[report(10, 20), report(30, 40)]).as_deref(), Some(wanted));
        assert_eq!(with_measured(text, &[report(10, 20)]), None, "a variant without a figure");
        assert_eq!(with_measured(text, &[report(0, 0), report(0, 0)]), None, "nobody counts");
    }
}
