//! Inputs for golden vectors: from samples, or random.

use std::io::BufReader;
use std::path::Path;

use crate::cli::exit::Failure;
use crate::cli::model::encode::row;
use crate::cli::model::list::short;
use crate::cli::model::new::args::NewArgs;
use crate::cli::recorded::for_each_report;
use crate::infer::manifest::{Encoding, Manifest};
use crate::io::files::open_file;
use crate::io::rows::RowGuard;

/// Columns before the features in what `tidegate features` writes.
const BEFORE_FEATURES: usize = 3;

/// Rows as the network gets them, taken evenly from all there are.
pub(in crate::cli::model::new) fn rows(
    args: &NewArgs,
    manifest: &Manifest,
) -> Result<Vec<Vec<f64>>, Failure> {
    let wanted = usize::from(args.golden);
    let is_features = matches!(manifest.input.encoding, Encoding::Features { .. });
    let rows = match &args.samples {
        Some(path) if is_features => feature_rows(path, manifest)?,
        Some(path) => {
            texts(path, &args.text)?.iter().filter_map(|text| row(manifest, None, Some(text))).collect()
        }
        None if is_features => random_features(args, manifest, wanted),
        None => {
            random_texts(args, wanted).iter().filter_map(|text| row(manifest, None, Some(text))).collect()
        }
    };
    let step = (rows.len() as f64 / wanted as f64).max(1.0);
    let mut next = 0.0_f64;
    let mut kept = Vec::with_capacity(wanted);
    for (index, row) in rows.into_iter().enumerate() {
        if index as f64 >= next && kept.len() < wanted {
            kept.push(row);
            next += step;
        }
    }
    if kept.is_empty() {
        let path = args.samples.as_deref().unwrap_or(Path::new("")).display();
        return Err(Failure::Io(anyhow::anyhow!("{path}: holds no sample the network could take")));
    }
    Ok(kept)
}

/// Rows of features, normalised.
fn feature_rows(path: &Path, manifest: &Manifest) -> Result<Vec<Vec<f64>>, Failure> {
    let file = open_file(path).map_err(|error| Failure::Io(error.into()))?;
    let mut reader = csv::Reader::from_reader(RowGuard::new(file));
    let fault = |line: u64, what: &str| {
        Failure::Io(anyhow::anyhow!(
            "{}: line {line}: {what}: write it with `tidegate features`",
            path.display()
        ))
    };
    let mut record = csv::StringRecord::new();
    let mut rows = Vec::new();
    loop {
        reader.get_mut().renew();
        let read = reader.read_record(&mut record);
        if !read
            .map_err(|error| Failure::Io(anyhow::Error::new(error).context(path.display().to_string())))?
        {
            return Ok(rows);
        }
        let line = record.position().map_or(0, csv::Position::line);
        let cells = record.iter().skip(BEFORE_FEATURES).map(|cell| match cell {
            "" => Ok(None),
            number => number.parse().map(Some),
        });
        let values: Result<Vec<Option<f32>>, _> = cells.collect();
        let values = values.map_err(|_| fault(line, "a cell is no number"))?;
        let row = row(manifest, Some(&values), None);
        rows.push(row.ok_or_else(|| fault(line, "another number of features"))?);
    }
}

/// Texts of reports.
fn texts(path: &Path, field: &str) -> Result<Vec<String>, Failure> {
    let file = open_file(path).map_err(|error| Failure::Io(error.into()))?;
    let mut texts = Vec::new();
    let read = for_each_report(field, BufReader::new(file), |text| {
        texts.push(text.to_owned());
        Ok(())
    });
    read.map_err(|error| {
        let what = format!("{}: give JSON lines, and the field of their text with --text", path.display());
        Failure::Io(anyhow::Error::new(error).context(what))
    })?;
    Ok(texts)
}

/// Normalised features of no plant: most of them within two standard deviations.
fn random_features(args: &NewArgs, manifest: &Manifest, count: usize) -> Vec<Vec<f64>> {
    let mut random = fastrand::Rng::with_seed(args.seed);
    let length = manifest.input.lengths().first().copied().unwrap_or(0);
    let mut number = || short(random.f32() * 4.0 - 2.0);
    (0..count).map(|_| (0..length).map(|_| number()).collect()).collect()
}

/// Texts of no language.
fn random_texts(args: &NewArgs, count: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(args.seed);
    let mut word = || (0..random.usize(2..9)).map(|_| random.lowercase()).collect::<String>();
    let mut text = |words: usize| (0..words).map(|_| word()).collect::<Vec<_>>().join(" ");
    (0..count).map(|number| text(2 + number % 7)).collect()
}
