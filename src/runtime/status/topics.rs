//! The topics of one gateway, made once.

use std::sync::Arc;

use crate::egress::GOVERNOR_STREAM;
use crate::flow::{Priority, StreamId};

/// `R/status/available` without `R`.
pub(in crate::runtime::status) const AVAILABLE: &str = "status/available";
/// `R/status/health` without `R`.
pub(in crate::runtime::status) const HEALTH: &str = "status/health";

/// A retained status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::runtime::status) enum Subject {
    /// One word: whether the gateway is there.
    Available,
    /// One word, its reason, and of every task whether it moves.
    Health,
    /// What waits to be delivered.
    Outbox,
    /// How the link upstream stands.
    Link,
    /// Every model.
    Models,
    /// What is allowed, and why.
    Budget,
}

impl Subject {
    /// All, in the order in which they are told.
    pub(in crate::runtime::status) const ALL: [Self; 6] =
        [Self::Available, Self::Health, Self::Outbox, Self::Link, Self::Models, Self::Budget];

    /// The topic without `R`.
    pub(in crate::runtime::status) fn name(self) -> &'static str {
        match self {
            Self::Available => AVAILABLE,
            Self::Health => HEALTH,
            Self::Outbox => "status/outbox",
            Self::Link => "status/link",
            Self::Models => "status/models",
            Self::Budget => "status/budget",
        }
    }
}

/// The topics of one gateway.
#[derive(Clone)]
pub(in crate::runtime) struct Topics {
    root: Arc<str>,
    events: Arc<[Arc<str>]>,
    alarms: Arc<[Arc<str>]>,
    up: [Arc<str>; 3],
}

impl Topics {
    /// Topics of a gateway with these streams.
    pub(in crate::runtime) fn new<'a>(
        site: &str,
        gateway: &str,
        streams: &(impl Iterator<Item = &'a str> + Clone),
    ) -> Self {
        let root = format!("tidegate/{site}/{gateway}");
        let named =
            |kind: &str| streams.clone().map(|name| Arc::from(format!("{root}/{kind}/{name}"))).collect();
        Self {
            events: named("event"),
            alarms: named("alarm"),
            up: Priority::ALL.map(|priority| Arc::from(format!("{root}/up/{}", priority.as_str()))),
            root: Arc::from(root),
        }
    }

    /// `R/event/<stream>`.
    pub(in crate::runtime) fn event(&self, stream: StreamId) -> Arc<str> {
        self.events.get(usize::from(stream.0)).cloned().unwrap_or_else(|| Arc::clone(&self.root))
    }

    /// `R/alarm/<stream>`.
    pub(in crate::runtime) fn alarm(&self, stream: StreamId) -> Arc<str> {
        self.alarms.get(usize::from(stream.0)).cloned().unwrap_or_else(|| Arc::clone(&self.root))
    }

    /// `R/up/<priority>`.
    pub(in crate::runtime) fn up(&self, lane: u8) -> Arc<str> {
        self.up.get(usize::from(lane)).cloned().unwrap_or_else(|| Arc::clone(&self.root))
    }

    /// `R/status/available`.
    pub(in crate::runtime) fn available(&self) -> String {
        self.below(AVAILABLE)
    }

    /// `R/status/health`.
    pub(in crate::runtime) fn health(&self) -> String {
        self.below(HEALTH)
    }

    /// `R`.
    pub(in crate::runtime) fn root(&self) -> &str {
        &self.root
    }

    /// `R/cmd/<op>`.
    pub(in crate::runtime) fn operation(&self, op: &str) -> String {
        format!("{}/cmd/{op}", self.root)
    }

    /// `R/cmd/<op>/<id>`.
    pub(in crate::runtime) fn command(&self, op: &str, id: &str) -> String {
        format!("{}/cmd/{op}/{id}", self.root)
    }

    /// What commands are subscribed with.
    pub(in crate::runtime) fn commands(&self) -> String {
        self.command("+", "+")
    }

    /// `R/event/governor`.
    pub(in crate::runtime) fn governor(&self) -> String {
        self.below(&format!("event/{GOVERNOR_STREAM}"))
    }

    /// A topic below `R`.
    pub(in crate::runtime::status) fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }
}
