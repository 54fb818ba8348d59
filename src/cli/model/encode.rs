//! Features and texts to what a network gets, as the gateway makes it.

use crate::infer::Manifest;
use crate::infer::judge::normalise;
use crate::infer::manifest::Encoding;
use crate::runtime::text_row;

/// What the network gets for features (`None` where missing) or for a text, padded to a length it is loaded for; `None`
/// if the model takes neither.
pub(in crate::cli::model) fn row(
    manifest: &Manifest,
    features: Option<&[Option<f32>]>,
    text: Option<&str>,
) -> Option<Vec<f64>> {
    let Encoding::Features { features: names, normalisation, .. } = &manifest.input.encoding else {
        let mut row = text_row(manifest, text?)?;
        let fits = manifest.input.lengths().into_iter().find(|length| *length >= row.len());
        row.resize(fits.unwrap_or(row.len()), 0.0);
        return Some(row);
    };
    let values: Vec<f32> = features?.iter().map(|value| value.unwrap_or(f32::NAN)).collect();
    let mut row = Vec::new();
    normalise(&values, normalisation, &mut row);
    (values.len() == names.len()).then(|| row.into_iter().map(f64::from).collect())
}
