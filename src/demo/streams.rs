//! The streams of the demonstration: two rigs and what people write.

use crate::demo::sentences::{EXCAVATORS, HANDOVERS, WORK_ORDERS};

/// One stream.
pub(in crate::demo) struct Stream {
    pub(in crate::demo) name: &'static str,
    pub(in crate::demo) lane: &'static str,
    pub(in crate::demo) topic: &'static str,
    pub(in crate::demo) source: Source,
}

/// Where it comes from, and which models judge it.
pub(in crate::demo) enum Source {
    /// A rig, by its number.
    Rig(usize),
    /// People, who write such sentences.
    People {
        sentences: &'static [&'static str],
        classifier: Option<&'static str>,
        extractor: Option<&'static str>,
    },
}

/// Rigs of the plant.
pub(in crate::demo) const RIGS: usize = 2;

/// The model of the rigs.
pub(in crate::demo) const RIG_MODEL: &str = "hydraulic-condition";

/// All of them, in the order of the configuration.
pub(in crate::demo) const STREAMS: [Stream; 5] = [
    Stream {
        name: "hydraulics-1",
        lane: "alarm",
        topic: "plant/hydraulics-1/telemetry",
        source: Source::Rig(0),
    },
    Stream {
        name: "hydraulics-2",
        lane: "normal",
        topic: "plant/hydraulics-2/telemetry",
        source: Source::Rig(1),
    },
    Stream {
        name: "work-orders",
        lane: "bulk",
        topic: "plant/reports/maintenance",
        source: Source::People {
            sentences: &WORK_ORDERS,
            classifier: Some("failure-mode"),
            extractor: Some("work-order-entities"),
        },
    },
    Stream {
        name: "excavators",
        lane: "bulk",
        topic: "plant/reports/excavators",
        source: Source::People {
            sentences: &EXCAVATORS,
            classifier: Some("excavator-triage"),
            extractor: None,
        },
    },
    Stream {
        name: "handovers",
        lane: "normal",
        topic: "plant/reports/handovers",
        source: Source::People { sentences: &HANDOVERS, classifier: None, extractor: Some("redactor") },
    },
];
