//! What the broker's answers mean for the cursors.

use crate::forward::poison::{Suspect, Weight};
use crate::forward::session::Session;
use crate::forward::{Moment, Settled, Token};

impl Session {
    /// The broker has taken a message. For a batch: how far the cursor may move.
    pub fn acked(&mut self, token: Token, now: Moment) -> Option<Settled> {
        if let Some(at) = self.extras.iter().position(|extra| extra.token == token) {
            let extra = self.extras.remove(at);
            self.ledger.end(extra.cost);
            self.estimate.answered(&extra.departure, now.up);
            self.link.alive();
            return None;
        }
        let failures = self.link.failures();
        let mut settled = None;
        for lane in &mut self.lanes {
            // Less is under way at its worst: what did not fit may fit now.
            lane.spent = None;
            let Some(flight) = lane.land(token) else { continue };
            self.ledger.end(flight.cost);
            let batch_max = self.config.batch_bytes_max.0;
            self.estimate.arrived(flight.bytes, &flight.departure, now.up, batch_max);
            self.counts.acked += 1;
            self.link.proven();
            lane.backoff.reset();
            let records_max = self.config.batch_records_max;
            lane.records_cap =
                lane.records_cap.map(|cap| cap.max(1).saturating_mul(2)).filter(|cap| *cap < records_max);
            let suspect = lane.suspect;
            settled = Some(lane.settle(flight.first, flight.last));
            self.dirty |= suspect != lane.suspect;
        }
        self.dirty |= failures > 0 && self.link.failures() == 0;
        settled
    }

    /// The broker does not take a message. A batch is tried again after a wait of its lane; `is_about_content` when the
    /// broker has said that this very message is at fault. `random` is uniform in 0 to 1.
    pub fn refused(&mut self, token: Token, now: Moment, random: f64, is_about_content: bool) {
        if let Some(at) = self.extras.iter().position(|extra| extra.token == token) {
            self.ledger.end(self.extras.remove(at).cost);
            self.link.alive();
            return;
        }
        for lane in &mut self.lanes {
            let Some(flight) = lane.land(token) else { continue };
            self.ledger.end(flight.cost);
            self.counts.refused += 1;
            lane.take_back(&flight);
            lane.hold = Some(now.up.after(lane.backoff.fail(random)));
            if is_about_content {
                let range = (flight.first, flight.last);
                lane.suspect = Some(Suspect::after_loss(lane.suspect, range, true, Weight::Word));
                self.dirty = true;
            }
            return;
        }
    }

    /// A record has been stored elsewhere: it counts as done with.
    pub fn set_aside(&mut self, lane: u8, seq: u64) -> Option<Settled> {
        let lane = self.lanes.get_mut(usize::from(lane))?;
        self.counts.set_aside += 1;
        self.dirty = true;
        lane.forget(seq);
        Some(lane.settle(seq, seq))
    }
}
