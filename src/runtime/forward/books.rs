//! What the session has decided, written down: cursors, records set aside, its note, figures.

use tokio::sync::oneshot;
use tracing::warn;

use crate::forward::Settled;
use crate::outbox::{Lane, Seq};
use crate::runtime::forward::Forward;
use crate::runtime::outbox::OutboxRequest;
use crate::runtime::retry::best_effort;
use crate::telemetry::Metric;

impl Forward {
    /// Tells the session what the connection has carried.
    pub(in crate::runtime::forward) fn count_traffic(&mut self) {
        if let Some(link) = &self.wires.link {
            let (sent, received) = (link.traffic.sent(), link.traffic.received());
            self.session.traffic(sent, received, self.now());
        }
    }

    /// Tells the outbox which records are done with. Without an outbox there are none.
    pub(in crate::runtime::forward) async fn settle(&self, settled: Option<Settled>) {
        let request = match settled {
            None => return,
            Some(Settled::Advance { lane, upto }) => {
                lane_of(lane).map(|lane| OutboxRequest::Advance { lane, upto: Seq(upto) })
            }
            Some(Settled::Stretch { lane, from, upto }) => {
                lane_of(lane).map(|lane| OutboxRequest::Settle { lane, from: Seq(from), upto: Seq(upto) })
            }
        };
        if let Some(request) = request {
            best_effort(self.outbox.send(request).await);
        }
    }

    /// Sets records aside at which connections die.
    pub(in crate::runtime::forward) async fn put_aside(&mut self) {
        while let Some((lane, seq)) = self.session.culprit() {
            warn!(lane, seq, "the connection dies at this record again and again: set aside");
            self.store_aside(lane, seq).await;
            let settled = self.session.set_aside(lane, seq);
            self.settle(settled).await;
        }
    }

    /// Has the outbox keep what a restart must know, if that has changed.
    pub(in crate::runtime::forward) async fn write_note(&mut self) {
        let Some(note) = self.session.note() else { return };
        let (reply, answer) = oneshot::channel();
        if self.outbox.send(OutboxRequest::Remember { note, reply }).await.is_ok() {
            self.wires.noting = Some(answer);
        } else {
            self.session.noted(false);
        }
    }

    /// The note is on the disk, or cannot be put there now.
    pub(in crate::runtime::forward) fn noted(&mut self, written: bool) {
        self.wires.noting = None;
        self.session.noted(written);
    }

    /// Shows the figures.
    pub(in crate::runtime::forward) fn tell(&self) {
        let status = self.session.status();
        let counts = status.counts;
        for (metric, value) in [
            (Metric::LostBatches, counts.lost),
            (Metric::LiveBatches, counts.live),
            (Metric::RefusedBatches, counts.refused),
            (Metric::SetAsideRecords, counts.set_aside),
            (Metric::HalfOpen, counts.half_open),
            (Metric::SpentDays, counts.days_spent),
            (Metric::UnwrittenGrants, counts.grants_unwritten),
            (Metric::SentToday, status.sent_today.0),
            (Metric::ReceivedToday, status.received_today.0),
        ] {
            self.metrics.set(metric, value);
        }
        self.status.send_replace(Some(status));
    }
}

fn lane_of(number: u8) -> Option<Lane> {
    Lane::ALL.get(usize::from(number)).copied()
}
