//! Recorded samples, a CSV file with a time column and one column per channel, and the windows in them; recorded reports,
//! JSON lines.

use std::io::{BufRead, Read};

use jiff::Timestamp;

use crate::clock::{ClockQuality, EventTime, Uptime, UtcTime};
use crate::flow::{AssetId, BadWhy, Quality, Sample, SampleBatch, SignalId, Window};
use crate::io::rows::{ROW_BYTES_MAX, RowGuard};
use crate::tally::Tally;
use crate::window::{WindowConfig, Windower};

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

/// Names tried for the time column when the stream has none.
pub(in crate::cli) const TIME_COLUMNS: [&str; 4] = ["time", "ts", "timestamp", "t"];

/// Where the samples of a stream stand in a CSV file with a header line.
pub struct Columns<'a> {
    /// Time column; `None`: the first of `time`, `ts`, `timestamp`, `t` there is.
    pub time: Option<&'a str>,
    /// One column per channel of the stream, in its order.
    pub channels: &'a [String],
    /// What separates columns.
    pub delimiter: u8,
}

/// One row of a recording.
pub struct Row<'a> {
    /// Its time.
    pub at: EventTime,
    /// One value per channel, perhaps not finite; `None`: the cell is empty or `null`.
    pub values: &'a [Option<f32>],
}

/// Reads the rows of a CSV file one by one.
pub struct SampleRows<R> {
    reader: csv::Reader<RowGuard<R>>,
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
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(columns.delimiter)
            .trim(csv::Trim::All)
            .from_reader(RowGuard::new(reader));
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

    /// The next row, if there is one.
    ///
    /// # Errors
    /// On a cell that is not what belongs there, with its line.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, FeatureRowsError> {
        self.reader.get_mut().renew();
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
                text => Some(text.parse::<f32>().map_err(|_| fault(index, "number"))?),
            };
            self.values.push(value);
        }
        Ok(Some(Row { at, values: &self.values }))
    }
}

/// Cuts recorded samples of one source into windows, by the windower of the service; gives the number of rows and
/// the accounts of the windower.
///
/// Each row is pushed as one message. Nothing is late by the gateway's clock: there is none here.
///
/// # Errors
/// If the recording cannot be read, or what `each` says.
pub fn for_each_window<R: Read>(
    config: &WindowConfig,
    mut rows: SampleRows<R>,
    each: &mut dyn FnMut(&Window) -> Result<(), FeatureRowsError>,
) -> Result<(u64, Tally), FeatureRowsError> {
    let mut windower = Windower::new(*config);
    let mut batch = SampleBatch {
        stream: config.stream,
        asset: AssetId(0),
        received: Uptime::ZERO,
        samples: Vec::with_capacity(rows.channels.len()),
    };
    let mut ready = |windower: &mut Windower| -> Result<(), FeatureRowsError> {
        while let Some(window) = windower.pop() {
            each(&window)?;
            windower.recycle(window);
        }
        Ok(())
    };
    let mut count = 0;
    while let Some(Row { at, values }) = rows.next_row()? {
        count += 1;
        batch.samples.clear();
        batch.samples.extend((0..=u16::MAX).zip(values).filter_map(|(signal, value)| {
            let value = (*value)?;
            let quality = if value.is_finite() { Quality::Good } else { Quality::Bad(BadWhy::NonFinite) };
            Some(Sample { signal: SignalId(signal), at, value, quality })
        }));
        windower.push(&batch, UtcTime { micros: 0, quality: ClockQuality::Unset });
        ready(&mut windower)?;
    }
    windower.finish();
    ready(&mut windower)?;
    Ok((count, windower.tally().clone()))
}

/// RFC 3339, or a number of s, ms, µs or ns since 1970, told apart by magnitude as ingest does.
pub(in crate::cli) fn event_time(text: &str) -> Option<EventTime> {
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

/// Gives the text of each line of JSON to `take`; returns how many there were.
///
/// # Errors
/// On a line that is no object with a text under `field`: skipping it would shift all that follow against the input.
pub(in crate::cli) fn for_each_report(
    field: &str,
    mut reader: impl BufRead,
    mut take: impl FnMut(&str) -> std::io::Result<()>,
) -> Result<u64, FeatureRowsError> {
    let (mut line, mut count) = (Vec::new(), 0);
    loop {
        line.clear();
        // What is longer is no report: cut short it is no JSON either.
        let mut bounded = reader.by_ref().take(ROW_BYTES_MAX);
        if bounded.read_until(b'\n', &mut line).map_err(FeatureRowsError::Read)? == 0 {
            return Ok(count);
        }
        count += 1;
        let object = serde_json::from_slice::<serde_json::Value>(&line).ok();
        let text = object.as_ref().and_then(|object| object.get(field)).and_then(|text| text.as_str());
        let Some(text) = text else {
            return Err(FeatureRowsError::Report { line: count, field: field.to_owned() });
        };
        take(text).map_err(FeatureRowsError::Write)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_time_is_told_by_its_magnitude() {
        for (text, expect) in [
            ("1700000000", Some(1_700_000_000_000_000)),
            ("1700000000.25", Some(1_700_000_000_250_000)),
            ("1700000000250", Some(1_700_000_000_250_000)),
            ("1700000000250001", Some(1_700_000_000_250_001)),
            ("1700000000250001000", Some(1_700_000_000_250_001)),
            ("2023-11-14T22:13:20.25Z", Some(1_700_000_000_250_000)),
            ("2023-11-15T00:13:20.25+02:00", Some(1_700_000_000_250_000)),
            ("0.01", Some(10_000)),
            ("-1.5", Some(-1_500_000)),
            ("1e300", None),
            ("inf", None),
            ("NaN", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(event_time(text), expect.map(EventTime), "{text}");
        }
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let channels = ["b".to_owned(), "a".to_owned()];
        let columns = Columns { time: None, channels: &channels, delimiter: b';' };
        let mut rows = SampleRows::new(&b"a;x;ts; b\n1;9;5; 2 \n;9;6;NaN\n"[..], &columns).unwrap();
        let Row { at, values } = rows.next_row().unwrap().unwrap();
        assert!(at == EventTime(5_000_000) && values == [Some(2.0), Some(1.0)]);
        let Row { values, .. } = rows.next_row().unwrap().unwrap();
        assert!(values.first().unwrap().unwrap().is_nan() && values.last().unwrap().is_none());
        assert!(rows.next_row().unwrap().is_none());
    }

    /// `tidegate features` took whatever it was given into memory up to the first line end: a disk image by mistake
    /// filled the machine, /dev/zero ended in an abort. A row is now at most as long as `tidegate replay` takes it.
    #[test]
    fn a_recording_without_line_ends_is_refused_and_not_read_into_memory() {
        let channels = ["a".to_owned()];
        let columns = Columns { time: None, channels: &channels, delimiter: b',' };
        assert!(SampleRows::new(std::io::repeat(0), &columns).is_err());
        let mut rows = SampleRows::new((&b"time,a\n"[..]).chain(std::io::repeat(b'1')), &columns).unwrap();
        assert!(rows.next_row().is_err());
        let config = crate::text::NgramConfig::new(2048, 1, 4).unwrap();
        let endless = std::io::BufReader::new(std::io::repeat(b'"'));
        let error = crate::cli::features::ngram_rows(config, "text", endless, Vec::new()).unwrap_err();
        assert!(error.to_string().starts_with("read reports: line 1:"), "{error}");
    }

    #[test]
    fn faults_name_the_line_and_the_column() {
        let channels = ["a".to_owned()];
        let columns = |time| Columns { time, channels: &channels, delimiter: b',' };
        for (text, time, expect) in [
            ("time,a\n1,2\n2,x\n", None, "line 3, column \"a\": not a number"),
            ("time,a\nnoon,2\n", None, "line 2, column \"time\": not a time"),
            ("time,b\n", None, "no column \"a\", columns are time, b"),
            ("time,a\n", Some("when"), "no column \"when\""),
            ("b,a\n", None, "no column \"time\""),
        ] {
            let result = SampleRows::new(text.as_bytes(), &columns(time)).and_then(|mut rows| {
                while rows.next_row()?.is_some() {}
                Ok(())
            });
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expect), "{error} lacks {expect}");
        }
    }
}
