//! `tidegate model eval`: what a model is worth on labelled data, through the gateway's own code.
//!
//! Samples are cut by the service's windower, features and texts encoded as the service does, answers calibrated and
//! doubted as the manifest says. What is counted is what a plant would see.

mod args;
mod judge;
mod labels;
mod marked;
mod page;
mod plot;
mod reports;
mod run;
mod svg;
mod tally;
mod windows;

pub(in crate::cli::model) use args::EvalArgs;
pub(in crate::cli::model) use run::eval;
