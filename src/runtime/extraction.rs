//! Reports through a model that marks entities: in pieces of as many words as it takes, several pieces in one run.
//!
//! # Invariants
//! A report is marked as if it had gone through alone. One that fails takes no other with it.
//! No more than [`WORDS_MAX`] words are in memory with their tags.

use crate::flow::{Extraction, FailureReason, ModelId, Verdict};
use crate::infer::{BATCH_MIN, ModelInput, Registry, ReportCounts};
use crate::runtime::reading::Reading;
use crate::text::WordSpan;

/// Words of one report that are read, and of several that are under way together: 64 KiB, the usual limit of a text, in
/// words of three letters. Their tags take 2.8 MB for 21 types.
pub(in crate::runtime) const WORDS_MAX: usize = 16_384;

/// Words whose buffers are kept from one call to the next.
const WORDS_KEPT: usize = 1_024;

/// Numbers whose buffer is kept: the tags of so many words for 10 types.
const LOGITS_KEPT: usize = WORDS_KEPT * 21;

/// A report to be marked.
pub struct Unmarked<'a> {
    /// The whole text.
    pub text: &'a str,
    /// Entities below this are uncertain, whatever the manifest says.
    pub uncertain_below: Option<f32>,
}

/// Reports on their way through a model, and buffers kept from one call to the next.
#[derive(Default)]
pub struct Pieces {
    /// One per report of the largest call so far.
    reports: Vec<Progress>,
    /// Rows of the next run, the first `filled` in use.
    rows: Vec<Row>,
    filled: usize,
    /// The report whose words are put into rows, and how many of them have been; `None` before its first.
    report: usize,
    words: Option<usize>,
    /// Words of the reports that have begun and have no result yet.
    under_way: usize,
    results: Vec<Result<Extraction, FailureReason>>,
}

/// How far a report has come.
#[derive(Default)]
struct Progress {
    words: Vec<WordSpan>,
    /// Words that are not read.
    cut: usize,
    logits: Vec<f32>,
    failed: Option<FailureReason>,
}

/// A piece of a report.
#[derive(Default)]
struct Row {
    report: usize,
    ids: Vec<i64>,
}

impl Pieces {
    /// Marks entities: a result for each report, in their order. `late` says whether the deadline of a report passed.
    pub fn mark(
        &mut self,
        registry: &mut Registry,
        (model, reading): (ModelId, &mut Reading),
        reports: &[Unmarked<'_>],
        late: &mut dyn FnMut(usize) -> bool,
    ) -> Vec<Result<Extraction, FailureReason>> {
        self.start(reports.len());
        while self.step(registry, (model, &mut *reading), reports, late) {}
        self.results()
    }

    /// So many reports follow.
    pub fn start(&mut self, count: usize) {
        if self.reports.len() < count {
            self.reports.resize_with(count, Progress::default);
        }
        (self.filled, self.report, self.words, self.under_way) = (0, 0, None, 0);
        self.results.clear();
    }

    /// Does the next piece: one run of the model, or the entities of one report. True while there is more. To be called
    /// with the same reports each time.
    pub fn step(
        &mut self,
        registry: &mut Registry,
        (model, reading): (ModelId, &mut Reading),
        reports: &[Unmarked<'_>],
        late: &mut dyn FnMut(usize) -> bool,
    ) -> bool {
        if self.results.len() < self.report
            && let Some(report) = reports.get(self.results.len())
        {
            self.finish(reading, report);
        } else {
            self.fill(registry, (model, reading), reports);
            self.run(registry, model, late);
        }
        self.results.len() < reports.len()
    }

    /// What became of the reports.
    pub fn results(&mut self) -> Vec<Result<Extraction, FailureReason>> {
        std::mem::take(&mut self.results)
    }

    /// Puts words into rows until a run is full, the reports are at their end, or too many are under way.
    fn fill(
        &mut self,
        registry: &mut Registry,
        (model, reading): (ModelId, &mut Reading),
        reports: &[Unmarked<'_>],
    ) {
        let batch_max = registry.batch_max(model).max(1);
        self.rows.resize_with(batch_max.max(self.rows.len()), Row::default);
        while let Some(report) = reports.get(self.report) {
            let Some(progress) = self.reports.get_mut(self.report) else { return };
            let Some(from) = self.words else {
                progress.start(reading, report.text);
                let count = progress.words.len();
                if self.under_way > 0 && self.under_way + count > WORDS_MAX {
                    // Its turn comes when those before it are done.
                    progress.words.clear();
                    return;
                }
                let cut_words = progress.cut as u64;
                registry.count(model, ReportCounts { cut_words, ..ReportCounts::default() });
                self.under_way += count;
                self.words = Some(0);
                continue;
            };
            if self.filled == batch_max {
                return;
            }
            let rest = progress.words.get(from..).unwrap_or_default();
            let piece = rest.get(..reading.words_max().max(1).min(rest.len())).unwrap_or_default();
            if piece.is_empty() {
                (self.report, self.words) = (self.report + 1, None);
                continue;
            }
            if let Some(row) = self.rows.get_mut(self.filled) {
                row.report = self.report;
                reading.encode(report.text, piece, &mut row.ids);
                self.filled += 1;
            }
            self.words = Some(from + piece.len());
        }
    }

    /// Puts the rows that are filled through the model, together where that is worth it.
    fn run(&mut self, registry: &mut Registry, model: ModelId, late: &mut dyn FnMut(usize) -> bool) {
        let Self { reports, rows, filled, .. } = self;
        let rows = rows.get(..std::mem::take(filled)).unwrap_or_default();
        for rows in rows.chunks(if rows.len() < BATCH_MIN { 1 } else { rows.len() }) {
            let failed = |row: &&Row| reports.get(row.report).is_none_or(|report| report.failed.is_some());
            let rows: Vec<&Row> = rows.iter().filter(|row| !failed(row)).collect();
            let inputs: Vec<_> =
                rows.iter().map(|row| ModelInput::Words { ids: &row.ids, known_share: None }).collect();
            let mut late = |item: usize| rows.get(item).is_some_and(|row| late(row.report));
            let tagged = if inputs.is_empty() { Vec::new() } else { registry.tag(model, &inputs, &mut late) };
            for (row, tagged) in rows.iter().zip(tagged) {
                let Some(report) = reports.get_mut(row.report) else { continue };
                match tagged {
                    Ok(logits) => report.logits.extend(logits),
                    Err(reason) => report.failed = Some(reason),
                }
            }
        }
    }

    /// Makes entities of the tags of the next report, and frees what only a long one needs.
    fn finish(&mut self, reading: &mut Reading, report: &Unmarked<'_>) {
        let Some(progress) = self.reports.get_mut(self.results.len()) else { return };
        self.under_way = self.under_way.saturating_sub(progress.words.len());
        self.results.push(match progress.failed {
            Some(reason) => Err(reason),
            None => Ok(progress.entities(reading, report)),
        });
        progress.words.truncate(WORDS_KEPT);
        progress.words.shrink_to(WORDS_KEPT);
        progress.logits.truncate(LOGITS_KEPT);
        progress.logits.shrink_to(LOGITS_KEPT);
    }
}

impl Progress {
    fn start(&mut self, reading: &Reading, text: &str) {
        self.logits.clear();
        self.failed = None;
        reading.split(text, &mut self.words);
        self.cut = self.words.len().saturating_sub(WORDS_MAX);
        self.words.truncate(WORDS_MAX);
    }

    fn entities(&self, reading: &mut Reading, report: &Unmarked<'_>) -> Extraction {
        let mut extraction = reading.entities(report.text, &self.words, &self.logits, report.uncertain_below);
        if self.cut > 0 {
            extraction.verdict = extraction.verdict.max(Verdict::Uncertain);
        }
        extraction
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::infer::{BATCH_MAX, Digest, Manifest, Model};

    const MANIFEST: &str = include_str!("../../tests/golden/models/tagger/manifest.toml");
    const GRAPH: &[u8] = include_bytes!("../../tests/golden/models/tagger/model.onnx");

    fn tagger() -> (Registry, Reading) {
        let manifest = Arc::new(Manifest::parse(MANIFEST).unwrap());
        let file = |name: &str| match name {
            "vocabulary.json" => {
                Some(include_bytes!("../../tests/golden/models/tagger/vocabulary.json").to_vec())
            }
            _ => Some(include_bytes!("../../tests/golden/models/tagger/known.bin").to_vec()),
        };
        let reading = Reading::new(&manifest, &file).unwrap().unwrap();
        let mut registry = Registry::new();
        registry.add(Model::load(manifest, GRAPH, &[1, BATCH_MAX]).unwrap(), Digest::of(GRAPH), 0).unwrap();
        (registry, reading)
    }

    fn unmarked(text: &str) -> Unmarked<'_> {
        Unmarked { text, uncertain_below: None }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn reports_are_marked_together_as_alone_and_each_by_its_own_deadline(
            texts in prop::collection::vec("((check|hyd\\.|hydraulic|pump|x|oil) ?){0,40}", 0..20),
            late in prop::collection::vec(0_u8..8, 20),
        ) {
            let (mut registry, mut reading) = tagger();
            let mut pieces = Pieces::default();
            let mut alone = |text: &str| {
                let mut marked =
                    Pieces::default().mark(&mut registry, (ModelId(0), &mut reading), &[unmarked(text)], &mut |_| false);
                marked.remove(0).unwrap()
            };
            let expected: Vec<Extraction> = texts.iter().map(|text| alone(text)).collect();
            let reports: Vec<_> = texts.iter().map(|text| unmarked(text)).collect();
            for _ in 0..2 {
                let is_late = |item: usize| late[item] == 0;
                let marked =
                    pieces.mark(&mut registry, (ModelId(0), &mut reading), &reports, &mut |item| is_late(item));
                prop_assert_eq!(marked.len(), texts.len());
                for (item, (marked, expected)) in marked.into_iter().zip(&expected).enumerate() {
                    // A text without a word asks the model nothing.
                    if is_late(item) && !texts[item].trim().is_empty() {
                        prop_assert_eq!(marked, Err(FailureReason::Deadline));
                    } else {
                        prop_assert_eq!(&marked.unwrap(), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn an_entity_lies_across_the_border_of_two_pieces() {
        let (mut registry, mut reading) = tagger();
        let text = format!("{}hydraulic pump", "x ".repeat(7));
        let marked = Pieces::default().mark(
            &mut registry,
            (ModelId(0), &mut reading),
            &[unmarked(&text)],
            &mut |_| false,
        );
        let found = &marked[0].as_ref().unwrap().found;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].start, found[0].end, found[0].value), (14, 28, Some(0)));
    }

    #[test]
    fn a_text_without_end_is_read_as_far_as_allowed_and_takes_no_memory_with_it() {
        let (mut registry, mut reading) = tagger();
        let mut pieces = Pieces::default();
        let (long, short) = ("hydraulic pump x ".repeat(WORDS_MAX), "check pump".to_owned());
        let texts = [&short, &long, &short, &long, &short];
        let reports: Vec<_> = texts.iter().map(|text| unmarked(text)).collect();
        let marked = pieces.mark(&mut registry, (ModelId(0), &mut reading), &reports, &mut |_| false);
        let verdicts: Vec<_> = marked.iter().map(|marked| marked.as_ref().unwrap().verdict).collect();
        let (whole, cut) = (Verdict::Accepted, Verdict::Uncertain);
        assert_eq!(verdicts, [whole, cut, whole, cut, whole]);
        let status = registry.status().next().unwrap();
        assert_eq!(status.reports.cut_words, 2 * 2 * WORDS_MAX as u64);
        for report in &pieces.reports {
            assert!(report.logits.capacity() <= LOGITS_KEPT && report.words.capacity() <= WORDS_KEPT);
        }
    }
}
