//! The numbers a window is distilled to.

/// Features of one window in the order of the layout that made them.
///
/// A feature that cannot be computed (no samples of its channel, spectrum of two samples) is NaN here and counted
/// in `missing`; the engine replaces it by the training mean, and the verdict says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureVector {
    /// One value per feature of the layout.
    pub values: Vec<f32>,
    /// How many of them could not be computed.
    pub missing: u16,
}
