//! `tidegate config` and `tidegate features`: what needs no more than the configuration.

use std::io::{BufReader, Read};
use std::path::Path;

use crate::cli::exit::{Failure, print, say};
use crate::cli::features::{feature_rows, ngram_rows, word_rows};
use crate::cli::recorded::Columns;
use crate::config::{Config, DEFAULT_CONFIG, StreamSettings};
use crate::features::FeatureLayout;
use crate::infer::Manifest;
use crate::infer::manifest::Encoding;
use crate::ingest::PayloadFormat;
use crate::io::files::{open_file, read_text};
use crate::runtime::word_config;
use crate::text::NgramConfig;

/// Prints the commented default configuration.
pub(in crate::cli) fn print_default() -> Result<(), Failure> {
    print(DEFAULT_CONFIG.trim_end())
}

/// Reads and validates a configuration.
pub(in crate::cli) fn load(path: &Path) -> Result<Config, Failure> {
    let text = read_text(path).map_err(|error| Failure::Config(error.into()))?;
    Config::parse(&text).map_err(|faults| Failure::Config(anyhow::anyhow!("{}:\n{faults}", path.display())))
}

/// Writes the feature vectors of a recording to stdout.
pub(in crate::cli) fn features(
    config: &Path,
    stream: &str,
    delimiter: u8,
    samples: &Path,
) -> Result<(), Failure> {
    let loaded = load(config)?;
    let settings = find_stream(&loaded, stream)?;
    let asked = settings.model.or(settings.extractor);
    let manifest = match asked.and_then(|model| loaded.models.get(usize::from(model))) {
        Some(entry) => {
            let path = entry.path.join("manifest.toml");
            let text = read_text(&path).map_err(|error| Failure::Config(error.into()))?;
            let parsed = Manifest::parse(&text).map_err(|faults| {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                Failure::Config(anyhow::anyhow!("{}:\n{}", path.display(), faults.join("\n")))
            })?;
            Some(parsed)
        }
        None => None,
    };
    let file = open_file(samples).map_err(|error| Failure::Io(error.into()))?;
    write_rows(settings, manifest.as_ref(), delimiter, file)
}

/// A stream by its name.
pub(in crate::cli) fn find_stream<'a>(config: &'a Config, name: &str) -> Result<&'a StreamSettings, Failure> {
    let found = config.streams.iter().find(|stream| *stream.name == *name);
    let names = || config.streams.iter().map(|stream| &*stream.name).collect::<Vec<_>>().join(" | ");
    found.ok_or_else(|| {
        Failure::Usage(anyhow::anyhow!("no stream is called {name:?}; there are: {}", names()))
    })
}

fn write_rows(
    settings: &StreamSettings,
    manifest: Option<&Manifest>,
    delimiter: u8,
    file: impl Read,
) -> Result<(), Failure> {
    let io = |error: crate::cli::recorded::FeatureRowsError| Failure::Io(error.into());
    let out = std::io::stdout().lock();
    match (&settings.window, manifest.map(|manifest| &manifest.input.encoding)) {
        (Some(window), encoding) => {
            let patterns = match encoding {
                Some(Encoding::Features { features, .. }) if settings.features.is_empty() => {
                    features.iter().map(ToString::to_string).collect()
                }
                Some(_) | None => settings.features.clone(),
            };
            let channels = settings.values();
            let layout =
                FeatureLayout::resolve(&patterns, channels).map_err(|error| Failure::Config(error.into()))?;
            let columns = Columns { time: time_column(settings.payload()), channels, delimiter };
            let rows = feature_rows(&layout, window, &columns, file, out).map_err(io)?;
            say(&format!("{} rows, {} windows", rows.rows, rows.windows));
        }
        (None, Some(&Encoding::CharNgrams { dims, n_min, n_max })) => {
            let config =
                NgramConfig::new(dims, n_min, n_max).map_err(|error| Failure::Config(error.into()))?;
            let field = text_field(settings.payload());
            let reports = ngram_rows(config, field, BufReader::new(file), out).map_err(io)?;
            say(&format!("{reports} reports"));
        }
        (None, Some(Encoding::WordGrams(words))) => {
            let config = word_config(words).map_err(|error| Failure::Config(error.into()))?;
            let field = text_field(settings.payload());
            let reports = word_rows(config, field, BufReader::new(file), out).map_err(io)?;
            say(&format!("{reports} reports"));
        }
        (None, Some(Encoding::Features { .. }) | None) => {
            return Err(Failure::Config(anyhow::anyhow!("stream {:?} has no features", settings.name)));
        }
    }
    Ok(())
}

/// The field of a report that holds its text; `text` where the payload is no object.
fn text_field(payload: Option<&PayloadFormat>) -> &str {
    match payload {
        Some(PayloadFormat::ReportJson { text, .. }) => text.as_str(),
        Some(
            PayloadFormat::ReportText
            | PayloadFormat::ReportNmea
            | PayloadFormat::Json { .. }
            | PayloadFormat::Senml { .. }
            | PayloadFormat::Csv { .. }
            | PayloadFormat::Packed { .. },
        )
        | None => "text",
    }
}

/// The time column of a stream's payload, where it names one.
pub(in crate::cli) fn time_column(payload: Option<&PayloadFormat>) -> Option<&str> {
    match payload? {
        PayloadFormat::Json { time, .. } | PayloadFormat::Csv { time, .. } => {
            time.as_ref().map(|time| time.name.as_str())
        }
        PayloadFormat::Senml { .. }
        | PayloadFormat::Packed { .. }
        | PayloadFormat::ReportJson { .. }
        | PayloadFormat::ReportText
        | PayloadFormat::ReportNmea => None,
    }
}
