#![doc = include_str!("README.md")]

// What tests of the library share with those beside it names it so.
#[cfg(test)]
extern crate self as tidegate;

pub mod units;
pub mod clock;
pub mod ranges;
pub mod tally;

pub mod flow;
pub mod ingest;
pub mod window;
pub mod features;
pub mod text;
pub mod infer;
pub mod quality;
pub mod distill;
pub mod egress;
pub mod wire;
pub mod outbox;
pub mod forward;
pub mod governor;
pub mod board;
pub mod device;

pub mod pipeline;
pub mod config;
pub mod telemetry;
pub mod io;
pub mod runtime;
pub mod cli;
#[cfg(feature = "demo")]
pub mod demo;
