//! What `tidegate model report` is told.

use std::path::PathBuf;
use std::time::Duration;

use crate::units::parse_duration;

/// A model and where it is to run.
#[derive(clap::Args)]
pub(in crate::cli) struct ReportArgs {
    /// Folder with the model
    pub(in crate::cli::model::report) dir: PathBuf,
    /// This variant instead of the first
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli::model::report) variant: Option<String>,
    /// Time one answer may take; default: the deadline of the stream
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(in crate::cli::model::report) latency: Option<Duration>,
    /// Inputs to expect; default: windows of one source of the stream
    #[arg(long, value_name = "N/s|N/min|N/h", value_parser = per_second)]
    pub(in crate::cli::model::report) rate: Option<f64>,
    /// Configuration it is to run in: deadline, rate and what may leave are those of the stream
    #[arg(long, value_name = "FILE", requires = "stream")]
    pub(in crate::cli::model::report) config: Option<PathBuf>,
    /// Name of the stream
    #[arg(long, value_name = "NAME", requires = "config")]
    pub(in crate::cli::model::report) stream: Option<String>,
    /// Board whose budget counts; default: that of the configuration, else the one this runs on
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli::model::report) board: Option<String>,
    /// Time to measure for
    #[arg(long, value_name = "TIME", default_value = "1 s", value_parser = parse_duration)]
    pub(in crate::cli::model::report) time: Duration,
    /// JSON on stdout
    #[arg(long)]
    pub(in crate::cli::model::report) json: bool,
}

/// Reads a rate.
fn per_second(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no rate; write 10/s, 6/min or 100/h");
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    if number.is_finite() && number > 0.0 { Ok(number / seconds) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_number_and_a_unit() {
        for (text, wanted) in [("10/s", Some(10.0)), ("6 / min", Some(0.1)), ("36/h", Some(0.01))] {
            assert_eq!(per_second(text).ok(), wanted, "{text}");
        }
        for wrong in ["10", "x/s", "0/s", "-1/s", "1/week", "inf/s"] {
            assert!(per_second(wrong).is_err(), "{wrong}");
        }
    }
}
