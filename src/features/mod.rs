//! Windows to feature vectors (pure).
//!
//! # Invariants
//! A feature is a finite number or it is missing (NaN in the vector and counted); nothing between. The same window
//! and layout give the same vector, whatever was extracted before.
//!
//! # Never
//! No model, no normalisation: that belongs to the engine, which knows the training mean. No clock: times are those
//! of the samples.
//!
//! # Why
//! Padding to powers of two instead of a transform per exact length: windows in event time hold a sample more or
//! less each time, and every new length would be a new plan.

mod layout;
mod names;
mod stats;
mod spectrum;
mod extractor;

pub use extractor::Extractor;
pub use layout::{FEATURES_MAX, FeatureLayout};
pub use names::{Feature, FeatureError};
