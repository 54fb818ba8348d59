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
        Box::pin(async move { self.answer(request).await.unwrap_or_else(Outcome::Failed) })
    }
}

impl Health {
    async fn answer(&self, request: &Request) -> Result<Outcome, String> {
        request.only(&[])?;
        // A command that lay on the broker before the start comes before the first health.
        let mut told = self.0.clone();
        let health = told.wait_for(|health| !health.is_empty()).await.map(|health| Arc::clone(&health));
        let health = health.map_err(|_| "the gateway is ending: ask again when it is back".to_owned())?;
        let health: Value = serde_json::from_str(&health).map_err(|_| "no health".to_owned())?;
        Ok(Outcome::Successful(Map::from_iter([("health".to_owned(), health)])))
    }
}
