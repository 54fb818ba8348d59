//! `pause`: streams are read, counted and not judged, for a while or until they are resumed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::runtime::operations::PauseBook;
use crate::runtime::operations::command::Request;
use crate::runtime::operations::operation::{Doing, Effect, Operation, Outcome};
use crate::runtime::state_files::NotKept;
use crate::units::format_duration;

/// Longest pause with an end: whoever means longer means until it is resumed.
const LENGTH_MAX: Duration = Duration::from_hours(24 * 31);

/// Shortest one: what is shorter is over before it is told.
const LENGTH_MIN: Duration = Duration::from_secs(1);

/// The operation.
pub(in crate::runtime) struct Pause(pub(in crate::runtime) Arc<PauseBook>);

impl Operation for Pause {
    fn name(&self) -> &'static str {
        "pause"
    }

    fn effect(&self) -> Effect {
        Effect::Changes
    }

    fn description(&self) -> Value {
        json!({
            "about": "reads and counts streams without judging them",
            "parameters": {
                "streams": "names; without them all but alarm streams, which must be named",
                "for": "a duration such as \"10 min\", at most 31 d; without it until resume",
            },
        })
    }

    fn run<'a>(&'a self, request: &'a Request) -> Doing<'a> {
        Box::pin(async move { self.pause(request).await.unwrap_or_else(Outcome::Failed) })
    }
}

impl Pause {
    async fn pause(&self, request: &Request) -> Result<Outcome, String> {
        request.only(&["streams", "for"])?;
        let length = request.duration("for")?;
        if length.is_some_and(|length| !(LENGTH_MIN..=LENGTH_MAX).contains(&length)) {
            let max = format_duration(LENGTH_MAX);
            return Err(format!("for is not between 1 s and {max}; without it until resume"));
        }
        let named = request.texts("streams")?;
        let streams = self.0.meant(named.as_deref())?;
        self.0.pause(&streams, length).await.map_err(|error| not_kept(&error))?;
        Ok(now_paused(&self.0))
    }
}

/// The answer of whoever has changed what is paused.
pub(in crate::runtime::operations) fn now_paused(book: &PauseBook) -> Outcome {
    let paused: Vec<Value> = book.paused().iter().map(|stream| json!(&**stream)).collect();
    Outcome::Successful(Map::from_iter([("paused".to_owned(), Value::Array(paused))]))
}

/// Why nothing was changed.
pub(in crate::runtime::operations) fn not_kept(error: &NotKept) -> String {
    format!(
        "nothing was changed, a restart would forget it: the state directory takes nothing: {error}; see status/outbox"
    )
}
