//! One file per command; this folder alone talks to people on a terminal.

pub mod decode;
pub mod features;
pub mod outbox;
pub mod recorded;

mod args;
mod check;
mod config;
mod exit;
mod run;

pub use args::main;
