//! The real program between real brokers, while things break.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic and tell why"
)]

mod common;

mod service {
    pub(crate) mod gate;
    pub(crate) mod gateway;
    pub(crate) mod tap;
    pub(crate) mod world;

    mod brokers;
    mod disk;
    mod ends;
    mod hostile;
    mod inputs;
    mod models;
    mod operations;
    mod power;
    mod reports;
}
