//! `tidegate features`: feature vectors of recorded samples and reports, by the very code the service runs.

use std::io::{BufRead, Read, Write};

use crate::cli::recorded::{Columns, FeatureRowsError, SampleRows, for_each_report, for_each_window};
use crate::clock::EventTime;
use crate::features::{Extractor, FeatureLayout};
use crate::flow::{FeatureVector, Window};
use crate::tally::Tally;
use crate::text::{NgramConfig, NgramEncoder, WordConfig, WordEncoder};
use crate::window::WindowConfig;

/// What became of the samples of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureRows {
    /// Rows of the recording.
    pub rows: u64,
    /// Windows written.
    pub windows: u64,
    /// Accounts of the windower: samples that were late, duplicate or not finite are missing in the windows.
    pub samples: Tally,
}

/// Cuts recorded samples of one source into windows and writes one line of features per window.
///
/// The lines are `from`, `to` (seconds since 1970), `completeness` and one column per feature of `layout`, a missing
/// feature being empty. The windower and the extractor are those of the service, and each row is pushed as one
/// message. Nothing is late by the gateway's clock: there is none here. The first and last window may be partial.
///
/// # Errors
/// If the recording cannot be read or the lines cannot be written.
pub fn feature_rows(
    layout: &FeatureLayout,
    window: &WindowConfig,
    columns: &Columns<'_>,
    reader: impl Read,
    mut writer: impl Write,
) -> Result<FeatureRows, FeatureRowsError> {
    let rows = SampleRows::new(reader, columns)?;
    let (mut extractor, mut vector, mut windows) = (Extractor::new(), FeatureVector::default(), 0);
    write_header(layout, &mut writer)?;
    let (rows, samples) = for_each_window(window, rows, &mut |window| {
        extractor.extract(layout, window, &mut vector);
        windows += 1;
        write_window(window, &vector, &mut writer)
    })?;
    writer.flush().map_err(FeatureRowsError::Write)?;
    Ok(FeatureRows { rows, windows, samples })
}

/// Writes the header line: `from`, `to`, `completeness` and the features.
fn write_header(layout: &FeatureLayout, writer: &mut impl Write) -> Result<(), FeatureRowsError> {
    let mut line = String::from("from,to,completeness");
    for name in layout.names() {
        line.push(',');
        // Names with brackets hold commas.
        if name.contains([',', '"']) {
            line.push('"');
            line.push_str(&name.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(name);
        }
    }
    writeln!(writer, "{line}").map_err(FeatureRowsError::Write)
}

/// Writes one window: its span in seconds since 1970, its completeness and its features; a missing one is empty.
fn write_window(
    window: &Window,
    features: &FeatureVector,
    writer: &mut impl Write,
) -> Result<(), FeatureRowsError> {
    let mut row = || {
        write!(
            writer,
            "{},{},{}",
            Seconds(window.span.from),
            Seconds(window.span.to),
            window.completeness.ratio().get()
        )?;
        for value in &features.values {
            if value.is_nan() {
                write!(writer, ",")?;
            } else {
                write!(writer, ",{value}")?;
            }
        }
        writeln!(writer)
    };
    row().map_err(FeatureRowsError::Write)
}

/// Writes the n-grams of recorded reports: one line of `index:value` per line of JSON.
///
/// Returns the number of reports. The text is that under `field` of each object.
///
/// # Errors
/// On a line that is no such object: skipping it would shift all following rows against the input.
pub fn ngram_rows(
    config: NgramConfig,
    field: &str,
    reader: impl BufRead,
    mut writer: impl Write,
) -> Result<u64, FeatureRowsError> {
    let mut encoder = NgramEncoder::new(config);
    let mut entries = Vec::new();
    for_each_report(field, reader, |text| {
        encoder.encode_sparse(text, &mut entries);
        let mut separator = "";
        for (index, value) in &entries {
            write!(writer, "{separator}{index}:{value}")?;
            separator = " ";
        }
        writeln!(writer)
    })
}

/// Writes the words of recorded reports: one line per line of JSON, words separated by ` | `, each as its place in bytes
/// of the text, `start-end`, and its ids, without padding. All words, however many a row of the model holds.
///
/// Returns the number of reports. The text is that under `field` of each object.
///
/// # Errors
/// On a line that is no such object: skipping it would shift all following rows against the input.
pub fn word_rows(
    config: WordConfig,
    field: &str,
    reader: impl BufRead,
    mut writer: impl Write,
) -> Result<u64, FeatureRowsError> {
    let mut encoder = WordEncoder::new(config);
    let (mut words, mut ids) = (Vec::new(), Vec::new());
    for_each_report(field, reader, |text| {
        encoder.split(text, &mut words);
        let mut separator = "";
        for word in &words {
            write!(writer, "{separator}{}-{}", word.start, word.end)?;
            separator = " | ";
            ids.clear();
            encoder.encode(text, std::slice::from_ref(word), 1, &mut ids);
            for id in ids.iter().filter(|id| **id > 0) {
                write!(writer, " {id}")?;
            }
        }
        writeln!(writer)
    })
}

/// Seconds since 1970 with microseconds, exact.
struct Seconds(EventTime);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0.0 < 0 { "-" } else { "" };
        let micros = self.0.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::flow::StreamId;
    use crate::tally::DropReason;
    use crate::text::Split;
    use crate::window::Length;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    fn rows(patterns: &[&str], recording: &str) -> (Vec<String>, FeatureRows) {
        let channels = strings(&["a", "b"]);
        let length = Duration::from_secs(10);
        let window = WindowConfig {
            stream: StreamId(0),
            channels: 2,
            length: Length::Time { length, hop: length },
            lateness: Duration::from_secs(2),
            idle: Duration::from_secs(5),
            future_max: Duration::from_mins(1),
            period: Some(Duration::from_secs(1)),
            samples_max: 1000,
        };
        let layout = FeatureLayout::resolve(&strings(patterns), &channels).unwrap();
        let columns = Columns { time: None, channels: &channels, delimiter: b',' };
        let mut out = Vec::new();
        let summary = feature_rows(&layout, &window, &columns, recording.as_bytes(), &mut out).unwrap();
        (String::from_utf8(out).unwrap().lines().map(str::to_owned).collect(), summary)
    }

    #[test]
    fn each_window_of_a_recording_becomes_one_line() {
        let recording: Vec<String> = (1_700_000_000..1_700_000_020_u64)
            .map(|second| format!("{second},{},{}", second % 100, second % 2))
            .collect();
        let recording = format!("time,a,b\n{}\n", recording.join("\n"));
        let (lines, summary) = rows(&["*.mean", "a.slope", "a.band(2,3)"], &recording);
        assert_eq!(
            lines,
            [
                "from,to,completeness,a.mean,b.mean,a.slope,\"a.band(2,3)\"",
                "1700000000.000000,1700000010.000000,1,4.5,0.5,1,",
                "1700000010.000000,1700000020.000000,1,14.5,0.5,1,",
            ]
        );
        assert_eq!((summary.rows, summary.windows), (20, 2));
        assert!(summary.samples.balances(0));
    }

    #[test]
    fn what_is_late_or_not_finite_is_counted_and_an_empty_cell_is_no_sample() {
        let (lines, summary) = rows(&["a.mean", "b.mean"], "time,a,b\n1,1,\n3,NaN,\n2,3,\n14,5,\n4,100,\n");
        assert_eq!(lines.get(1..).unwrap(), ["0.000000,10.000000,0.1,2,", "10.000000,20.000000,0.05,5,"]);
        assert_eq!(summary.samples.dropped(DropReason::NonFinite), 1);
        assert_eq!(summary.samples.dropped(DropReason::Late), 1);
        assert!(summary.samples.balances(0) && summary.samples.received == 5);
    }

    #[test]
    fn each_report_becomes_one_line_of_index_and_value() {
        let config = NgramConfig::new(1 << 16, 2, 2).unwrap();
        let mut out = Vec::new();
        let input = "{\"text\":\"a\",\"id\":1}\n{\"text\":\"\"}\n{\"text\":\"A\"}";
        assert_eq!(ngram_rows(config, "text", input.as_bytes(), &mut out).unwrap(), 3);
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = out.split('\n').collect();
        let [first, second, third, ""] = lines.as_slice() else { panic!("{out}") };
        assert_eq!(first, third);
        assert!(second.is_empty());
        let entries: Vec<(&str, &str)> =
            first.split(' ').map(|entry| entry.split_once(':').unwrap()).collect();
        assert!(entries.len() == 2 && entries.iter().all(|(_, value)| value.starts_with("0.7071")), "{out}");
    }

    #[test]
    fn each_report_becomes_one_line_of_places_and_ids() {
        let config = WordConfig::new(Split::Classes, 8192, (3, 4), 4, &[1]).unwrap();
        let mut out = Vec::new();
        let input = "{\"text\":\"\u{fc} 12H\"}\n{\"text\":\" \"}\n{\"text\":\"h\"}\n";
        assert_eq!(word_rows(config, "text", input.as_bytes(), &mut out).unwrap(), 3);
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = out.split('\n').collect();
        let [first, "", third, ""] = lines.as_slice() else { panic!("{out}") };
        let words: Vec<&str> = first.split(" | ").collect();
        let places: Vec<&str> = words.iter().map(|word| word.split(' ').next().unwrap()).collect();
        assert_eq!(places, ["0-2", "3-5", "5-6"], "bytes, and all words");
        // Whole word, shape and one gram: "<h>".
        let ids = |word: &str| word.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>();
        let (upper, lower) = (ids(words[2]), ids(third));
        assert!(
            upper.len() == 3 && upper[0] == lower[0] && upper[1] != lower[1] && upper[2] == lower[2],
            "{out}"
        );
        assert_eq!(ids(words[1]).len(), 4, "cut");
    }

    #[test]
    fn a_line_that_is_no_report_stops_the_command_with_its_number() {
        let config = NgramConfig::new(1 << 16, 2, 2).unwrap();
        for input in ["{\"text\":\"a\"}\n\n", "{\"text\":\"a\"}\n{\"text\":5}", "{\"text\":\"a\"}\nplain"] {
            let error = ngram_rows(config, "text", input.as_bytes(), Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), "read reports: line 2: no JSON object with a text \"text\"");
        }
    }
}
