//! `tidegate features`: feature vectors of recorded samples and reports, by the very code the service runs.

use std::io::{BufRead, Read, Write};

use jiff::Timestamp;

use crate::clock::EventTime;
use crate::features::FeatureLayout;
use crate::flow::{FeatureVector, Window};
use crate::text::{NgramConfig, NgramEncoder};

/// Names tried for the time column when the stream has none.
const TIME_COLUMNS: [&str; 4] = ["time", "ts", "timestamp", "t"];

/// Where the samples of a stream stand in a CSV file with a header line.
pub struct Columns<'a> {
    /// Time column; `None`: the first of `time`, `ts`, `timestamp`, `t` there is.
    pub time: Option<&'a str>,
    /// One column per channel of the stream, in its order.
    pub channels: &'a [String],
    /// What separates columns.
    pub delimiter: u8,
}

/// Why recorded samples or reports cannot be turned into vectors.
#[derive(Debug, thiserror::Error)]
pub enum FeatureRowsError {
    /// The file does not follow the format.
    #[error("read samples")]
    Csv(#[source] csv::Error),
    /// A column the stream needs is not there.
    #[error("read samples: no column {name:?}, columns are {known}")]
    Column {
        /// What was looked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A cell is neither a number nor empty, or the time is not understood.
    #[error("read samples: line {line}, column {column:?}: not a {expected}")]
    Cell {
        /// Line of the file, from 1.
        line: u64,
        /// Name of the column.
        column: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A line is no JSON object with the text field.
    #[error("read reports: line {line}: no JSON object with a text {field:?}")]
    Report {
        /// Line of the file, from 1.
        line: u64,
        /// Name of the field.
        field: String,
    },
    /// Reading failed.
    #[error("read reports")]
    Read(#[source] std::io::Error),
    /// Writing failed.
    #[error("write feature rows")]
    Write(#[source] std::io::Error),
}

/// Reads the rows of a CSV file one by one. `None` in a row: the cell is empty, or NaN or infinite.
pub struct SampleRows<R> {
    reader: csv::Reader<R>,
    record: csv::StringRecord,
    time: usize,
    channels: Vec<usize>,
    values: Vec<Option<f32>>,
    headers: csv::StringRecord,
}

impl<R: Read> SampleRows<R> {
    /// Reads the header line and finds the columns.
    ///
    /// # Errors
    /// If there is no header or a column is missing.
    pub fn new(reader: R, columns: &Columns<'_>) -> Result<Self, FeatureRowsError> {
        let mut reader =
            csv::ReaderBuilder::new().delimiter(columns.delimiter).trim(csv::Trim::All).from_reader(reader);
        let headers = reader.headers().map_err(FeatureRowsError::Csv)?.clone();
        let find = |name: &str| headers.iter().position(|header| header == name);
        let missing = |name: &str| FeatureRowsError::Column {
            name: name.to_owned(),
            known: headers.iter().collect::<Vec<_>>().join(", "),
        };
        let time = match columns.time {
            Some(name) => find(name).ok_or_else(|| missing(name))?,
            None => TIME_COLUMNS.iter().find_map(|name| find(name)).ok_or_else(|| missing("time"))?,
        };
        let channels = columns
            .channels
            .iter()
            .map(|name| find(name).ok_or_else(|| missing(name)))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { reader, record: csv::StringRecord::new(), time, channels, values: Vec::new(), headers })
    }

    /// The next row: its time and one value per channel.
    ///
    /// # Errors
    /// On a cell that is not what belongs there, with its line.
    pub fn next_row(&mut self) -> Result<Option<(EventTime, &[Option<f32>])>, FeatureRowsError> {
        if !self.reader.read_record(&mut self.record).map_err(FeatureRowsError::Csv)? {
            return Ok(None);
        }
        let cell = |index: usize| self.record.get(index).unwrap_or_default();
        let fault = |index: usize, expected| FeatureRowsError::Cell {
            line: self.record.position().map_or(0, csv::Position::line),
            column: self.headers.get(index).unwrap_or_default().to_owned(),
            expected,
        };
        let at = event_time(cell(self.time))
            .ok_or_else(|| fault(self.time, "time: RFC 3339, or s, ms, µs or ns since 1970"))?;
        self.values.clear();
        for &index in &self.channels {
            let value = match cell(index) {
                "" | "null" => None,
                text => {
                    let value = text.parse::<f32>().map_err(|_| fault(index, "number"))?;
                    value.is_finite().then_some(value)
                }
            };
            self.values.push(value);
        }
        Ok(Some((at, &self.values)))
    }
}

/// Writes the header line: `from`, `to`, `completeness` and the features.
///
/// # Errors
/// If writing fails.
pub fn write_header(layout: &FeatureLayout, writer: &mut impl Write) -> Result<(), FeatureRowsError> {
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
///
/// # Errors
/// If writing fails.
pub fn write_window(
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
    mut reader: impl BufRead,
    mut writer: impl Write,
) -> Result<u64, FeatureRowsError> {
    let mut encoder = NgramEncoder::new(config);
    let (mut line, mut entries, mut count) = (Vec::new(), Vec::new(), 0);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(FeatureRowsError::Read)? == 0 {
            return Ok(count);
        }
        count += 1;
        let object = serde_json::from_slice::<serde_json::Value>(&line).ok();
        let text = object.as_ref().and_then(|object| object.get(field)).and_then(|text| text.as_str());
        let Some(text) = text else {
            return Err(FeatureRowsError::Report { line: count, field: field.to_owned() });
        };
        encoder.encode_sparse(text, &mut entries);
        let mut row = || {
            let mut separator = "";
            for (index, value) in &entries {
                write!(writer, "{separator}{index}:{value}")?;
                separator = " ";
            }
            writeln!(writer)
        };
        row().map_err(FeatureRowsError::Write)?;
    }
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

/// RFC 3339, or a number of s, ms, µs or ns since 1970, told apart by magnitude as ingest does.
fn event_time(text: &str) -> Option<EventTime> {
    let Ok(number) = text.parse::<f64>() else {
        return text.parse::<Timestamp>().ok().map(|time| EventTime(time.as_microsecond()));
    };
    let micros = match number.abs() {
        size if size < 1e11 => number * 1e6,
        size if size < 1e14 => number * 1e3,
        size if size < 1e17 => number,
        size if size < 9e18 => number * 1e-3,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "at most 1e17, and whole after rounding")]
    Some(EventTime(micros.round() as i64))
}
