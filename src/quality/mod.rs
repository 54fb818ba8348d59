//! Figures about answers and times: what a model is worth, computed from truth and prediction (pure).
//!
//! # Invariants
//! The definitions are those of the field (scikit-learn's where it has one), so that figures can be compared with
//! published ones.
//!
//! # Never
//! No model is run and nothing is read here: labels, scores and times come as numbers.

mod calibration;
mod confusion;
mod entities;
mod quantiles;

pub use calibration::{
    ECE_BINS, RiskPoint, Scored, calibration_error, coverage_at, mean_risk, risk_coverage,
};
pub use confusion::{Class, Confusion, Mistake, share};
pub use entities::{Entity, EntityCounts, of_tags};
pub use quantiles::Quantiles;
