//! What is told on the topics of commands.

use serde_json::{Value, json};

use crate::runtime::operations::operation::Outcome;

/// A command runs.
pub(in crate::runtime::operations) fn executing() -> Value {
    json!({"status": "executing"})
}

/// A command has ended.
pub(in crate::runtime::operations) fn ended(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Successful(more) => {
            let mut answer = more.clone();
            answer.insert("status".to_owned(), json!("successful"));
            Value::Object(answer)
        }
        Outcome::Failed(reason) => json!({"status": "failed", "reason": reason}),
    }
}
