//! Which label belongs to which window of recorded samples: by time, or by a column both files have.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::cli::exit::Failure;
use crate::cli::model::eval::labels::{Labels, Truth, listed};
use crate::cli::recorded::{TIME_COLUMNS, event_time};
use crate::clock::EventTime;
use crate::flow::TimeSpan;
use crate::io::files::open_file;
use crate::io::rows::RowGuard;

/// Columns tried for the time of a label, besides those of samples.
const START_COLUMNS: [&str; 2] = ["from", "start"];

/// The labels of a recording.
pub(in crate::cli::model::eval) struct Timeline {
    /// One list of truths per labelled row.
    rows: Vec<Vec<Truth>>,
    /// Row by time, ascending: from this time on, or at it.
    at: Vec<(EventTime, usize)>,
    /// Whether a row holds until the next one.
    lasting: bool,
}

impl Timeline {
    /// Labels with a time of their own: one belongs to the window it falls into.
    pub(in crate::cli::model::eval) fn by_time(
        labels_file: &Path,
        delimiter: u8,
        labels: &mut Labels,
    ) -> Result<Self, Failure> {
        let mut table = Table::open(labels_file, delimiter)?;
        let names = || TIME_COLUMNS.iter().chain(&START_COLUMNS);
        let column = names().find_map(|name| table.column(name)).ok_or_else(|| {
            let tried: Vec<&str> = names().copied().collect();
            table.fault(&format!("no time column ({}): name a common column with --join", tried.join(", ")))
        })?;
        labels.fit(&table.names, labels_file)?;
        let columns = columns(&table, labels);
        let mut timeline = Self { rows: Vec::new(), at: Vec::new(), lasting: false };
        while table.advance()? {
            let at = table.time(column)?;
            timeline.at.push((at, timeline.rows.len()));
            timeline.rows.push(truths(&table, &columns, labels)?);
        }
        timeline.finished(&table)
    }

    /// Labels by the value of a column the samples have too.
    pub(in crate::cli::model::eval) fn by_column(
        (labels_file, samples): (&Path, &Path),
        join: &str,
        time: Option<&str>,
        delimiter: u8,
        labels: &mut Labels,
    ) -> Result<Self, Failure> {
        let mut table = Table::open(labels_file, delimiter)?;
        let key = table.need(join)?;
        labels.fit(&table.names, labels_file)?;
        let columns = columns(&table, labels);
        let mut timeline = Self { rows: Vec::new(), at: Vec::new(), lasting: true };
        let mut by_key = BTreeMap::new();
        while table.advance()? {
            by_key.insert(table.cell(key).to_owned(), timeline.rows.len());
            timeline.rows.push(truths(&table, &columns, labels)?);
        }
        // What has a value without a label is labelled with nothing.
        let nothing = timeline.rows.len();
        timeline.rows.push(vec![Truth::Absent; columns.len()]);
        let mut samples = Table::open(samples, delimiter)?;
        let key = samples.need(join)?;
        let time = match time {
            Some(name) => samples.need(name)?,
            None => TIME_COLUMNS
                .iter()
                .find_map(|name| samples.column(name))
                .ok_or_else(|| samples.fault("no time column"))?,
        };
        let mut last = None;
        while samples.advance()? {
            let row = by_key.get(samples.cell(key)).copied().unwrap_or(nothing);
            if last != Some(row) {
                timeline.at.push((samples.time(time)?, row));
                last = Some(row);
            }
        }
        timeline.finished(&table)
    }

    /// What a window is labelled with; `None` if nothing or more than one row belongs to it.
    pub(in crate::cli::model::eval) fn of(&self, span: TimeSpan) -> Option<&[Truth]> {
        let start = if self.lasting {
            // The row that holds when the window begins.
            self.at.partition_point(|(at, _)| *at <= span.from).saturating_sub(1)
        } else {
            self.at.partition_point(|(at, _)| *at < span.from)
        };
        let end = self.at.partition_point(|(at, _)| *at < span.to);
        let within = self.at.get(start..end)?;
        let (_, row) = within.first()?;
        let same = within.iter().all(|(_, other)| self.rows.get(*other) == self.rows.get(*row));
        self.rows.get(*row).filter(|_| same).map(Vec::as_slice)
    }

    fn finished(mut self, table: &Table) -> Result<Self, Failure> {
        if self.at.is_empty() {
            return Err(table.fault("holds no label"));
        }
        self.at.sort_by_key(|(at, _)| *at);
        Ok(self)
    }
}

/// The column of each task.
fn columns(table: &Table, labels: &Labels) -> Vec<Option<usize>> {
    labels.fields().map(|field| field.and_then(|field| table.column(field))).collect()
}

fn truths(table: &Table, columns: &[Option<usize>], labels: &Labels) -> Result<Vec<Truth>, Failure> {
    let value = |column: Option<usize>| column.map_or("", |column| table.cell(column));
    let wrong = |what: String| table.fault(&format!("line {}: {what}", table.line()));
    let truth = |(task, column): (usize, &Option<usize>)| labels.truth(task, value(*column)).map_err(wrong);
    columns.iter().enumerate().map(truth).collect()
}

/// A CSV file with a header, row by row.
struct Table {
    path: String,
    reader: csv::Reader<RowGuard<Box<dyn Read>>>,
    names: Vec<String>,
    record: csv::StringRecord,
}

impl Table {
    fn open(path: &Path, delimiter: u8) -> Result<Self, Failure> {
        let file = open_file(path).map_err(|error| Failure::Io(error.into()))?;
        let guarded = RowGuard::new(Box::new(file) as Box<dyn Read>);
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(guarded);
        let path = path.display().to_string();
        let names = reader.headers().map_err(|error| broken(&path, error))?;
        let names = names.iter().map(str::to_owned).collect();
        Ok(Self { path, reader, names, record: csv::StringRecord::new() })
    }

    fn advance(&mut self) -> Result<bool, Failure> {
        self.reader.get_mut().renew();
        self.reader.read_record(&mut self.record).map_err(|error| broken(&self.path, error))
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    fn need(&self, name: &str) -> Result<usize, Failure> {
        let known = listed(&self.names);
        self.column(name).ok_or_else(|| self.fault(&format!("no column {name:?}, columns are {known}")))
    }

    fn cell(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default()
    }

    fn time(&self, column: usize) -> Result<EventTime, Failure> {
        let wrong = || self.fault(&format!("line {}: {:?} is no time", self.line(), self.cell(column)));
        event_time(self.cell(column)).ok_or_else(wrong)
    }

    fn line(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    fn fault(&self, what: &str) -> Failure {
        Failure::Io(anyhow::anyhow!("{}: {what}", self.path))
    }
}

fn broken(path: &str, error: csv::Error) -> Failure {
    Failure::Io(anyhow::Error::new(error).context(format!("read {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(at: &[(i64, usize)], lasting: bool) -> Timeline {
        let rows = (0..3).map(|label| vec![Truth::Label(label)]).collect();
        Timeline { rows, at: at.iter().map(|&(at, row)| (EventTime(at), row)).collect(), lasting }
    }

    fn of(timeline: &Timeline, from: i64, to: i64) -> Option<Truth> {
        let span = TimeSpan { from: EventTime(from), to: EventTime(to) };
        timeline.of(span).and_then(|truths| truths.first().copied())
    }

    #[test]
    fn a_label_with_a_time_belongs_to_the_window_it_falls_into() {
        let labels = timeline(&[(0, 0), (10, 1), (25, 2)], false);
        assert_eq!(of(&labels, 0, 10), Some(Truth::Label(0)));
        assert_eq!(of(&labels, 10, 20), Some(Truth::Label(1)));
        assert_eq!(of(&labels, 11, 25), None, "nothing falls into it");
        assert_eq!(of(&labels, 5, 26), None, "two labels disagree");
    }

    #[test]
    fn a_key_of_the_samples_holds_until_it_changes() {
        let labels = timeline(&[(0, 0), (10, 1), (20, 0)], true);
        assert_eq!(of(&labels, 0, 10), Some(Truth::Label(0)));
        assert_eq!(of(&labels, 12, 18), Some(Truth::Label(1)));
        assert_eq!(of(&labels, 5, 12), None, "the window lies over a change");
        assert_eq!(of(&labels, 30, 40), Some(Truth::Label(0)));
        assert_eq!(of(&labels, -10, -5), None, "before the first sample");
    }
}
