//! The models' thread: what lies before it, which models are loaded, and what becomes of the rest when one hangs.
//!
//! ```text
//! brain ──batches──► bench ──next──► worker ──judges, marks──► brain
//!                      │  ▲             │
//!                shelf ┘  └── desk ◄────┘ leaves all but the model it asks; hang watches it
//! ```
//!
//! # Invariants
//! One model is asked at a time, and while it is, everything else lies on the desk: another thread can go on from there.
//! A model is loaded from bytes whose digest is the admitted one, on a thread of its own.

mod bench;
mod desk;
mod hang;
mod judging;
mod models;
mod shelf;
mod silence;
mod worker;

pub use hang::InferLost;
pub use models::{ADMISSION_MEMORY, ADMISSION_SECONDS, ModelFault, Models, load_models};

pub(in crate::runtime) use bench::Bench;
pub(in crate::runtime) use desk::Desk;
pub(in crate::runtime) use hang::HangWatch;
pub(in crate::runtime) use judging::{Judged, StreamInput};
pub(in crate::runtime) use models::model_parts;
pub(in crate::runtime) use shelf::Shelf;
pub(in crate::runtime) use worker::DRAIN_MAX;
