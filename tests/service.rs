//! The real program between real brokers, while things break.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic and tell why"
)]

mod common;
#[path = "support/hanging.rs"]
mod hanging;
#[path = "support/onnx.rs"]
#[expect(dead_code, reason = "its other half is for hostile graphs")]
mod onnx;

mod service {
    pub(crate) mod gate;
    pub(crate) mod gateway;
    pub(crate) mod tap;
    pub(crate) mod world;

    mod brokers;
    mod disk;
    mod ends;
    mod hang;
    mod hostile;
    mod inputs;
    mod models;
    mod operations;
    mod power;
    mod reports;
}
