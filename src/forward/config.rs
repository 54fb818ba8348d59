//! What the operator may set about delivery.

use std::time::Duration;

use crate::units::{BitRate, Bytes, Ratio};

/// How records are delivered upstream. Validated: nothing is zero, minima lie below maxima.
#[derive(Clone, Debug)]
pub struct ForwardConfig {
    /// Batches sent and not acknowledged. With a round trip of 10 s and one batch a second: 10.
    pub in_flight: u16,
    /// Records in one batch.
    pub batch_records_max: u32,
    /// Bytes of stored records in one batch. A record larger than this travels alone.
    pub batch_bytes_max: Bytes,
    /// Ceiling of the mean bit rate.
    pub rate: Option<BitRate>,
    /// Budget of one UTC day.
    pub daily: Option<Bytes>,
    /// Share of the daily budget only the alarm lane may use.
    pub alarm_reserve: Ratio,
    /// Longest wait after the first failure; doubles with each further one.
    pub backoff_min: Duration,
    /// Longest wait of all.
    pub backoff_max: Duration,
    /// A batch not acknowledged for this long means that the link is dead, whatever TCP says.
    /// A batch not acknowledged for this long means that the link is dead, whatever TCP says. Longer on a link that is
    /// slower.
    pub ack_timeout: Duration,
    /// A ping is sent this often when nothing else is.
    pub keep_alive: Duration,
    /// Whether the connection is encrypted: that costs bytes.
    pub tls: bool,
}

impl Default for ForwardConfig {
    /// 64 batches under way, 256 records or 32 KiB each, no ceiling, a tenth kept for alarms, back-off from 1 s to
    /// 15 min, dead after 2 min without acknowledgement (six times the worst round trip of a satellite link, 20 s).
    fn default() -> Self {
        Self {
            in_flight: 64,
            batch_records_max: 256,
            batch_bytes_max: Bytes(32 << 10),
            rate: None,
            daily: None,
            alarm_reserve: Ratio::of(1, 10),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_mins(15),
            ack_timeout: Duration::from_mins(2),
            keep_alive: Duration::from_mins(2),
            tls: false,
        }
    }
}
