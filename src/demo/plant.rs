//! The plant: two rigs and the people who write reports, many times faster than life.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::clock::{Clock, SystemClock, Uptime, UtcTime};
use crate::demo::reports::Reports;
use crate::demo::rig::{CHANNELS, CYCLE, Rig, Row};
use crate::demo::script::Script;
use crate::demo::streams::{RIGS, STREAMS, Source};
use crate::io::mqtt::{Delivery, Publisher, Token, Unsent};

/// Seconds of the plant in a second of ours: a window of one minute twice a second.
pub(in crate::demo) const SPEED: u32 = 120;

/// Seconds of the plant between two reports of a stream.
const REPORT_EVERY: u64 = 48;

/// Seconds by which the reports of one stream come later than those of the one before.
const REPORT_SHIFT: u64 = 16;

/// Messages are sent in bunches this far apart.
const TURN: Duration = Duration::from_millis(20);

/// What the plant has sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::demo) struct Sent {
    pub(in crate::demo) messages: u64,
    pub(in crate::demo) finished: bool,
}

/// The messages of the plant one after the other (pure).
struct Messages {
    script: Script,
    rigs: [Rig; RIGS],
    /// With their topics.
    reports: Vec<(&'static str, Reports)>,
    /// Time of the first message, seconds since 1970.
    first: i64,
    second: u64,
    seconds_max: u64,
}

impl Messages {
    /// The plant's time ends about now: events of the future would be suspicious.
    fn new(script: Script, seed: u64, now: UtcTime) -> Self {
        let cycles = (script.plant_length() * SPEED).as_secs() / CYCLE;
        let seconds_max = cycles * CYCLE;
        let length = i64::try_from(seconds_max).unwrap_or(0);
        let minute = 60;
        let first = (now.micros.div_euclid(1_000_000) - length).div_euclid(minute) * minute;
        // Different rigs of the same demonstration must not share their noise.
        let rigs = [seed, seed ^ 0x5851_f42d_4c95_7f2d].map(Rig::new);
        let reports = STREAMS.iter().filter_map(|stream| match &stream.source {
            Source::Rig(_) => None,
            Source::People { sentences, .. } => Some((stream.topic, Reports::new(sentences, seed))),
        });
        Self { script, rigs, reports: reports.collect(), first, second: 0, seconds_max }
    }

    /// The messages of the next second; nothing after the last.
    fn next_second(&mut self, out: &mut VecDeque<(&'static str, String)>) {
        if self.finished() {
            return;
        }
        let stamp = stamp(self.first + i64::try_from(self.second).unwrap_or(0));
        // Faults begin with a cycle, so that no window is half of each.
        let cycle = Duration::from_secs(self.second - self.second % CYCLE) / SPEED;
        for stream in &STREAMS {
            let Source::Rig(index) = stream.source else { continue };
            let Some(rig) = self.rigs.get_mut(index) else { continue };
            let row = rig.next_row(self.script.condition(index, cycle));
            out.push_back((stream.topic, sample_message(&stamp, &row)));
        }
        for ((topic, reports), place) in self.reports.iter_mut().zip(0..) {
            if self.second % REPORT_EVERY == (REPORT_EVERY / 2 + place * REPORT_SHIFT) % REPORT_EVERY {
                let report = reports.next_report();
                let json = serde_json::json!({"ts": stamp, "id": report.number, "text": report.text});
                out.push_back((topic, json.to_string()));
            }
        }
        self.second += 1;
    }

    fn finished(&self) -> bool {
        self.second >= self.seconds_max
    }
}

/// Sends until the script says that the plant ends.
pub(in crate::demo) async fn run_plant(
    script: Script,
    seed: u64,
    publisher: Publisher,
    clock: SystemClock,
    started: Uptime,
    sent: watch::Sender<Sent>,
) {
    let mut messages = Messages::new(script, seed, clock.utc());
    let mut waiting = VecDeque::new();
    let mut count = 0;
    loop {
        let due = (clock.uptime().since(started) * SPEED).as_secs();
        while messages.second < due && waiting.is_empty() && !messages.finished() {
            messages.next_second(&mut waiting);
            count += send(&publisher, &mut waiting, count);
        }
        count += send(&publisher, &mut waiting, count);
        let finished = messages.finished() && waiting.is_empty();
        sent.send_replace(Sent { messages: count, finished });
        if finished {
            return;
        }
        tokio::time::sleep(TURN).await;
    }
}

/// Sends what the broker takes now; the rest waits. Returns how many were sent.
fn send(publisher: &Publisher, waiting: &mut VecDeque<(&'static str, String)>, before: u64) -> u64 {
    let mut sent = 0;
    while let Some((topic, payload)) = waiting.front() {
        let delivery = Delivery::AtLeastOnce(Token(before + sent));
        match publisher.publish(topic, payload.clone(), delivery, false) {
            Ok(()) => sent += 1,
            // A lost connection is told to the stage by the poller.
            Err(Unsent::Full | Unsent::NotConnected | Unsent::TooLarge { .. } | Unsent::Topic) => break,
        }
        waiting.pop_front();
    }
    sent
}

fn sample_message(stamp: &str, row: &Row) -> String {
    let mut text = format!("{{\"ts\":\"{stamp}\"");
    for (channel, value) in CHANNELS.iter().zip(row) {
        // Writing to a String cannot fail.
        write!(text, ",\"{channel}\":{value:.3}").ok();
    }
    text.push('}');
    text
}

fn stamp(second: i64) -> String {
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ClockQuality;

    fn all(seed: u64, length: u64) -> Vec<(&'static str, String)> {
        let now = UtcTime { micros: 1_800_000_000_000_000, quality: ClockQuality::Synced };
        let mut messages = Messages::new(Script::new(Duration::from_secs(length)), seed, now);
        let mut out = VecDeque::new();
        while !messages.finished() {
            messages.next_second(&mut out);
        }
        out.into_iter().collect()
    }

    #[test]
    fn the_same_seed_sends_the_same_messages_and_another_does_not() {
        assert_eq!(all(1, 10), all(1, 10));
        assert_ne!(all(1, 10), all(2, 10));
    }

    #[test]
    fn whole_cycles_are_sent_each_second_once_and_none_of_the_future() {
        let messages = all(1, 10);
        let of = |topic: &str| messages.iter().filter(|(found, _)| *found == topic).collect::<Vec<_>>();
        let topics = STREAMS.map(|stream| stream.topic);
        let first = of(topics[0]);
        // 97 % of 10 s at 120 times: 19 whole minutes.
        assert_eq!((first.len(), of(topics[1]).len(), of(topics[2]).len()), (1_140, 1_140, 24));
        let stamp = |message: &str| -> Timestamp {
            let json: serde_json::Value = serde_json::from_str(message).unwrap();
            json["ts"].as_str().unwrap().parse().unwrap()
        };
        let stamps: Vec<i64> = first.iter().map(|(_, text)| stamp(text).as_second()).collect();
        assert!(stamps.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert!(stamps[0] % 60 == 0 && *stamps.last().unwrap() < 1_800_000_000);
    }
}
