//! The result: numbers, and whether the demonstration kept what the product promises (pure).

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::demo::picture::Picture;
use crate::demo::plant::{SPEED, Sent};
use crate::tally::{DropReason, Stage};
use crate::telemetry::{Metric, Metrics};
use crate::units::Bytes;

/// The service's own numbers, as far as they are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::demo) struct Figures {
    /// Messages of the plant, by ingest.
    pub(in crate::demo) received: u64,
    /// Their payloads.
    pub(in crate::demo) bytes_in: u64,
    pub(in crate::demo) windows: u64,
    pub(in crate::demo) inferences: u64,
    /// Windows and reports not judged because of the budget.
    pub(in crate::demo) shed: u64,
    /// Events kept from the outbox on purpose by a rule of the stream; there are none here.
    pub(in crate::demo) withheld: u64,
    pub(in crate::demo) durable: u64,
    pub(in crate::demo) bytes_out: u64,
    pub(in crate::demo) connects: u64,
}

impl Figures {
    pub(in crate::demo) fn read(metrics: &Metrics) -> Self {
        let tally = |stage| metrics.stage(stage).tally;
        Self {
            received: tally(Stage::Ingest).received,
            bytes_in: metrics.get(Metric::PlantBytes),
            windows: metrics.get(Metric::Windows),
            inferences: tally(Stage::Infer).passed,
            shed: tally(Stage::Infer).dropped(DropReason::Budget),
            withheld: tally(Stage::Distill).dropped_total() + tally(Stage::Egress).dropped_total(),
            durable: metrics.get(Metric::DurableRecords),
            bytes_out: metrics.get(Metric::UpstreamBytes),
            connects: metrics.get(Metric::UpstreamConnects),
        }
    }
}

/// What came of a demonstration.
pub struct Summary {
    pub(in crate::demo) length: Duration,
    pub(in crate::demo) seed: u64,
    pub(in crate::demo) outage: Duration,
    pub(in crate::demo) hottest: f32,
    pub(in crate::demo) sent: Sent,
    pub(in crate::demo) figures: Figures,
    pub(in crate::demo) picture: Picture,
}

impl Summary {
    /// Events that did not arrive: the larger of two counts.
    ///
    /// By number: what the outbox made durable, less what arrived. By id: what the plant was told of and never arrived,
    /// less what a rule withheld. The consumer upstream knows neither; an event the outbox dropped counts as lost.
    pub fn lost(&self) -> u64 {
        let arrived = &self.picture.upstream.events;
        let by_number = self.figures.durable.saturating_sub(arrived.len() as u64);
        let by_id = self.picture.told.difference(arrived).count() as u64;
        by_number.max(by_id.saturating_sub(self.figures.withheld))
    }

    /// What the demonstration did not keep; empty if all is well.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let lost = self.lost();
        if lost > 0 {
            faults.push(format!("{lost} events were stored and did not arrive"));
        }
        let silent = self.picture.named().filter(|(_, stream)| stream.decisions == 0);
        faults.extend(silent.map(|(named, _)| format!("nothing was decided on {}", named.name)));
        faults
            .extend(self.picture.down.iter().map(|reason| format!("the gateway said it was down: {reason}")));
        if self.picture.upstream.damaged > 0 {
            faults.push(format!("{} batches could not be decoded", self.picture.upstream.damaged));
        }
        faults
    }

    /// Bytes in per byte out.
    fn ratio(&self) -> f64 {
        let out = self.picture.upstream.bytes.max(1);
        (self.figures.bytes_in as f64 / out as f64 * 10.0).round() / 10.0
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let Self { figures, picture, .. } = self;
        let upstream = &picture.upstream;
        let decisions: Map<String, Value> =
            picture.named().map(|(named, stream)| (named.name.to_owned(), json!(stream.decisions))).collect();
        json!({
            "v": 1, "seconds": self.length.as_secs(), "seed": self.seed, "speed": SPEED, "faults": self.faults(),
            "messages": {"sent": self.sent.messages, "received": figures.received},
            "windows": figures.windows, "inferences": figures.inferences, "decisions": decisions,
            "events": {
                "durable": figures.durable, "arrived": upstream.events.len(), "historical": upstream.historical,
                "duplicates": upstream.duplicates, "lost": self.lost(),
            },
            "bytes": {"in": figures.bytes_in, "out": upstream.bytes, "ratio": self.ratio()},
            "outage": {
                "seconds": self.outage.as_secs_f64(), "backlog_max": picture.backlog_max,
                "backlog_end": picture.backlog, "connects": figures.connects,
            },
            "heat": {
                "hottest": self.hottest, "level_max": picture.level_max.as_str(), "level_end": picture.level.as_str(),
                "shed": figures.shed,
            },
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let Self { figures, picture, .. } = self;
        let upstream = &picture.upstream;
        let decisions: Vec<String> =
            picture.named().map(|(named, stream)| format!("{} {}", stream.decisions, named.name)).collect();
        let (seconds, worst, end) =
            (self.length.as_secs(), picture.level_max.as_str(), picture.level.as_str());
        let plant_minutes = seconds * u64::from(SPEED) / 60;
        let (judged, shed) = (figures.inferences, figures.shed);
        let mut lines = vec![
            format!("summary    {seconds} s, {plant_minutes} minutes of the plant, seed {}", self.seed),
            format!("in         {} messages, {}", figures.received, Bytes(figures.bytes_in)),
            format!("judged     {judged} of {} windows and reports", judged + shed),
            format!("decided    {}", decisions.join(", ")),
            format!(
                "out        {} events in {} batches, {}: one byte for {:.0} that came in",
                upstream.events.len(),
                upstream.batches,
                Bytes(upstream.bytes),
                self.ratio()
            ),
            format!(
                "outage     {:.0} s: {} events waited, {} came late, {} duplicates removed",
                self.outage.as_secs_f32(),
                picture.backlog_max,
                upstream.historical,
                upstream.duplicates
            ),
            format!("heat       {:.0} °C: {worst} at the worst, {end} at the end, {shed} shed", self.hottest),
            format!("lost       {} of {} stored events", self.lost(), figures.durable),
        ];
        lines.extend(self.faults().iter().map(|fault| format!("FAULT      {fault}")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::EventId;

    fn id(number: u64) -> EventId {
        EventId { epoch: 1, number }
    }

    /// Events 1 to `told` decided, those in `arrived` arrived.
    fn summary(told: u64, arrived: &[u64], durable: u64, withheld: u64) -> Summary {
        let mut picture = Picture { told: (1..=told).map(id).collect(), ..Picture::default() };
        picture.upstream.events = arrived.iter().copied().map(id).collect();
        picture.streams.iter_mut().for_each(|stream| stream.decisions = 1);
        Summary {
            length: Duration::from_secs(45),
            seed: 1,
            outage: Duration::from_secs(10),
            hottest: 83.0,
            sent: Sent::default(),
            figures: Figures { withheld, durable, ..Figures::default() },
            picture,
        }
    }

    #[test]
    fn an_event_that_did_not_arrive_is_lost_whichever_way_it_is_counted() {
        assert_eq!(summary(3, &[1, 2, 3], 3, 0).lost(), 0);
        assert_eq!(summary(3, &[1, 3], 3, 0).lost(), 1);
        assert_eq!(summary(3, &[1, 3], 2, 0).lost(), 1, "never stored, though it should have been");
        assert_eq!(summary(3, &[1, 3], 2, 1).lost(), 0, "a rule of the stream withheld it");
        assert_eq!(summary(2, &[1, 2], 3, 0).lost(), 1, "stored, though the plant was not told");
        assert_eq!(summary(3, &[1, 3, 9], 3, 0).lost(), 1, "a stranger does not stand in for it");
    }

    #[test]
    fn loss_silence_and_damage_are_faults() {
        assert_eq!(summary(1, &[1], 1, 0).faults(), Vec::<String>::new());
        let mut bad = summary(2, &[1], 2, 0);
        bad.picture.streams[2].decisions = 0;
        bad.picture.upstream.damaged = 4;
        let faults = bad.faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(bad.text().contains("FAULT      nothing was decided on work-orders"));
        assert_eq!(bad.json()["events"]["lost"], 1);
    }
}
