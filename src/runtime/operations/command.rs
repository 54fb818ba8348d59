//! A command as it lies on the broker: its name, its number, its state and what it asks for.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::units::parse_duration;

/// Longest payload of a command, bytes: the names of a hundred streams.
pub(in crate::runtime::operations) const PAYLOAD_BYTES_MAX: usize = 4 << 10;

/// Longest id, bytes: a UUID with a prefix of the tool that made it.
pub(in crate::runtime::operations) const ID_BYTES_MAX: usize = 64;

/// Keys that are no parameters: those of every message of ours. Keys that begin with `@` are a requester's own.
const FRAME_KEYS: [&str; 5] = ["v", "ts", "instance", "status", "reason"];

/// A message on `R/cmd/<op>/<id>` that may have to be acted upon.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::runtime) struct Command {
    /// Which operation: a name of the registry.
    pub(in crate::runtime) op: &'static str,
    /// The requester's own name for it.
    pub(in crate::runtime) id: Box<str>,
    /// Where it stands.
    pub(in crate::runtime) state: Asked,
    /// Whether the broker had kept it: the state of a topic when we subscribed, not a change of it.
    pub(in crate::runtime) retained: bool,
}

/// Where a command stands that we may have to act upon.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::runtime) enum Asked {
    /// It was asked for.
    Init(Request),
    /// Somebody says that it runs: we, a moment ago or before a restart.
    Executing,
    /// The requester has taken it off the broker.
    Cleared,
}

/// Why a message on a command topic is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Refusal {
    /// No such operation is offered.
    Operation,
    /// The id is empty, too long, or holds something else than letters, digits and `-_.:`.
    Id,
    /// The payload is too long or is no JSON object with a `status`.
    Payload,
}

/// What a command asks for, by parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::runtime) struct Request {
    values: Map<String, Value>,
}

/// What a payload says.
#[derive(Debug, PartialEq)]
pub(in crate::runtime::operations) enum Said {
    /// Something to act upon.
    Asked(Asked),
    /// An end, or a state of somebody else's making: nothing to do.
    Other,
}

/// Whether a text can be an id.
pub(in crate::runtime::operations) fn is_id(text: &str) -> bool {
    let fits = (1..=ID_BYTES_MAX).contains(&text.len());
    fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// What a payload says; an empty one clears.
pub(in crate::runtime::operations) fn read(payload: &[u8]) -> Result<Said, Refusal> {
    if payload.is_empty() {
        return Ok(Said::Asked(Asked::Cleared));
    }
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Refusal::Payload);
    }
    let values: Map<String, Value> = serde_json::from_slice(payload).map_err(|_| Refusal::Payload)?;
    match values.get("status").and_then(Value::as_str) {
        Some("init") => Ok(Said::Asked(Asked::Init(Request { values }))),
        Some("executing") => Ok(Said::Asked(Asked::Executing)),
        Some(_) => Ok(Said::Other),
        None => Err(Refusal::Payload),
    }
}

impl Request {
    /// Refuses parameters that the operation does not know: a slip in a key must not pause the whole plant.
    ///
    /// # Errors
    /// With the parameters that are known.
    pub(in crate::runtime) fn only(&self, known: &[&str]) -> Result<(), String> {
        let is_frame = |key: &str| key.starts_with('@') || FRAME_KEYS.contains(&key);
        if self.values.keys().all(|key| is_frame(key) || known.contains(&key.as_str())) {
            return Ok(());
        }
        let known = if known.is_empty() { "none is known".to_owned() } else { known.join(", ") };
        Err(format!("a parameter is unknown; allowed: {known}"))
    }

    /// The texts of a list; `None` where the parameter is absent.
    ///
    /// # Errors
    /// When it is something else.
    pub(in crate::runtime) fn texts(&self, key: &'static str) -> Result<Option<Vec<&str>>, String> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect::<Option<_>>());
        texts.map(Some).ok_or_else(|| format!("{key} is no list of texts"))
    }

    /// A duration such as `"10 min"`; `None` where the parameter is absent.
    ///
    /// # Errors
    /// When it is something else.
    pub(in crate::runtime) fn duration(&self, key: &'static str) -> Result<Option<Duration>, String> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| format!("{key} is no text such as \"10 min\""))?;
        parse_duration(text).map(Some).map_err(|_| format!("{key} is no duration such as \"10 min\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(payload: &str) -> Request {
        match read(payload.as_bytes()).unwrap() {
            Said::Asked(Asked::Init(request)) => request,
            said @ (Said::Asked(_) | Said::Other) => panic!("{said:?}"),
        }
    }

    #[test]
    fn only_a_small_object_with_a_status_is_a_command() {
        let long = format!("{{\"status\":\"init\",\"x\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES_MAX));
        let deep = format!("{{\"status\":\"init\",\"x\":{}", "[".repeat(2_000));
        for bad in ["x", "1", "[]", "{}", "\"init\"", "{\"status\":1}", "{\"status\":\"init\"", &long, &deep]
        {
            assert_eq!(read(bad.as_bytes()), Err(Refusal::Payload), "{bad:.40}");
        }
        assert_eq!(read(b"{\"status\":\"init\",\"x\":\"\xff\"}"), Err(Refusal::Payload));
        assert_eq!(read(b""), Ok(Said::Asked(Asked::Cleared)));
        assert_eq!(read(b"{\"status\":\"executing\"}"), Ok(Said::Asked(Asked::Executing)));
        for other in ["successful", "failed", "scheduled", ""] {
            assert_eq!(read(format!("{{\"status\":\"{other}\"}}").as_bytes()), Ok(Said::Other));
        }
    }

    #[test]
    fn an_id_is_short_and_can_stand_in_a_topic_and_in_a_log() {
        for good in ["1", "c8y-mapper:42", "0b9c6a9e-3d6f-4f0e-8d5c-0123456789ab", &"x".repeat(64)] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", " ", "a b", "a\n", "ä", "{}", "a/b", &"x".repeat(65)] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn parameters_are_read_by_type_and_strange_ones_are_refused() {
        let asked = request(r#"{"status":"init","v":1,"@who":"me","streams":["a","b"],"for":"10 min"}"#);
        assert_eq!(asked.only(&["streams", "for"]), Ok(()));
        assert_eq!(asked.texts("streams"), Ok(Some(vec!["a", "b"])));
        assert_eq!(asked.duration("for"), Ok(Some(Duration::from_mins(10))));
        assert!(asked.only(&["streams"]).unwrap_err().ends_with("allowed: streams"));
        let empty = request(r#"{"status":"init"}"#);
        assert_eq!((empty.texts("streams"), empty.duration("for")), (Ok(None), Ok(None)));
        for bad in
            [r#"{"status":"init","streams":"a","for":600}"#, r#"{"status":"init","streams":[1],"for":"x"}"#]
        {
            let asked = request(bad);
            assert!(asked.texts("streams").is_err() && asked.duration("for").is_err(), "{bad}");
        }
    }
}
