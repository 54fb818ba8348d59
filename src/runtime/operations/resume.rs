//! `resume`: paused streams are judged again.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::runtime::operations::PauseBook;
use crate::runtime::operations::command::Request;
use crate::runtime::operations::operation::{Doing, Effect, Operation, Outcome};
use crate::runtime::operations::pause::{not_kept, now_paused};

/// The operation.
pub(in crate::runtime) struct Resume(pub(in crate::runtime) Arc<PauseBook>);

impl Operation for Resume {
    fn name(&self) -> &'static str {
        "resume"
    }

    fn effect(&self) -> Effect {
        Effect::Changes
    }

    fn description(&self) -> Value {
        json!({
            "about": "judges paused streams again",
            "parameters": {"streams": "names; without them all that are paused"},
        })
    }

    fn run<'a>(&'a self, request: &'a Request) -> Doing<'a> {
        Box::pin(async move { self.resume(request).await.unwrap_or_else(Outcome::Failed) })
    }
}

impl Resume {
    async fn resume(&self, request: &Request) -> Result<Outcome, String> {
        request.only(&["streams"])?;
        let streams = match request.texts("streams")? {
            Some(named) => self.0.meant(Some(&named))?,
            None => self.0.paused(),
        };
        self.0.resume(&streams).await.map_err(|error| not_kept(&error))?;
        Ok(now_paused(&self.0))
    }
}
