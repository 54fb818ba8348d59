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
        let health: Value = serde_json::from_str(&health)
            .map_err(|_| "health is no JSON: a bug, please report it".to_owned())?;
        Ok(Outcome::Successful(Map::from_iter([("health".to_owned(), health)])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_that_comes_before_the_first_health_is_answered_with_it() {
        let (told, seen) = watch::channel(Arc::from(""));
        let (health, request) = (Health(seen), Request::default());
        let first = async { drop(told.send_replace(Arc::from(r#"{"status":"up"}"#))) };
        let (outcome, ()) = tokio::join!(biased; health.run(&request), first);
        let Outcome::Successful(answer) = outcome else { panic!("{outcome:?}") };
        assert_eq!(answer["health"], json!({"status": "up"}));
    }
}
