//! Sorts what comes from the plant's broker: the plant's own, a command for us, or what we said ourselves.
//!
//! # Why
//! A stream may read `#`. What the gateway publishes comes back to it then, and would be decoded, counted as the plant's and
//! perhaps judged: an event of an event. And a command must be heard however wide the filter of a stream is.

use std::sync::Arc;

use crate::runtime::operations::command::{Command, Refusal, Said, is_id, read};

/// What is done with a message of the plant's broker.
#[derive(Debug, PartialEq)]
pub(in crate::runtime) enum Sorted {
    /// It is the plant's.
    Plant,
    /// It lies below our own topic and is nothing to act upon.
    Own,
    /// It may have to be acted upon.
    Command(Command),
    /// It lies where commands lie and is none.
    Refused(Refusal),
}

/// What it knows: our own topics and the operations.
#[derive(Clone, Debug)]
pub(in crate::runtime) struct Intake {
    /// `tidegate/<site>/<gateway>/`.
    root: Arc<str>,
    operations: Arc<[&'static str]>,
}

impl Intake {
    /// For a gateway whose topics begin so, with these operations.
    pub(in crate::runtime) fn new(root: &str, operations: &[&'static str]) -> Self {
        Self { root: format!("{root}/").into(), operations: operations.into() }
    }

    /// What a message is. One comparison for those of the plant.
    pub(in crate::runtime) fn sort(&self, topic: &[u8], payload: &[u8], retained: bool) -> Sorted {
        let Some(below) = topic.strip_prefix(self.root.as_bytes()) else { return Sorted::Plant };
        let Some(name) = below.strip_prefix(b"cmd/") else { return Sorted::Own };
        // `R/cmd/<op>`, our own description.
        let Some((op, id)) = split(name) else { return Sorted::Own };
        let Some(&op) = self.operations.iter().find(|known| known.as_bytes() == op) else {
            return Sorted::Refused(Refusal::Operation);
        };
        let Some(id) = std::str::from_utf8(id).ok().filter(|id| is_id(id)) else {
            return Sorted::Refused(Refusal::Id);
        };
        match read(payload) {
            Ok(Said::Asked(state)) => Sorted::Command(Command { op, id: id.into(), state, retained }),
            Ok(Said::Other) => Sorted::Own,
            Err(refusal) => Sorted::Refused(refusal),
        }
    }
}

fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = name.iter().position(|byte| *byte == b'/')?;
    Some((name.get(..at)?, name.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::operations::command::Asked;

    fn intake() -> Intake {
        Intake::new("tidegate/site/gw", &["pause", "health"])
    }

    fn sort(topic: &str, payload: &str) -> Sorted {
        intake().sort(topic.as_bytes(), payload.as_bytes(), false)
    }

    #[test]
    fn what_we_said_ourselves_never_reaches_a_stream_and_the_plant_always_does() {
        for own in [
            "event/good",
            "alarm/good",
            "status/health",
            "status/available",
            "metrics",
            "cmd/pause",
            "up/alarm",
            "",
        ] {
            assert_eq!(sort(&format!("tidegate/site/gw/{own}"), "{}"), Sorted::Own, "{own}");
        }
        for plant in [
            "tidegate/site/gw2/event/x",
            "tidegate/site/gw",
            "plant/a",
            "",
            "cmd/pause/1",
            "/tidegate/site/gw/x",
        ] {
            assert_eq!(sort(plant, "{}"), Sorted::Plant, "{plant}");
        }
    }

    #[test]
    fn a_command_is_found_by_its_topic_and_what_only_looks_like_one_is_refused() {
        let topic = |rest: &str| format!("tidegate/site/gw/cmd/{rest}");
        let init = r#"{"status":"init"}"#;
        let Sorted::Command(command) = sort(&topic("pause/a-1"), init) else { panic!() };
        assert_eq!((command.op, &*command.id), ("pause", "a-1"));
        assert!(matches!(command.state, Asked::Init(_)));
        for (rest, payload, refusal) in [
            ("reboot/1", init, Refusal::Operation),
            ("/1", init, Refusal::Operation),
            ("pause/", init, Refusal::Id),
            ("pause/1/2", init, Refusal::Id),
            ("pause/a b", init, Refusal::Id),
            ("pause/1", "init", Refusal::Payload),
        ] {
            assert_eq!(sort(&topic(rest), payload), Sorted::Refused(refusal), "{rest}");
        }
        assert_eq!(sort(&topic("pause/1"), r#"{"status":"successful"}"#), Sorted::Own, "an echo");
    }

    proptest! {
        #[test]
        fn nothing_a_stranger_sends_makes_it_panic_or_speak_for_another_topic(
            rest in "[a-z/#+ \\x00-\\x1f]{0,20}", payload in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let topic = format!("tidegate/site/gw/{rest}");
            prop_assert!(intake().sort(topic.as_bytes(), &payload, true) != Sorted::Plant);
            prop_assert_eq!(intake().sort(rest.as_bytes(), &payload, true), Sorted::Plant);
        }
    }
}
