//! `tidegate model …`: what is installed, what a model is, costs and achieves, and the way to one of one's own.
//!
//! One file per question. Every figure is measured here and now, on one thread, unless it says whose it is.

mod bench;
mod cases;
mod encode;
mod eval;
mod folder;
mod graph;
mod inspect;
mod list;
mod measure;
mod measured;
mod new;
mod question;
mod report;

pub(in crate::cli) use question::{ModelQuestion, ask};
