//! How reports are read for one model: a text to its input, and what it says about words back to entities.

use std::sync::Arc;

use crate::flow::{Extraction, FoundEntity, Verdict};
use crate::infer::manifest::{Encoding, FileDigest, Scope, Tags, WordGrams, WordSplit};
use crate::infer::{Evidence, Manifest, ModelInput, out_of_scope};
use crate::text::{
    KnownGrams, Mark, NgramConfig, NgramEncoder, RuleKind, RuleMatch, Rules, Split, TagDecoder, TaggedWords,
    TextError, Vocabulary, VocabularyError, WordConfig, WordEncoder, WordSpan, merge,
};

/// Entities of one report that are told. A record of the outbox holds as many of the longest types and terms, and a work
/// order has a dozen; a text with more is no report, and its extraction is uncertain.
const ENTITIES_MAX: usize = 256;

/// Why the files beside a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// A file is not there.
    #[error("{file} is missing: copy the model again")]
    Missing {
        /// Its name.
        file: Arc<str>,
    },
    /// The encoder, the tags or the bit set cannot be used.
    #[error("{what}: correct the manifest")]
    Text {
        /// Which part of the manifest.
        what: &'static str,
        /// Why.
        #[source]
        source: TextError,
    },
    /// The vocabulary cannot be used.
    #[error("{file}: write the vocabulary as docs/models.md shows")]
    Vocabulary {
        /// Its name.
        file: Arc<str>,
        /// Why.
        #[source]
        source: VocabularyError,
    },
}

/// Reads reports for one model.
pub struct Reading {
    manifest: Arc<Manifest>,
    encoder: Encoder,
    known: Option<KnownGrams>,
    marker: Option<Marker>,
    words: Vec<WordSpan>,
}

enum Encoder {
    Ngrams(NgramEncoder),
    Words(WordEncoder),
}

/// What makes entities of tags.
struct Marker {
    decoder: TagDecoder,
    vocabulary: Option<Vocabulary>,
    rules: Rules,
    /// Types of the tags, then those that only rules find.
    types: Vec<Arc<str>>,
    tagged: Vec<TaggedWords>,
    matched: Vec<RuleMatch>,
    marks: Vec<Mark>,
}

/// The input of a report: buffers kept from one to the next.
#[derive(Default)]
pub struct TextInput {
    dense: Vec<f32>,
    ids: Vec<i64>,
    known_share: Option<f32>,
}

impl Reading {
    /// Sets up what a manifest asks for; `None` for a model that takes features. `files` gives the bytes of a file
    /// beside the manifest.
    ///
    /// # Errors
    /// If a file is missing or is not what it should be.
    pub fn new(
        manifest: &Arc<Manifest>,
        files: &dyn Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<Option<Self>, ReadingError> {
        let text = |what| move |source| ReadingError::Text { what, source };
        let encoder = match &manifest.input.encoding {
            Encoding::Features { .. } => return Ok(None),
            &Encoding::CharNgrams { dims, n_min, n_max } => {
                let config = NgramConfig::new(dims, n_min, n_max).map_err(text("input.encoder"))?;
                Encoder::Ngrams(NgramEncoder::new(config))
            }
            Encoding::WordGrams(words) => {
                Encoder::Words(WordEncoder::new(word_config(words).map_err(text("input.encoder"))?))
            }
        };
        let bytes = |wanted: &FileDigest| {
            files(&wanted.file).ok_or_else(|| ReadingError::Missing { file: Arc::clone(&wanted.file) })
        };
        let known = match &manifest.scope {
            Some(Scope::KnownGrams { n, known, .. }) => {
                Some(KnownGrams::new(bytes(known)?, *n).map_err(text("scope"))?)
            }
            Some(Scope::FeatureDistance { .. }) | None => None,
        };
        let marker = match &manifest.tags {
            Some(tags) => {
                let vocabulary = match &tags.vocabulary {
                    Some(wanted) => Some(Vocabulary::parse(&bytes(wanted)?).map_err(|source| {
                        ReadingError::Vocabulary { file: Arc::clone(&wanted.file), source }
                    })?),
                    None => None,
                };
                Some(Marker::new(tags, vocabulary).map_err(text("tags"))?)
            }
            None => None,
        };
        Ok(Some(Self { manifest: Arc::clone(manifest), encoder, known, marker, words: Vec::new() }))
    }

    /// Types of the entities it marks, in the order of their indices.
    pub fn entity_types(&self) -> &[Arc<str>] {
        self.marker.as_ref().map_or(&[], |marker| &marker.types)
    }

    /// The terms an entity may stand for, in the order of their indices.
    pub fn terms(&self) -> &[Arc<str>] {
        let vocabulary = self.marker.as_ref().and_then(|marker| marker.vocabulary.as_ref());
        vocabulary.map_or(&[], Vocabulary::terms)
    }

    /// Makes the input of a model that answers tasks; returns how many words were left out.
    pub fn fill(&mut self, text: &str, input: &mut TextInput) -> usize {
        input.known_share = self.known.as_mut().map(|known| known.share(text));
        match &mut self.encoder {
            Encoder::Ngrams(encoder) => {
                encoder.encode(text, &mut input.dense);
                0
            }
            Encoder::Words(encoder) => {
                encoder.split(text, &mut self.words);
                input.ids.clear();
                let kept = encoder.config().words_max().min(self.words.len());
                encoder.encode(text, &self.words, kept, &mut input.ids).words
            }
        }
    }

    /// The input that [`Self::fill`] made.
    pub fn input<'a>(&self, made: &'a TextInput) -> ModelInput<'a> {
        let known_share = made.known_share;
        match &self.encoder {
            Encoder::Ngrams(_) => ModelInput::Vector { values: &made.dense, known_share },
            Encoder::Words(_) => ModelInput::Words { ids: &made.ids, known_share },
        }
    }

    /// Fills `words` with the places of the words of a text; a model that takes no words sees none.
    pub fn split(&self, text: &str, words: &mut Vec<WordSpan>) {
        match &self.encoder {
            Encoder::Ngrams(_) => words.clear(),
            Encoder::Words(encoder) => encoder.split(text, words),
        }
    }

    /// Words that the model takes in one row.
    pub fn words_max(&self) -> usize {
        match &self.encoder {
            Encoder::Ngrams(_) => 1,
            Encoder::Words(encoder) => encoder.config().words_max(),
        }
    }

    /// The ids of some words of a text.
    pub fn encode(&mut self, text: &str, words: &[WordSpan], row: &mut Vec<i64>) {
        row.clear();
        match &mut self.encoder {
            Encoder::Ngrams(_) => {}
            Encoder::Words(encoder) => {
                encoder.encode(text, words, words.len(), row);
            }
        }
    }

    /// The entities of a text from the logits of its words. Below `uncertain_below` an entity is uncertain, whatever the
    /// manifest says.
    pub fn entities(
        &mut self,
        text: &str,
        words: &[WordSpan],
        logits: &[f32],
        uncertain_below: Option<f32>,
    ) -> Extraction {
        let known_share = self.known.as_mut().map(|known| known.share(text));
        let evidence = Evidence { known_share, words: words.len(), ..Evidence::default() };
        let threshold = self.manifest.tags.as_ref().map_or(0.0, |tags| tags.threshold);
        let threshold = uncertain_below.map_or(threshold, |own| own.max(threshold));
        let mut found = self.marker.as_mut().map_or_else(Vec::new, |marker| marker.mark(text, words, logits));
        let untold = u32::try_from(found.len().saturating_sub(ENTITIES_MAX)).unwrap_or(u32::MAX);
        found.truncate(ENTITIES_MAX);
        let verdict = if out_of_scope(self.manifest.scope.as_ref(), &evidence) {
            Verdict::OutOfScope
        } else if untold == 0 && found.iter().all(|entity| entity.by_rule || entity.score >= threshold) {
            Verdict::Accepted
        } else {
            Verdict::Uncertain
        };
        Extraction { found, untold, verdict }
    }
}

impl Marker {
    fn new(tags: &Tags, vocabulary: Option<Vocabulary>) -> Result<Self, TextError> {
        let rules: Vec<RuleKind> = tags.rules.iter().filter_map(|name| RuleKind::named(name)).collect();
        let mut types = tags.types.clone();
        for rule in &rules {
            if !types.iter().any(|known| **known == *rule.entity_type()) {
                types.push(Arc::from(rule.entity_type()));
            }
        }
        let count = u16::try_from(tags.types.len()).unwrap_or(u16::MAX);
        Ok(Self {
            decoder: TagDecoder::new(count, tags.temperature, tags.outside_bias)?,
            vocabulary,
            rules: Rules::new(&rules),
            types,
            tagged: Vec::new(),
            matched: Vec::new(),
            marks: Vec::new(),
        })
    }

    /// What tags and rules find in a text.
    fn mark(&mut self, text: &str, words: &[WordSpan], logits: &[f32]) -> Vec<FoundEntity> {
        let Self { decoder, vocabulary, rules, types, tagged, matched, marks } = self;
        decoder.decode(logits, tagged);
        rules.find(text, matched);
        marks.clear();
        marks.extend(tagged.iter().filter_map(|entity| {
            let (first, last) = (words.get(entity.first)?, words.get(entity.end.checked_sub(1)?)?);
            let (start, end) = (first.start, last.end);
            Some(Mark { kind: entity.kind, start, end, score: entity.score, by_rule: false })
        }));
        marks.extend(matched.iter().filter_map(|found| {
            let kind = types.iter().position(|known| **known == *found.kind.entity_type())?;
            let kind = u16::try_from(kind).ok()?;
            Some(Mark { kind, start: found.start, end: found.end, score: 1.0, by_rule: true })
        }));
        merge(text, marks);
        let found = marks.iter().map(|&Mark { kind, start, end, score, by_rule }| {
            let written = text.get(start as usize..end as usize).filter(|_| !by_rule);
            let value = vocabulary.as_mut().zip(written).and_then(|(terms, written)| terms.lookup(written));
            FoundEntity { kind, value, start, end, score, by_rule }
        });
        found.collect()
    }
}

/// Words as the manifest describes them, for the room that makes them.
pub fn word_config(words: &WordGrams) -> Result<WordConfig, TextError> {
    let split = match words.split {
        WordSplit::Space => Split::Space,
        WordSplit::Punctuation => Split::Punctuation,
        WordSplit::Classes => Split::Classes,
    };
    let grams = u8::try_from(words.grams).unwrap_or(u8::MAX);
    WordConfig::new(split, words.dims, (words.n_min, words.n_max), grams, &words.lengths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ClockQuality, EventTime};
    use crate::flow::{Change, Entity, EventId, Extracted, Facts, Outbound, Priority, StreamKind, When};
    use crate::infer::manifest::{self, KNOWN_BYTES_MAX, RULES};
    use crate::text;
    use crate::wire::encode_record;
    use crate::wire::limits::RECORD_BYTES_MAX;

    const MANIFEST: &str = include_str!("../../tests/golden/models/tagger/manifest.toml");
    const VOCABULARY: &[u8] = include_bytes!("../../tests/golden/models/tagger/vocabulary.json");
    const KNOWN: &[u8] = include_bytes!("../../tests/golden/models/tagger/known.bin");

    /// Reads with these files in place of the good ones.
    fn read(manifest: &str, vocabulary: Option<&[u8]>, known: &[u8]) -> Result<Reading, ReadingError> {
        let files = |name: &str| match name {
            "vocabulary.json" => vocabulary.map(<[u8]>::to_vec),
            _ => Some(known.to_vec()),
        };
        let manifest = Arc::new(Manifest::parse(manifest).unwrap());
        Reading::new(&manifest, &files).map(|reading| reading.expect("words"))
    }

    /// Logits of five classes for each word: outside, or sure of a class.
    fn logits(classes: &[usize], certainty: f32) -> Vec<f32> {
        let row =
            |class: &usize| (0..5).map(|at| if at == *class { certainty } else { 0.0 }).collect::<Vec<_>>();
        classes.iter().flat_map(row).collect()
    }

    fn marked(text: &str, classes: &[usize], certainty: f32, uncertain_below: Option<f32>) -> Extraction {
        let mut reading = read(MANIFEST, Some(VOCABULARY), KNOWN).unwrap();
        let mut words = Vec::new();
        reading.split(text, &mut words);
        assert_eq!(words.len(), classes.len());
        reading.entities(text, &words, &logits(classes, certainty), uncertain_below)
    }

    #[test]
    fn the_rules_of_a_manifest_are_those_there_are() {
        let mut known = RuleKind::ALL.map(RuleKind::name);
        let mut named = RULES;
        known.sort_unstable();
        named.sort_unstable();
        assert_eq!(known, named);
    }

    #[test]
    fn whatever_a_manifest_may_ask_for_can_be_read() {
        let types: Vec<String> = (0..64).map(|kind| format!("\"t{kind}\"")).collect();
        for (from, to) in [
            ("dims = 1024", "dims = 65536"),
            ("n_min = 3, n_max = 3", "n_min = 1, n_max = 8"),
            ("grams = 4", "grams = 64"),
            ("lengths = [4, 8]", "lengths = [1, 2, 3, 4, 5, 6, 7, 512]"),
            ("\"Item\", \"Activity\"", &types.join(", ")),
            ("\nn = 3", "\nn = 8"),
        ] {
            assert!(MANIFEST.contains(from), "{from}");
            let read = read(&MANIFEST.replacen(from, to, 1), Some(VOCABULARY), KNOWN);
            assert!(read.is_ok(), "{to}: {:?}", read.err());
        }
        let known = vec![0; usize::try_from(KNOWN_BYTES_MAX).unwrap()];
        assert!(read(MANIFEST, Some(VOCABULARY), &known).is_ok());
        assert_eq!(usize::try_from(manifest::VOCABULARY_BYTES_MAX), Ok(text::VOCABULARY_BYTES_MAX));
    }

    #[test]
    fn an_entity_has_its_place_its_term_and_its_score() {
        let found = marked("check hyd.  Pump", &[3, 1, 2], 9.0, None);
        let places: Vec<_> =
            found.found.iter().map(|found| (found.kind, found.value, found.start, found.end)).collect();
        assert_eq!(places, [(1, None, 0, 5), (0, Some(0), 6, 16)]);
        assert!(found.verdict == Verdict::Accepted && found.found.iter().all(|found| found.score > 0.99));
    }

    #[test]
    fn a_classifier_is_told_how_much_of_a_report_is_known_and_what_was_cut() {
        let mut reading = read(MANIFEST, Some(VOCABULARY), KNOWN).unwrap();
        let mut made = TextInput::default();
        for (text, cut, is_known) in [
            ("check valve", 0, true),
            ("qqqq kkkk", 0, false),
            ("check hyd. valve seal gasket a b c d e", 2, true),
        ] {
            assert_eq!(reading.fill(text, &mut made), cut, "{text}");
            let ModelInput::Words { ids, known_share: Some(share) } = reading.input(&made) else {
                panic!("words with a share")
            };
            assert_eq!((ids.len(), share > 0.5), ((text.split(' ').count() - cut) * 4, is_known), "{text}");
        }
    }

    #[test]
    fn each_cause_of_doubt_about_entities_alone_is_enough() {
        let verdict =
            |text, classes: &[usize], certainty, below| marked(text, classes, certainty, below).verdict;
        assert_eq!(verdict("check valve", &[3, 1], 3.0, None), Verdict::Accepted);
        assert_eq!(verdict("check valve", &[3, 1], 1.0, None), Verdict::Uncertain);
        assert_eq!(
            verdict("check valve", &[3, 1], 3.0, Some(0.95)),
            Verdict::Uncertain,
            "the stream is stricter"
        );
        assert_eq!(verdict("check valve", &[3, 1], 1.0, Some(0.1)), Verdict::Uncertain, "and never laxer");
        assert_eq!(verdict("qqqq kkkk", &[3, 1], 1.0, None), Verdict::OutOfScope);
        assert_eq!(verdict("check valve", &[0, 0], 0.1, None), Verdict::Accepted, "nothing to doubt");
        let many = "check ".repeat(ENTITIES_MAX + 1);
        let found = marked(&many, &vec![3; ENTITIES_MAX + 1], 9.0, None);
        assert_eq!((found.found.len(), found.untold, found.verdict), (ENTITIES_MAX, 1, Verdict::Uncertain));
    }

    #[test]
    fn as_many_entities_as_are_told_fit_into_a_record_whatever_they_are_called() {
        let entity = |index: usize| Entity {
            kind: format!("{index:0>64}").into(),
            value: Some(format!("{index:0>128}").into()),
        };
        let model: Arc<str> = "x".repeat(129).into();
        let facts = Facts {
            id: EventId { epoch: u32::MAX, number: u64::MAX },
            stream: "x".repeat(32).into(),
            kind: StreamKind::Report,
            when: When::At(EventTime(i64::MAX / 2)),
            clock: ClockQuality::Synced,
            model: Arc::clone(&model),
            results: Vec::new(),
            features: Vec::new(),
            entities: (0..ENTITIES_MAX).map(entity).collect(),
            extraction: Some(Extracted { model, verdict: Verdict::Accepted }),
            completeness: None,
            change: Change::New,
            priority: Priority::Normal,
            historical: false,
            summary: None,
        };
        let mut record = Vec::new();
        encode_record(&Outbound::passed(facts), &mut record).unwrap();
        assert!(record.len() < RECORD_BYTES_MAX * 4 / 5, "room for labels: {} bytes", record.len());
    }

    #[test]
    fn files_that_are_not_what_they_should_be_are_told_with_what_to_do() {
        let why =
            |manifest: &str, vocabulary: Option<&[u8]>, known: &[u8]| match read(manifest, vocabulary, known)
            {
                Ok(_) => "read".to_owned(),
                Err(error) => error.to_string(),
            };
        assert_eq!(why(MANIFEST, Some(VOCABULARY), KNOWN), "read");
        assert_eq!(why(MANIFEST, None, KNOWN), "vocabulary.json is missing: copy the model again");
        let wrong = why(MANIFEST, Some(b"{\"terms\":[]}"), KNOWN);
        assert_eq!(wrong, "vocabulary.json: write the vocabulary as docs/models.md shows");
        assert_eq!(why(MANIFEST, Some(VOCABULARY), &[0; 17]), "scope: correct the manifest");
    }

    #[test]
    fn types_that_only_rules_find_come_after_those_of_the_tags() {
        let own = MANIFEST
            .replace("\"Activity\"]", "\"email_address\"]")
            .replace("[\"email\"]", "[\"imo\", \"email\"]");
        let reading = read(&own, Some(VOCABULARY), KNOWN).unwrap();
        let types: Vec<&str> = reading.entity_types().iter().map(|name| &**name).collect();
        assert_eq!(types, ["Item", "email_address", "imo"]);
    }
}
