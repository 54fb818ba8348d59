//! Recorded plant data, read one row at a time: what `tidegate replay` plays.
//!
//! # Invariants
//! Holds one row in memory, never the file, and no row longer than [`ROW_BYTES_MAX`].

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Number, Value};

use crate::clock::EventTime;
use crate::ingest::{TimeUnit, parse_time};
use crate::io::rows::{ROW_BYTES_MAX, RowGuard};

/// How a recording is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingFormat {
    /// Lines of cells under a header. Each becomes a JSON object with the header's names as keys.
    Csv {
        /// What separates the cells.
        delimiter: u8,
        /// Column of the time.
        time: Option<String>,
    },
    /// One JSON value per line, passed on as it is.
    Jsonl {
        /// Key of the time; `a.b` also finds `b` inside the object `a`.
        time: Option<String>,
    },
    /// NMEA 0183 sentences, one per line, perhaps after a time or a tag block. The time before it, that of its tag
    /// block, or that of an RMC or ZDA sentence is its own.
    Nmea,
}

/// One row of a recording. Raw data of the plant: no `Debug`.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// When it was taken; `None` if it does not say or what it says is not understood.
    pub at: Option<EventTime>,
    /// What to publish.
    pub payload: &'a [u8],
}

/// Why a recording cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be opened.
    #[error("open recording {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read on.
    #[error("read row {row} of recording {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Row, from 1, the header of a CSV file not counted; of other files the line.
        row: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A row is not CSV: it has more or fewer cells than the header.
    #[error("read row {row} of recording {}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Row, from 1, the header of a CSV file not counted; of other files the line.
        row: u64,
        /// Why.
        #[source]
        source: csv::Error,
    },
    /// A row is so long that this is probably no such recording.
    #[error("row {row} of {} is longer than {max} bytes: is this the right format?", path.display())]
    RowTooLong {
        /// The file.
        path: PathBuf,
        /// Row, from 1, the header of a CSV file not counted; of other files the line.
        row: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// The time column is not in the header.
    #[error("recording {} has no column {column:?}; it has {found}", path.display())]
    NoTimeColumn {
        /// The file.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// The columns there are.
        found: String,
    },
}

/// A recording that is being read.
pub struct Recording {
    path: PathBuf,
    /// Bytes of the file when it was opened.
    bytes: u64,
    source: Source,
    /// What the last row is published as.
    payload: Vec<u8>,
}

enum Source {
    Csv(Table),
    Lines { lines: Lines, kind: LineKind },
}

enum LineKind {
    Jsonl { time: Option<String> },
    Nmea,
}

/// A CSV file.
struct Table {
    reader: csv::Reader<RowGuard<File>>,
    /// The names of the columns as JSON keys, with the colon.
    keys: Vec<String>,
    /// Index of the time column.
    time: Option<usize>,
    record: csv::ByteRecord,
}

/// A file of lines.
struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    /// Lines read.
    number: u64,
    /// Bytes read.
    position: u64,
}

impl Recording {
    /// Opens a recording and reads the header of a CSV file.
    pub fn open(path: &Path, format: RecordingFormat) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let lines = |file, kind| {
            let lines = Lines { reader: BufReader::new(file), line: Vec::new(), number: 0, position: 0 };
            Source::Lines { lines, kind }
        };
        let source = match format {
            RecordingFormat::Csv { delimiter, time } => {
                Source::Csv(Table::open(path, file, delimiter, time)?)
            }
            RecordingFormat::Jsonl { time } => lines(file, LineKind::Jsonl { time }),
            RecordingFormat::Nmea => lines(file, LineKind::Nmea),
        };
        Ok(Self { path: path.to_owned(), bytes, source, payload: Vec::new() })
    }

    /// The next row; `None` at the end. After an error about a single CSV row the next one can be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "a row borrows from the recording: no iterator can give it"
    )]
    pub fn next(&mut self) -> Result<Option<Row<'_>>, RecordingError> {
        self.payload.clear();
        let at = match &mut self.source {
            Source::Csv(table) => {
                if !table.advance(&self.path)? {
                    return Ok(None);
                }
                table.write_object(&mut self.payload)
            }
            Source::Lines { lines, kind } => {
                let Some(line) = lines.next(&self.path)? else { return Ok(None) };
                let (at, text) = match kind {
                    LineKind::Jsonl { time } => (time.as_deref().and_then(|key| json_time(line, key)), line),
                    LineKind::Nmea => nmea(line),
                };
                self.payload.extend_from_slice(text);
                at
            }
        };
        Ok(Some(Row { at, payload: &self.payload }))
    }

    /// Share of the file that has been read, 0 to 1.
    pub fn fraction(&self) -> f64 {
        let position = match &self.source {
            Source::Csv(table) => table.reader.position().byte(),
            Source::Lines { lines, .. } => lines.position,
        };
        if self.bytes == 0 { 1.0 } else { (position as f64 / self.bytes as f64).min(1.0) }
    }
}

impl Table {
    fn open(path: &Path, file: File, delimiter: u8, time: Option<String>) -> Result<Self, RecordingError> {
        let guarded = RowGuard::new(file);
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(guarded);
        let header = match reader.byte_headers() {
            Ok(header) => header.clone(),
            Err(error) => return Err(csv_error(path, &mut reader, error)),
        };
        let names: Vec<String> =
            header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let place = time.as_ref().map(|time| names.iter().position(|name| name == time));
        if let (Some(None), Some(column)) = (place, time) {
            let found = names.join(", ");
            return Err(RecordingError::NoTimeColumn { path: path.to_owned(), column, found });
        }
        let keys = names.into_iter().map(|name| format!("{}:", Value::from(name))).collect();
        Ok(Self { reader, keys, time: place.flatten(), record: csv::ByteRecord::new() })
    }

    /// Reads a row into the record; false at the end of the file.
    fn advance(&mut self, path: &Path) -> Result<bool, RecordingError> {
        self.reader.get_mut().renew();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(more) => Ok(more),
            Err(error) => Err(csv_error(path, &mut self.reader, error)),
        }
    }

    /// Writes the record as a JSON object and returns its time.
    ///
    /// A time without an offset is taken as UTC and written with a `Z`, so that the gateway understands it too.
    fn write_object(&self, out: &mut Vec<u8>) -> Option<EventTime> {
        let mut at = None;
        out.push(b'{');
        for (index, (key, cell)) in self.keys.iter().zip(&self.record).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(key.as_bytes());
            let text = String::from_utf8_lossy(cell);
            if self.time == Some(index) {
                at = parse_time(&text, TimeUnit::Auto);
                if at.is_none()
                    && let Some((utc, time)) = utc_time(&text)
                {
                    at = Some(time);
                    out.extend_from_slice(Value::from(utc).to_string().as_bytes());
                    continue;
                }
            }
            write_cell(&text, out);
        }
        out.push(b'}');
        at
    }
}

/// Numbers stay numbers, as they are written; empty cells are null; the rest are strings, `NaN` and `007` among them.
fn write_cell(text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        out.extend_from_slice(b"null");
    } else if text.parse::<Number>().is_ok() {
        out.extend_from_slice(text.as_bytes());
    } else {
        match lenient_number(text) {
            Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
            None => out.extend_from_slice(Value::from(text).to_string().as_bytes()),
        }
    }
}

/// A number in a spelling that JSON does not have: `+1.5`, `.5`, `1.`; not `007`, which names something.
fn lenient_number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut bytes = unsigned.bytes();
    match (bytes.next(), bytes.next()) {
        (Some(b'0'), Some(b'0'..=b'9')) => None,
        (Some(b'0'..=b'9' | b'.'), _) => text.parse().ok().and_then(Number::from_f64),
        _ => None,
    }
}

/// `YYYY-MM-DD HH:MM:SS[.f]` taken as UTC: as RFC 3339, and the instant.
fn utc_time(text: &str) -> Option<(String, EventTime)> {
    let utc = format!("{}Z", text.replacen(' ', "T", 1));
    parse_time(&utc, TimeUnit::Auto).map(|at| (utc, at))
}

fn any_time(text: &str) -> Option<EventTime> {
    parse_time(text, TimeUnit::Auto).or_else(|| utc_time(text).map(|(_, at)| at))
}

fn csv_error(path: &Path, reader: &mut csv::Reader<RowGuard<File>>, source: csv::Error) -> RecordingError {
    // Lines would be off by one: the reader takes the second half of a CR LF with the next record.
    let row = source.position().map_or(0, csv::Position::record);
    let path = path.to_owned();
    if reader.get_ref().is_spent() {
        return RecordingError::RowTooLong { path, row, max: ROW_BYTES_MAX };
    }
    RecordingError::Csv { path, row, source }
}

impl Lines {
    /// The next line that is not blank, without its end and without the byte order mark of the file.
    fn next(&mut self, path: &Path) -> Result<Option<&[u8]>, RecordingError> {
        loop {
            self.line.clear();
            self.number += 1;
            let mut bounded = self.reader.by_ref().take(ROW_BYTES_MAX);
            let read = bounded.read_until(b'\n', &mut self.line).map_err(|source| RecordingError::Read {
                path: path.to_owned(),
                row: self.number,
                source,
            })?;
            if read == 0 {
                return Ok(None);
            }
            let read = u64::try_from(read).unwrap_or(u64::MAX);
            self.position = self.position.saturating_add(read);
            if read == ROW_BYTES_MAX && self.line.last() != Some(&b'\n') {
                let (path, max) = (path.to_owned(), ROW_BYTES_MAX);
                return Err(RecordingError::RowTooLong { path, row: self.number, max });
            }
            if self.number == 1 && self.line.starts_with("\u{feff}".as_bytes()) {
                self.line.drain(..3);
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some(self.line.trim_ascii()))
    }
}

/// The time in a line of JSON.
fn json_time(line: &[u8], key: &str) -> Option<EventTime> {
    let row: Value = serde_json::from_slice(line).ok()?;
    let nested = || key.split('.').try_fold(&row, |value, key| value.get(key));
    match row.get(key).or_else(nested)? {
        Value::Number(number) => any_time(&number.to_string()),
        Value::String(text) => any_time(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The time of a sentence, and the sentence without what the recorder wrote before it.
fn nmea(line: &[u8]) -> (Option<EventTime>, &[u8]) {
    // A tag block belongs to its sentence.
    let start = line.iter().position(|byte| matches!(byte, b'$' | b'!' | b'\\')).unwrap_or(0);
    let (before, sentence) = line.split_at(start);
    let written = std::str::from_utf8(before).ok();
    let stamp = written.and_then(|text| any_time(text.trim().trim_end_matches([',', ';', ':']).trim()));
    let own =
        || std::str::from_utf8(sentence).ok().and_then(|text| tag_time(text).or_else(|| sentence_time(text)));
    (stamp.or_else(own), sentence)
}

/// The `c:` of a tag block: seconds or milliseconds since 1970.
fn tag_time(sentence: &str) -> Option<EventTime> {
    let (block, _) = sentence.strip_prefix('\\')?.split_once('\\')?;
    let fields = block.split_once('*').map_or(block, |(fields, _)| fields);
    let seconds = fields.split(',').find_map(|field| field.strip_prefix("c:"))?;
    parse_time(seconds, TimeUnit::Auto)
}

/// The time and date of an RMC (`ddmmyy`, of this century) or ZDA (`dd,mm,yyyy`) sentence.
fn sentence_time(sentence: &str) -> Option<EventTime> {
    let content = sentence.rsplit_once('\\').map_or(sentence, |(_, sentence)| sentence).strip_prefix('$')?;
    let mut fields = content.split(['*', ',']);
    let kind = fields.next()?.get(2..)?;
    let time = fields.next().filter(|time| time.len() >= 6 && time.is_ascii())?;
    let (day, month, year) = match kind {
        "RMC" => {
            let date = fields.nth(7).filter(|date| date.len() == 6 && date.is_ascii())?;
            (date.get(..2)?, date.get(2..4)?, format!("20{}", date.get(4..)?))
        }
        "ZDA" => (fields.next()?, fields.next()?, fields.next()?.to_owned()),
        _ => return None,
    };
    let (hour, minute, second) = (time.get(..2)?, time.get(2..4)?, time.get(4..)?);
    parse_time(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"), TimeUnit::Auto)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn csv(time: Option<&str>) -> RecordingFormat {
        RecordingFormat::Csv { delimiter: b';', time: time.map(str::to_owned) }
    }

    fn open(content: &[u8], format: RecordingFormat) -> Result<Recording, RecordingError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        Recording::open(file.path(), format)
    }

    /// The rows of a recording as `seconds payload`, with the error that ends it.
    fn check(content: impl AsRef<[u8]>, format: RecordingFormat, expect: &[&str]) {
        let mut rows = Vec::new();
        match open(content.as_ref(), format) {
            Err(error) => rows.push(kind(&error)),
            Ok(mut recording) => loop {
                match recording.next() {
                    Ok(Some(row)) => {
                        let at = row.at.map_or("-".to_owned(), |at| (at.0 as f64 / 1e6).to_string());
                        rows.push(format!("{at} {}", String::from_utf8_lossy(row.payload)));
                    }
                    Ok(None) => {
                        assert!((recording.fraction() - 1.0).abs() < 1e-9);
                        break;
                    }
                    Err(error) => {
                        rows.push(kind(&error));
                        break;
                    }
                }
            },
        }
        assert_eq!(rows, expect);
    }

    /// The text of an error without the path of the test's file.
    fn kind(error: &RecordingError) -> String {
        let text = error.to_string();
        let words: Vec<_> = text.split(' ').filter(|word| !word.contains('/')).collect();
        words.join(" ")
    }

    #[test]
    fn csv_rows_become_json_objects() {
        check(
            "\u{feff}ts;\"a b\";c\r\n2026-11-20 03:00:00;1.50;\"say \"\"no\"\"\"\r\n2026-11-20T03:00:01Z;;x;\r\n",
            csv(Some("ts")),
            &[
                r#"1795143600 {"ts":"2026-11-20T03:00:00Z","a b":1.50,"c":"say \"no\""}"#,
                "read row 2 of recording",
            ],
        );
        check(
            "a;b;c;d;e\n1;-2e3;0.5;12345678901234567890123;1e999\n+1.5;.5;1.;007;1,5\nNaN; -3 ;inf;-;\"\"\n",
            csv(None),
            &[
                r#"- {"a":1,"b":-2e3,"c":0.5,"d":12345678901234567890123,"e":"1e999"}"#,
                r#"- {"a":1.5,"b":0.5,"c":1.0,"d":"007","e":"1,5"}"#,
                r#"- {"a":"NaN","b":-3,"c":"inf","d":"-","e":null}"#,
            ],
        );
        check(
            b"t;\xb0C\n1763640000.5;1\nsoon;2\n",
            csv(Some("t")),
            &["1763640000.5 {\"t\":1763640000.5,\"\u{fffd}C\":1}", "- {\"t\":\"soon\",\"\u{fffd}C\":2}"],
        );
    }

    #[test]
    fn a_time_column_that_is_not_there_is_an_error_that_names_those_that_are() {
        let error = open(b"a;b\n1;2\n", csv(Some("ts"))).map(|_| ()).unwrap_err().to_string();
        assert!(error.ends_with(r#"has no column "ts"; it has a, b"#), "{error}");
        let missing = Recording::open(Path::new("no-such-file"), csv(None)).map(|_| ()).unwrap_err();
        assert_eq!(missing.to_string(), "open recording no-such-file");
    }

    #[test]
    fn json_lines_pass_through_as_they_are() {
        let jsonl = |time: Option<&str>| RecordingFormat::Jsonl { time: time.map(str::to_owned) };
        let lines = "\u{feff}{\"m\":{\"ts\":1763640000250}, \"a\": NaN}\n\n  {\"m.ts\":\"2026-11-20 03:00:00.5\"}\r\n{\"a\":1}\n\u{feff}not json";
        check(
            lines,
            jsonl(None),
            &[
                r#"- {"m":{"ts":1763640000250}, "a": NaN}"#,
                r#"- {"m.ts":"2026-11-20 03:00:00.5"}"#,
                r#"- {"a":1}"#,
                "- \u{feff}not json",
            ],
        );
        check(
            r#"{"m":{"ts":1763640000250}}"#,
            jsonl(Some("m.ts")),
            &[r#"1763640000.25 {"m":{"ts":1763640000250}}"#],
        );
        check(
            r#"{"m.ts":"2026-11-20 03:00:00.5"}"#,
            jsonl(Some("m.ts")),
            &[r#"1795143600.5 {"m.ts":"2026-11-20 03:00:00.5"}"#],
        );
        check("{\"a\":1}\n[1]\n{", jsonl(Some("ts")), &["- {\"a\":1}", "- [1]", "- {"]);
    }

    #[test]
    fn sentences_know_their_time_from_before_them_or_within() {
        check(
            "$GPRMC,030000.50,A,4807.038,N,01131.000,E,022.4,084.4,201126,003.1,W*6A\n\
             $GPZDA,030001.00,20,11,2026,00,00*60\r\n\
             $WIXDR,C,19.5,C,AIR\n\
             \\s:x,c:1763640000*00\\!AIVDM,1\n\
             2026-11-20T03:00:02Z, $WIXDR,C\n\
             $GPRMC,,V,,,,,,,,,*00\n\
             $GPRMCé\n\
             noise",
            RecordingFormat::Nmea,
            &[
                "1795143600.5 $GPRMC,030000.50,A,4807.038,N,01131.000,E,022.4,084.4,201126,003.1,W*6A",
                "1795143601 $GPZDA,030001.00,20,11,2026,00,00*60",
                "- $WIXDR,C,19.5,C,AIR",
                "1763640000 \\s:x,c:1763640000*00\\!AIVDM,1",
                "1795143602 $WIXDR,C",
                "- $GPRMC,,V,,,,,,,,,*00",
                "- $GPRMCé",
                "- noise",
            ],
        );
    }

    #[test]
    fn a_file_without_line_ends_is_refused_and_not_read_into_memory() {
        let endless = vec![b'x'; 3 << 20];
        for format in [csv(None), RecordingFormat::Nmea] {
            let mut refused = None;
            let used = allocation_counter::measure(|| {
                refused = match open(&endless, format.clone()) {
                    Ok(mut recording) => recording.next().map(|_| ()).err(),
                    Err(error) => Some(error),
                };
            });
            assert!(matches!(refused, Some(RecordingError::RowTooLong { row: 0 | 1, .. })), "{format:?}");
            assert!(used.bytes_max < 6 << 20, "{}", used.bytes_max);
        }
    }

    #[test]
    fn a_long_recording_is_read_in_little_memory_with_growing_progress() {
        let mut content = String::from("ts;a\n");
        for n in 0..100_000 {
            writeln!(content, "{};{n}.25", 1_763_640_000 + n).unwrap();
        }
        let mut recording = open(content.as_bytes(), csv(Some("ts"))).unwrap();
        let mut rows = 0;
        let mut fractions = vec![recording.fraction()];
        let used = allocation_counter::measure(|| {
            while let Some(row) = recording.next().unwrap() {
                assert_eq!(row.at, Some(EventTime((1_763_640_000 + rows) * 1_000_000)));
                rows += 1;
                if rows % 20_000 == 0 {
                    fractions.push(recording.fraction());
                }
            }
        });
        assert_eq!(rows, 100_000);
        assert!(used.bytes_max < 64 << 10, "{}", used.bytes_max);
        assert!(
            fractions.is_sorted_by(|a, b| a < b) && fractions[3] > 0.5 && fractions[3] < 0.7,
            "{fractions:?}"
        );
    }
}
