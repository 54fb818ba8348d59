//! One file per command; this folder alone talks to people on a terminal.

pub mod decode;
pub mod features;
pub mod outbox;
pub mod recorded;

mod args;
mod broker;
mod check;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod decode_live;
mod exit;
mod model;
mod progress;
mod replay;
mod run;
mod selftest;
mod table;

pub use args::main;
