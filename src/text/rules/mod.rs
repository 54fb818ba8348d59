//! Identifiers that are told by their form and check digits: no model needed, none consulted.
//!
//! # Invariants
//! Any text, in time linear in its length, without a panic; what is found does not overlap and lies on character
//! boundaries. Each kind reads a bounded number of bytes from each place.
//!
//! # Why
//! Written by hand, one small file per kind: a regular expression finds the form but not the check digits, and the
//! crate that compiles them is larger than all kinds together.

mod card;
mod context;
mod coordinates;
mod email;
mod folded;
mod iban;
mod imo;
mod ip;
mod kind;
mod mac;
mod mmsi;
mod phone;
mod reader;
mod scan;

pub use kind::RuleKind;
pub use scan::{RuleMatch, Rules};
