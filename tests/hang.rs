//! The real program with models that hang. A target of its own: what hangs keeps its core, and other tests would starve.
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

#[expect(dead_code, reason = "the rest is for the tests of the service")]
mod service {
    pub(crate) mod gate;
    pub(crate) mod gateway;
    pub(crate) mod tap;
    pub(crate) mod world;

    mod hang;
}
