//! What an operation is: a name, a description, and something that is done once for each command.

use std::pin::Pin;

use serde_json::{Map, Value};

use crate::runtime::operations::command::Request;

/// What becomes of a command.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::runtime) enum Outcome {
    /// It was done; what there is to say of it.
    Successful(Map<String, Value>),
    /// It was not; why, and what to do about it.
    Failed(String),
}

/// What an operation does to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Effect {
    /// Nothing: to run it again does no harm, and costs no write to the flash.
    Reads,
    /// Something: that it was begun is on the disk before it runs.
    Changes,
}

/// An outcome that may take a while.
pub(in crate::runtime) type Doing<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// One operation of the gateway.
pub(in crate::runtime) trait Operation: Send + Sync {
    /// Its word in `R/cmd/<op>`.
    fn name(&self) -> &'static str;
    /// What it does to the gateway.
    fn effect(&self) -> Effect;
    /// What it does and takes, for people and tools: the retained `R/cmd/<op>`.
    fn description(&self) -> Value;
    /// Does it.
    fn run<'a>(&'a self, request: &'a Request) -> Doing<'a>;
}
