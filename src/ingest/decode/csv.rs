//! Samples as lines of cells: each line is a row, each named column a channel.

use crate::clock::EventTime;
use crate::flow::{Sample, SignalId};
use crate::ingest::decode::rows::{self, Rows, Seen};
use crate::ingest::decode::time;
use crate::ingest::{Columns, Limits, TimeField, TimeUnit};
use crate::tally::DropReason;

/// Reads the channels of one stream.
pub(crate) struct CsvDecoder {
    /// Names of the wanted columns in alphabetical order.
    wanted: Vec<(Box<str>, Column)>,
    unit: Option<TimeUnit>,
    delimiter: u8,
    /// Whether each message begins with its header.
    header: bool,
    /// What each column is, from left to right.
    columns: Vec<Column>,
    seen: Seen,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Value(SignalId),
    Time,
    Other,
}

/// The cells of one line.
struct Cells<'a> {
    /// `None` after the last cell.
    rest: Option<&'a str>,
    delimiter: u8,
}

impl CsvDecoder {
    pub(crate) fn new(values: &[String], time: Option<&TimeField>, delimiter: u8, columns: &Columns) -> Self {
        let time_column = time.map(|time| (time.name.as_str(), Column::Time));
        let value_columns =
            values.iter().zip(0..).map(|(name, index)| (name.as_str(), Column::Value(SignalId(index))));
        let in_order: Vec<(&str, Column)> = time_column.into_iter().chain(value_columns).collect();
        let mut decoder = Self {
            wanted: in_order.iter().map(|(name, column)| ((*name).into(), *column)).collect(),
            unit: time.map(|time| time.unit),
            delimiter,
            header: matches!(columns, Columns::Header),
            columns: Vec::new(),
            seen: Seen::new(values.len()),
        };
        decoder.wanted.sort();
        match columns {
            Columns::Header => {}
            Columns::Fixed(names) if names.is_empty() => {
                decoder.columns = in_order.iter().map(|(_, column)| *column).collect();
            }
            Columns::Fixed(names) => {
                decoder.columns = names.iter().map(|name| decoder.column(name)).collect();
            }
        }
        decoder
    }

    pub(crate) fn decode(
        &mut self,
        text: &str,
        arrival: EventTime,
        limits: &Limits,
        samples: &mut Vec<Sample>,
    ) -> Result<(), DropReason> {
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        if self.header {
            let header = lines.by_ref().find(|line| !line.is_empty()).ok_or(DropReason::Empty)?;
            self.read_header(header, limits)?;
        }
        if self.unit.is_some() && !self.columns.contains(&Column::Time) {
            return Err(DropReason::MissingField);
        }
        let mut rows = Rows::new(samples, &mut self.seen);
        let mut any = false;
        for line in lines.filter(|line| !line.is_empty()) {
            let mut at = arrival;
            let mut cells = Cells { rest: Some(line), delimiter: self.delimiter };
            for column in &self.columns {
                let cell = cells.next()?.ok_or(DropReason::Malformed)?;
                match (column, self.unit) {
                    (Column::Value(signal), _) => rows.put(*signal, rows::reading_of(cell)),
                    (Column::Time, Some(unit)) => {
                        at = time::parse_time(cell, unit).ok_or(DropReason::BadTime)?;
                    }
                    (Column::Time | Column::Other, _) => {}
                }
            }
            if cells.rest.is_some() {
                return Err(DropReason::Malformed);
            }
            if !rows.end_row(at) {
                return Err(DropReason::MissingField);
            }
            any = true;
        }
        if any { Ok(()) } else { Err(DropReason::Empty) }
    }

    fn read_header(&mut self, header: &str, limits: &Limits) -> Result<(), DropReason> {
        self.columns.clear();
        let mut left = limits.keys;
        let mut cells = Cells { rest: Some(header), delimiter: self.delimiter };
        while let Some(name) = cells.next()? {
            left = left.checked_sub(1).ok_or(DropReason::Keys)?;
            let column = self.column(name);
            self.columns.push(column);
        }
        Ok(())
    }

    fn column(&self, name: &str) -> Column {
        let place = self.wanted.binary_search_by(|(wanted, _)| wanted.as_ref().cmp(name)).ok();
        place.and_then(|place| self.wanted.get(place)).map_or(Column::Other, |(_, column)| *column)
    }
}

impl<'a> Cells<'a> {
    /// The next cell without the space around it and without its quotes. Doubled quotes inside stay doubled: they
    /// occur in texts, and no text is read here.
    fn next(&mut self) -> Result<Option<&'a str>, DropReason> {
        let Some(rest) = self.rest else { return Ok(None) };
        let (cell, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = closing_quote(quoted).ok_or(DropReason::Malformed)?;
            (quoted.get(..end), quoted.get(end + 1..).unwrap_or_default())
        } else {
            let end = rest.bytes().position(|byte| byte == self.delimiter).unwrap_or(rest.len());
            (rest.get(..end), rest.get(end..).unwrap_or_default())
        };
        self.rest = match after.as_bytes().first() {
            None => None,
            Some(byte) if *byte == self.delimiter => after.get(1..),
            Some(_) => return Err(DropReason::Malformed),
        };
        cell.map(|cell| Some(cell.trim())).ok_or(DropReason::Malformed)
    }
}

/// Where the quote ends that the text is inside of.
fn closing_quote(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((index, byte)) = bytes.next() {
        if byte == b'"' && bytes.next_if(|(_, next)| *next == b'"').is_none() {
            return Some(index);
        }
    }
    None
}
