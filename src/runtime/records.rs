//! The way of records to the outbox: alarms by one of their own, and on each no more than so many bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::clock::EventTime;
use crate::outbox::Lane;
use crate::runtime::limits::{RECORDS_BYTES_MAX, URGENT_BYTES_MAX};
use crate::runtime::outbox::OutboxRequest;
use crate::runtime::retry::best_effort;
use crate::telemetry::{Metric, Metrics};

/// A record to be stored.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::runtime) struct NewRecord {
    pub(in crate::runtime) lane: Lane,
    pub(in crate::runtime) payload: Vec<u8>,
    /// Wall time.
    pub(in crate::runtime) at: EventTime,
}

/// Both ways. Clones share their room.
#[derive(Clone)]
pub(in crate::runtime) struct RecordWays {
    urgent: RecordWay,
    others: RecordWay,
    metrics: Arc<Metrics>,
}

#[derive(Clone)]
struct RecordWay {
    requests: mpsc::Sender<OutboxRequest>,
    room: Arc<Semaphore>,
    bytes_max: usize,
}

impl RecordWays {
    /// Alarms by the first, all others by the second.
    pub(in crate::runtime) fn new(
        urgent: mpsc::Sender<OutboxRequest>,
        others: mpsc::Sender<OutboxRequest>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            urgent: RecordWay::new(urgent, URGENT_BYTES_MAX),
            others: RecordWay::new(others, RECORDS_BYTES_MAX),
            metrics,
        }
    }

    /// Hands a record over once there is room for it. It is dropped if the outbox has ended: the gateway ends then.
    pub(in crate::runtime) async fn append(&self, record: NewRecord) {
        let way = self.of(record.lane);
        let bytes = way.bytes(&record);
        let room = if let Ok(room) = Arc::clone(&way.room).try_acquire_many_owned(bytes) {
            Some(room)
        } else {
            self.metrics.add(Metric::RecordWaits, 1);
            Arc::clone(&way.room).acquire_many_owned(bytes).await.ok()
        };
        best_effort(way.requests.send(request(record, room)).await);
    }

    /// The same for who may not wait, who gets the record back if there is no room.
    pub(in crate::runtime) fn try_append(&self, record: NewRecord) -> Result<(), NewRecord> {
        let way = self.of(record.lane);
        let room = Arc::clone(&way.room).try_acquire_many_owned(way.bytes(&record));
        match (way.requests.try_reserve(), room) {
            (Ok(place), Ok(room)) => {
                place.send(request(record, Some(room)));
                Ok(())
            }
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Err(record),
        }
    }

    fn of(&self, lane: Lane) -> &RecordWay {
        match lane {
            Lane::Alarm => &self.urgent,
            Lane::Normal | Lane::Bulk => &self.others,
        }
    }
}

impl RecordWay {
    fn new(requests: mpsc::Sender<OutboxRequest>, bytes_max: usize) -> Self {
        Self { requests, room: Arc::new(Semaphore::new(bytes_max)), bytes_max }
    }

    /// The room a record takes; one that is larger than all there is would pass alone.
    fn bytes(&self, record: &NewRecord) -> u32 {
        u32::try_from(record.payload.capacity().min(self.bytes_max)).unwrap_or(u32::MAX)
    }
}

fn request(record: NewRecord, room: Option<OwnedSemaphorePermit>) -> OutboxRequest {
    let NewRecord { lane, payload, at } = record;
    OutboxRequest::Append { lane, payload, at, room }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::wire::limits::RECORD_BYTES_MAX;

    fn record(lane: Lane, bytes: usize) -> NewRecord {
        NewRecord { lane, payload: vec![7; bytes], at: EventTime(0) }
    }

    /// Ways with room for any number of requests.
    fn ways() -> (RecordWays, mpsc::Receiver<OutboxRequest>, mpsc::Receiver<OutboxRequest>) {
        let (urgent, urgent_seen) = mpsc::channel(10_000);
        let (others, others_seen) = mpsc::channel(10_000);
        (RecordWays::new(urgent, others, Arc::new(Metrics::new())), urgent_seen, others_seen)
    }

    #[test]
    fn records_on_their_way_take_no_more_than_is_planned_for_however_long_each_is() {
        let (ways, mut urgent, mut others) = ways();
        for bytes in [1_000, RECORD_BYTES_MAX] {
            let mut taken = 0;
            while ways.try_append(record(Lane::Bulk, bytes)).is_ok() {
                taken += bytes;
            }
            assert!((RECORDS_BYTES_MAX - bytes..=RECORDS_BYTES_MAX).contains(&taken), "{taken}");
            assert_eq!(ways.try_append(record(Lane::Alarm, 9)), Ok(()), "alarms have room of their own");
            while others.try_recv().or_else(|_| urgent.try_recv()).is_ok() {}
        }
        assert_eq!(ways.try_append(record(Lane::Normal, RECORD_BYTES_MAX)), Ok(()), "taken is room again");
    }

    #[test]
    fn who_finds_no_room_waits_until_the_outbox_has_taken_and_that_is_counted() {
        let (ways, _urgent, mut others) = ways();
        while ways.try_append(record(Lane::Normal, 1_000)).is_ok() {}
        let mut waiting = Box::pin(ways.append(record(Lane::Normal, 1_000)));
        let mut look = || waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!((look(), look()), (Poll::Pending, Poll::Pending));
        assert_eq!(ways.metrics.get(Metric::RecordWaits), 1);
        drop(others.try_recv());
        assert_eq!(look(), Poll::Ready(()));
    }
}
