//! `health`: the answer is the state of the gateway at this moment.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::runtime::operations::command::Request;
use crate::runtime::operations::operation::{Doing, Effect, Operation, Outcome};

/// The operation; what `R/status/health` says comes through this.
pub(in crate::runtime) struct Health(pub(in crate::runtime) watch::Receiver<Arc<str>>);

impl Operation for Health {
    fn name(&self) -> &'static str {
        "health"
    }

    fn effect(&self) -> Effect {
        Effect::Reads
    }

    fn description(&self) -> Value {
        json!({"about": "answers with what status/health says now", "parameters": {}})
    }

    fn run<'a>(&'a self, request: &'a Request) -> Doing<'a> {
        Box::pin(async move { self.answer(request).unwrap_or_else(Outcome::Failed) })
    }
}

impl Health {
    fn answer(&self, request: &Request) -> Result<Outcome, String> {
        request.only(&[])?;
        let health = self.0.borrow().clone();
        let health: Value = serde_json::from_str(&health)
            .map_err(|_| "nothing is known yet: ask again in a second".to_owned())?;
        Ok(Outcome::Successful(Map::from_iter([("health".to_owned(), health)])))
    }
}
