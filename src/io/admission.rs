//! Examines a model in a short-lived child process with limits, then hands out the very bytes that were examined.
//!
//! # Invariants
//! The parent reads each file once, checks its digest and loads from those bytes; the child reports the digests it
//! saw. A file that changes in between is found out, and nothing the child does or dies of harms the parent.

mod child;
mod parent;
mod source;

pub use child::{chain, child_main};
pub use parent::{Admission, AdmitError, Admitted};
pub use source::{ModelSource, ReloadError};
