//! `tidegate model new`: a model folder from an ONNX file, and what its author has still to say.

mod args;
mod golden;
mod input;
mod manifest;
mod run;

pub(in crate::cli::model) use args::NewArgs;
pub(in crate::cli::model) use manifest::FILL_IN;
pub(in crate::cli::model) use run::new;
