//! Vibration: accelerometers read through their FIFO, each sample with the time at which it was taken.

pub(in crate::device) mod adxl345;
pub(in crate::device) mod lis3dh;
mod sampling;

use heapless::Vec as Bounded;

pub(in crate::device) use adxl345::Adxl345;
pub(in crate::device) use lis3dh::Lis3dh;

use crate::clock::Uptime;
use crate::device::error::DeviceError;
use crate::device::seam::{ROWS_MAX, Samples};
use crate::device::sensor::{Sensor, add};
use crate::device::vibration::sampling::SamplingClock;

/// Standard gravity, m/s².
pub(in crate::device) const GRAVITY: f32 = 9.806_65;

/// A FIFO that stays empty for this many of its samples has stopped: the chip has lost its settings with its power.
const EMPTY_MAX: u64 = 64;

/// Shortest time for that, in nanoseconds: a thread may be woken twice in one breath.
const EMPTY_MIN: u64 = 500_000_000;

/// Samples of three axes, m/s².
pub(in crate::device) type Axes = Bounded<[f32; 3], ROWS_MAX>;

/// A chip with a FIFO.
pub(in crate::device) trait Fifo: Send {
    /// Samples per second.
    fn rate(&self) -> f32;

    /// Checks the chip, sets it up and empties its FIFO.
    fn start(&mut self) -> Result<(), DeviceError>;

    /// How full the FIFO is.
    fn fill(&mut self) -> Result<Fill, DeviceError>;

    /// Takes samples out of it, oldest first.
    fn take(&mut self, count: usize, axes: &mut Axes) -> Result<(), DeviceError>;
}

/// How full a FIFO is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device) struct Fill {
    /// Samples in it.
    pub(in crate::device) count: usize,
    /// It was full and has lost some.
    pub(in crate::device) overrun: bool,
}

/// An accelerometer with its sampling clock.
pub(in crate::device) struct Vibration<F> {
    fifo: F,
    clock: SamplingClock,
    /// Since when the FIFO has been empty.
    empty_since: Option<Uptime>,
}

impl<F: Fifo> Vibration<F> {
    pub(in crate::device) fn new(fifo: F) -> Self {
        Self { clock: SamplingClock::new(fifo.rate()), fifo, empty_since: None }
    }

    /// Whether nothing has come for so long that nothing will.
    fn has_stopped(&mut self, now: Uptime) -> bool {
        let since = *self.empty_since.get_or_insert(now);
        let patience = (self.clock.period() * EMPTY_MAX).max(EMPTY_MIN);
        now.0.saturating_sub(since.0) > patience
    }
}

impl<F: Fifo> Sensor for Vibration<F> {
    fn start(&mut self) -> Result<(), DeviceError> {
        self.clock = SamplingClock::new(self.fifo.rate());
        self.empty_since = None;
        self.fifo.start()
    }

    fn read(&mut self, now: &dyn Fn() -> Uptime, samples: &mut Samples) -> Result<(), DeviceError> {
        let fill = self.fifo.fill()?;
        // The newest sample was in the FIFO when its level was read, so this is not before it was taken.
        let at = now();
        if fill.count == 0 {
            let stopped = self.has_stopped(at);
            return if stopped {
                Err(DeviceError::Unusable("gives no samples: it may have lost its power"))
            } else {
                Ok(())
            };
        }
        self.empty_since = None;
        let mut axes = Axes::new();
        self.fifo.take(fill.count.min(ROWS_MAX), &mut axes)?;
        let times = self.clock.times(at, axes.len(), fill.overrun);
        samples.overrun = samples.overrun.saturating_add(times.lost);
        for (place, values) in axes.iter().enumerate() {
            add(samples, times.of(place), values);
        }
        Ok(())
    }
}
