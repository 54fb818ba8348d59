//! The three times of a gateway: uptime (monotonic), event time (the source's) and wall time (perhaps wrong).
//!
//! # Invariants
//! Only this file reads a clock. Everything else is given the time as an argument, so that it can be replayed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time since the process started, in nanoseconds. Survives every jump of the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(pub u64);

/// Time a source gives its sample, in microseconds since 1970 (UTC). May be late, early or absurd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(pub i64);

/// Wall time of the gateway with what is known of its quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtcTime {
    /// Microseconds since 1970.
    pub micros: i64,
    /// Whether it can be believed.
    pub quality: ClockQuality,
}

/// What is known of the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockQuality {
    /// A time service has confirmed it.
    Synced,
    /// Plausible, not confirmed.
    #[default]
    Unknown,
    /// Before this program was written: a board without a battery-backed clock that has not been told the time.
    Unset,
}

/// No gateway runs before this: 2026-01-01T00:00:00Z, the year this program was written.
pub const EARLIEST_PLAUSIBLE: EventTime = EventTime(1_767_225_600_000_000);

/// Source of time.
pub trait Clock {
    /// Monotonic time since start.
    fn uptime(&self) -> Uptime;
    /// Wall time.
    fn utc(&self) -> UtcTime;
}

/// The clocks of the operating system.
#[derive(Clone, Debug)]
pub struct SystemClock {
    started: Instant,
    confirmed: Arc<AtomicBool>,
    now: fn() -> Instant,
    wall: fn() -> SystemTime,
}

impl SystemClock {
    /// Starts counting uptime.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn start() -> Self {
        Self::by(Instant::now, SystemTime::now)
    }

    /// A clock whose uptime and wall time follow these instead: a test that owns the time gives that of its executor.
    pub(crate) fn by(now: fn() -> Instant, wall: fn() -> SystemTime) -> Self {
        Self { started: now(), confirmed: Arc::default(), now, wall }
    }

    /// Records whether a time service has confirmed the wall clock; every clone sees it.
    pub fn confirm(&self, synced: bool) {
        self.confirmed.store(synced, Ordering::Relaxed);
    }

    /// Time since the board was booted, asleep or awake: goes on where a new process begins.
    pub fn since_boot(&self) -> Duration {
        let passed = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(passed).unwrap_or(Duration::ZERO)
    }

    /// Processor time the calling thread has taken. Unlike uptime it stands still while others run.
    pub fn thread_time(&self) -> Duration {
        let taken = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(taken).unwrap_or(Duration::ZERO)
    }

    /// The instant at which the uptime is `at`, for timers.
    pub fn instant(&self, at: Uptime) -> Instant {
        self.started + Duration::from_nanos(at.0)
    }
}

impl Clock for SystemClock {
    fn uptime(&self) -> Uptime {
        Uptime::ZERO.after((self.now)().saturating_duration_since(self.started))
    }

    fn utc(&self) -> UtcTime {
        let since = (self.wall)().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let quality = if micros < EARLIEST_PLAUSIBLE.0 {
            ClockQuality::Unset
        } else if self.confirmed.load(Ordering::Relaxed) {
            ClockQuality::Synced
        } else {
            ClockQuality::Unknown
        };
        UtcTime { micros, quality }
    }
}

impl ClockQuality {
    /// The word used in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Unknown => "unknown",
            Self::Unset => "unset",
        }
    }
}

impl Uptime {
    /// The start of the process.
    pub const ZERO: Self = Self(0);

    /// This much later; stops at the end of time instead of wrapping.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time passed since `earlier`, zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl EventTime {
    /// This much later; saturates.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This much earlier; saturates.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Microseconds since `earlier`; negative if it is later.
    pub fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<UtcTime> for EventTime {
    fn from(utc: UtcTime) -> Self {
        Self(utc.micros)
    }
}
