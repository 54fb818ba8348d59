//! What must hold after every happening.

use tidegate::outbox::Lane;
use tidegate::tally::Stage;

use crate::gateway::{Gateway, QUEUE_MAX};
use crate::model::{Checked, Reference};

/// Conservation in every stage, order of the cursors, limits of the queues.
pub(crate) fn check(gateway: &Gateway, reference: &Reference) -> Checked {
    for stage in [Stage::Window, Stage::Infer, Stage::Distill, Stage::Egress] {
        let (tally, held) = gateway.pipeline.count(stage);
        if !tally.balances(held) {
            return Err(format!("{stage:?} does not balance: {tally:?}, held {held}"));
        }
    }
    let passed = |stage| gateway.pipeline.count(stage).0.passed;
    let received = |stage| gateway.pipeline.count(stage).0.received;
    let outbox = gateway.outbox.tally();
    if !outbox.balances(gateway.outbox.held()) {
        return Err(format!("the outbox does not balance: {outbox:?}, held {}", gateway.outbox.held()));
    }
    let handed = [
        ("infer to distill", passed(Stage::Infer), received(Stage::Distill)),
        ("distill to egress", passed(Stage::Distill), received(Stage::Egress)),
        ("egress to outbox", passed(Stage::Egress) + gateway.recovered, outbox.received),
    ];
    // What the outbox forgets of the stretches that were delivered out of order comes in again.
    let again = |between: &str| between == "egress to outbox" && reference.settled;
    let differs = |(between, out, into): &&(&str, u64, u64)| out > into || out < into && !again(between);
    if let Some((between, out, into)) = handed.iter().find(differs) {
        return Err(format!("{between}: {out} out, {into} in"));
    }
    if gateway.pipeline.queued() > QUEUE_MAX || gateway.pipeline.in_flight() > 4 {
        return Err(format!(
            "{} queued, {} in flight",
            gateway.pipeline.queued(),
            gateway.pipeline.in_flight()
        ));
    }
    for (lane, model) in Lane::ALL.into_iter().zip(&reference.lanes) {
        let (acked, durable) = (gateway.outbox.acked(lane).0, gateway.outbox.durable(lane).0);
        if acked > durable.max(model.appended) || durable > model.appended || acked > model.acked {
            return Err(format!(
                "{lane:?}: acked {acked} of {}, durable {durable}, appended {}",
                model.acked, model.appended
            ));
        }
    }
    if gateway.outbox.used() > gateway.outbox.config().size_max {
        return Err(format!("the outbox takes {}", gateway.outbox.used()));
    }
    let status = gateway.session.status();
    let counts = status.counts;
    let answered = counts.acked + counts.refused + counts.taken_back + counts.lost;
    // Words that are no batches are under way as well.
    if counts.sent < answered || counts.sent - answered > status.in_flight as u64 {
        return Err(format!("batches do not balance: {counts:?}, under way {}", status.in_flight));
    }
    Ok(())
}
