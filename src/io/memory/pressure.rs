//! Pressure stall information (PSI): how much of the time tasks waited for memory.

use std::path::Path;

use crate::io::memory::kernel_file::text;
use crate::units::Ratio;

/// Share of the last ten seconds in which some task of the system waited for memory.
pub(crate) fn of_the_system(root: &Path) -> Option<Ratio> {
    some_avg10(&root.join("proc/pressure/memory"))
}

/// The same from any file of this form: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, in per cent.
pub(crate) fn some_avg10(path: &Path) -> Option<Ratio> {
    let text = text(path)?;
    let words = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent: f32 = words.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
    Ratio::new(percent / 100.0)
}
