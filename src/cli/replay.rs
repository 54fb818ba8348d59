//! `tidegate replay`: recorded plant data to a broker.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;

use crate::cli::broker::{BrokerArgs, passing_id};
use crate::cli::exit::{Failure, print, say};
use crate::cli::progress::Watcher;
use crate::io::mqtt::{Address, Fault, Qos};
use crate::io::recording::{RecordingError, RecordingFormat};
use crate::runtime::{ReplayCounts, ReplayError, ReplayPlan, Speed, replay as play};

/// Rows under way without an acknowledgement. Brokers usually allow fewer: Mosquitto 20, EMQX 32.
const IN_FLIGHT: u16 = 512;

/// Plays recorded data to a broker.
#[derive(clap::Args)]
pub(in crate::cli) struct ReplayArgs {
    /// Recordings, played one after the other
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[arg(long, help = "Broker, as mqtt://host:1883 or mqtts://host:8883")]
    url: Address,
    /// Topic to publish to
    #[arg(long)]
    topic: String,
    /// How the files are written; by default what their ending says
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What separates the cells of CSV: one ASCII character, or \t [default: , and for .tsv a tab]
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// Column of CSV or key of JSON with the time of a row
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// How many times faster than it was recorded, or max: as fast as the broker takes it
    #[arg(long, value_name = "X|max", default_value = "1", value_parser = speed)]
    speed: Speed,
    /// Begin again at the end, until stopped; the times in the rows stay as they are
    #[arg(long = "loop")]
    repeat: bool,
    /// Quality of service; 1 waits for acknowledgements and loses nothing
    #[arg(long, default_value = "1", value_parser = qos)]
    qos: Qos,
    /// A summary as JSON on stdout
    #[arg(long)]
    json: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
    Nmea,
}

/// Plays the recordings.
pub(in crate::cli) fn replay(args: ReplayArgs) -> Result<(), Failure> {
    if args.topic.is_empty() || args.topic.contains(['+', '#', '\0']) {
        return Err(usage(format!(
            "--topic {:?} is not a topic: it must not be empty nor hold + or #",
            args.topic
        )));
    }
    let mut files = Vec::new();
    for path in &args.files {
        files.push((path.clone(), format_of(path, &args)?));
    }
    let mut endpoint = args.broker.endpoint(args.url, &passing_id("replay"))?;
    endpoint.clean_start = true;
    endpoint.session_expiry = Duration::ZERO;
    endpoint.in_flight = IN_FLIGHT;
    let (topic, qos, speed, repeat) = (args.topic, args.qos, args.speed, args.repeat);
    let plan = ReplayPlan { endpoint, topic, qos, files, speed, repeat };
    let mut watcher = Watcher::new(args.quiet);
    let played = play(plan, &mut watcher);
    watcher.finish();
    let counts = played.map_err(|error| match error {
        ReplayError::Topic { .. } | ReplayError::Recording(RecordingError::NoTimeColumn { .. }) => {
            Failure::Usage(error.into())
        }
        ReplayError::Mqtt(ref mqtt) if mqtt.classify() == Fault::Config => Failure::Usage(error.into()),
        ReplayError::Start(_) | ReplayError::Mqtt(_) | ReplayError::Recording(_) => Failure::Io(error.into()),
    })?;
    if args.json {
        print(&summary(&counts).to_string())?;
    }
    if !args.quiet {
        say(&last_line(&counts, qos));
    }
    outcome(&counts, qos)
}

/// Nothing the broker was to have may be missing there.
fn outcome(counts: &ReplayCounts, qos: Qos) -> Result<(), Failure> {
    let fault = if counts.refused > 0 {
        format!("the broker refused {} rows: check its ACL and quotas", counts.refused)
    } else if qos == Qos::AtLeastOnce && counts.acknowledged < counts.sent {
        let missing = counts.sent - counts.acknowledged;
        format!("{missing} rows were not acknowledged before the end: the broker may or may not have them")
    } else {
        return Ok(());
    };
    Err(Failure::Io(anyhow::anyhow!(fault)))
}

fn last_line(counts: &ReplayCounts, qos: Qos) -> String {
    let seconds = counts.elapsed.as_secs_f64();
    let acknowledged = match qos {
        Qos::AtLeastOnce => format!(", {} acknowledged", counts.acknowledged),
        Qos::AtMostOnce => ", none acknowledged at QoS 0".to_owned(),
    };
    let mut parts =
        vec![format!("{} rows sent{acknowledged}, {seconds:.1} s, {:.0} rows/s", counts.sent, rate(counts))];
    for (count, what) in [
        (counts.resent, "sent twice after a lost connection"),
        (counts.refused, "refused by the broker"),
        (counts.bad_rows, "left out"),
        (counts.untimed, "without a time that is understood"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if counts.interrupted {
        parts.push("stopped before the end".to_owned());
    }
    parts.join(", ")
}

fn summary(counts: &ReplayCounts) -> serde_json::Value {
    json!({
        "v": 1, "rows": counts.rows, "sent": counts.sent, "acknowledged": counts.acknowledged, "resent": counts.resent,
        "refused": counts.refused, "bad_rows": counts.bad_rows, "untimed": counts.untimed,
        "reconnects": counts.reconnects, "interrupted": counts.interrupted,
        "seconds": counts.elapsed.as_secs_f64(), "rows_per_second": rate(counts),
    })
}

fn rate(counts: &ReplayCounts) -> f64 {
    counts.sent as f64 / counts.elapsed.as_secs_f64().max(1e-3)
}

fn usage(text: String) -> Failure {
    Failure::Usage(anyhow::anyhow!(text))
}

/// The format of a file; where it has no time of its own, somebody must say where the time stands.
fn format_of(path: &Path, args: &ReplayArgs) -> Result<RecordingFormat, Failure> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let guessed = match ending.as_str() {
        "csv" | "tsv" => Some(Format::Csv),
        "jsonl" | "ndjson" => Some(Format::Jsonl),
        "nmea" => Some(Format::Nmea),
        _ => None,
    };
    let Some(format) = args.format.or(guessed) else {
        let known = ".csv .tsv .jsonl .ndjson .nmea";
        return Err(usage(format!("{} does not end in one of {known}: give --format", path.display())));
    };
    if args.speed != Speed::Max && format != Format::Nmea && args.time.is_none() {
        let what = "its original timing needs --time COLUMN; without it only --speed max is possible";
        return Err(usage(format!("{}: {what}", path.display())));
    }
    let time = args.time.clone();
    Ok(match format {
        Format::Csv => {
            let natural = if ending == "tsv" { b'\t' } else { b',' };
            RecordingFormat::Csv { delimiter: args.delimiter.unwrap_or(natural), time }
        }
        Format::Jsonl => RecordingFormat::Jsonl { time },
        Format::Nmea => RecordingFormat::Nmea,
    })
}

fn delimiter(text: &str) -> Result<u8, &'static str> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err("give one ASCII character other than a quote, or \\t"),
    }
}

fn speed(text: &str) -> Result<Speed, &'static str> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.strip_suffix('x').unwrap_or(text).parse::<f64>();
    let times = times.ok().filter(|times| times.is_finite() && *times >= SPEED_MIN);
    times.map(Speed::Times).ok_or("give a number from 0.001 up, such as 1, 60 or 0.5, or max")
}

/// A thousandth of the original: a minute in 17 hours.
const SPEED_MIN: f64 = 0.001;

fn qos(text: &str) -> Result<Qos, &'static str> {
    match text {
        "0" => Ok(Qos::AtMostOnce),
        "1" => Ok(Qos::AtLeastOnce),
        _ => Err("give 0 or 1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_delimiters_and_qualities_of_service_are_read_or_refused() {
        for (text, expected) in
            [("max", Some(Speed::Max)), ("2.5", Some(Speed::Times(2.5))), ("60x", Some(Speed::Times(60.0)))]
        {
            assert_eq!(speed(text).ok(), expected, "{text}");
        }
        for text in ["0", "-1", "nan", "inf", "", "x", "0.0001", "fast"] {
            assert!(speed(text).is_err(), "{text}");
        }
        for (text, expected) in
            [(";", Some(b';')), ("\\t", Some(b'\t')), ("\t", Some(b'\t')), ("|", Some(b'|'))]
        {
            assert_eq!(delimiter(text).ok(), expected, "{text}");
        }
        for text in ["", ";;", "ü", "\"", "\n"] {
            assert!(delimiter(text).is_err(), "{text}");
        }
        assert!(qos("2").is_err());
    }

    #[test]
    fn the_end_is_a_failure_when_the_broker_lacks_a_row() {
        let counts =
            |sent, acknowledged, refused| ReplayCounts { sent, acknowledged, refused, ..Default::default() };
        assert!(outcome(&counts(3, 3, 0), Qos::AtLeastOnce).is_ok());
        assert!(outcome(&counts(3, 0, 0), Qos::AtMostOnce).is_ok());
        assert!(outcome(&counts(3, 2, 0), Qos::AtLeastOnce).is_err());
        assert!(outcome(&counts(3, 2, 1), Qos::AtLeastOnce).is_err());
    }
}
