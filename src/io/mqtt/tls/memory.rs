//! What TLS keeps between connections: the least the time can be, and the sessions to resume.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::time_provider::TimeProvider;

use crate::clock::{Clock, ClockQuality, EARLIEST_PLAUSIBLE, EventTime, SystemClock};

/// Sessions are resumed for so long at most: then the broker's certificate is looked at again.
const RESUMED_MAX: Duration = Duration::from_hours(24);

/// The time by which certificates are judged, and the TLS sessions of one endpoint. Clones share it.
///
/// # Policy
/// The time is that of the wall clock, but never before [`EARLIEST_PLAUSIBLE`]; and while no time service has confirmed
/// the clock, never before the last time that one had. So a clock that starts in 1970 makes no expired certificate
/// valid. A certificate that is not yet valid then is refused, not believed: the clock has to be set.
#[derive(Clone)]
pub struct TlsMemory(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock + Send + Sync>,
    /// The last wall time that a time service had confirmed, microseconds since 1970.
    confirmed: AtomicI64,
    kept: Mutex<Option<Kept>>,
}

/// A configuration with its sessions.
struct Kept {
    /// The files it was made from.
    digest: [u8; 32],
    since: EventTime,
    config: Arc<ClientConfig>,
}

impl TlsMemory {
    /// By this clock, with the last wall time that is known to have been right, if any.
    pub fn new(clock: Arc<dyn Clock + Send + Sync>, confirmed: Option<EventTime>) -> Self {
        let confirmed = AtomicI64::new(confirmed.unwrap_or(EARLIEST_PLAUSIBLE).0);
        Self(Arc::new(Inner { clock, confirmed, kept: Mutex::new(None) }))
    }

    /// The time by which certificates are judged.
    pub fn now(&self) -> EventTime {
        let wall = self.0.clock.utc();
        let confirmed = match wall.quality {
            // Believed backwards too: else one wrong confirmation would lock the gateway out for ever.
            ClockQuality::Synced => {
                self.0.confirmed.store(wall.micros, Ordering::Relaxed);
                wall.micros
            }
            ClockQuality::Unknown | ClockQuality::Unset => self.0.confirmed.load(Ordering::Relaxed),
        };
        EventTime(wall.micros.max(confirmed).max(EARLIEST_PLAUSIBLE.0))
    }

    /// The configuration made of the same files within the last day, for its sessions can be resumed; else a new one.
    pub(in crate::io::mqtt) fn config<E>(
        &self,
        digest: [u8; 32],
        make: impl FnOnce() -> Result<ClientConfig, E>,
    ) -> Result<Arc<ClientConfig>, E> {
        let now = self.now();
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref()
            && kept.digest == digest
            && (kept.since..=kept.since.after(RESUMED_MAX)).contains(&now)
        {
            return Ok(Arc::clone(&kept.config));
        }
        let config = Arc::new(make()?);
        *kept = Some(Kept { digest, since: now, config: Arc::clone(&config) });
        Ok(config)
    }
}

impl Default for TlsMemory {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock::start()), None)
    }
}

impl fmt::Debug for TlsMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("TlsMemory").field(&self.now()).finish()
    }
}

impl TimeProvider for TlsMemory {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.now().0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}
