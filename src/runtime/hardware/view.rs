//! What the governor hears of the hardware, and for how long it believes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Uptime;
use crate::flow::{HardwareReading, PowerReading, Sensed};

/// Longest silence of the hardware thread before what it said last is no longer believed: a bus that hangs for good
/// must not leave a cabinet cool for ever. As long as any task may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The reader's end.
#[derive(Clone)]
pub(in crate::runtime) struct HardwareView(watch::Receiver<Heard>);

/// The hardware threads' end.
#[derive(Clone)]
pub(in crate::runtime) struct HardwareVoice(Arc<watch::Sender<Heard>>);

/// What was said last, and when; without hardware nothing is said and nothing grows old.
#[derive(Clone, Copy, Default)]
struct Heard {
    reading: HardwareReading,
    at: Option<Uptime>,
}

impl HardwareVoice {
    /// A voice and an ear. Until the first word the hardware is absent.
    pub(in crate::runtime) fn channel() -> (Self, HardwareView) {
        let (voice, view) = watch::channel(Heard::default());
        (Self(Arc::new(voice)), HardwareView(view))
    }

    /// Another ear.
    pub(in crate::runtime::hardware) fn view(&self) -> HardwareView {
        HardwareView(self.0.subscribe())
    }

    /// Says what the hardware says now. Called on every turn, also when nothing changed: silence is a fault.
    pub(in crate::runtime) fn say(&self, reading: HardwareReading, at: Uptime) {
        self.0.send_modify(|heard| {
            let failing = heard.reading.power.failing;
            *heard = Heard { reading, at: Some(at) };
            heard.reading.power.failing = failing;
        });
    }

    /// Says whether the supply ends, which another thread sees than the one that reads the sensors.
    pub(in crate::runtime::hardware) fn failing(&self, failing: bool) {
        self.0.send_modify(|heard| heard.reading.power.failing = failing);
    }
}

impl HardwareView {
    /// What the hardware says; what it said too long ago is lost.
    pub(in crate::runtime) fn current(&self, now: Uptime) -> HardwareReading {
        let heard = *self.0.borrow();
        match heard.at {
            Some(at) if now.since(at) > SILENCE_MAX => lost(heard.reading),
            Some(_) | None => heard.reading,
        }
    }

    /// Whether the hardware has spoken and speaks no more.
    pub(in crate::runtime::hardware) fn is_silent(&self, now: Uptime) -> bool {
        self.0.borrow().at.is_some_and(|at| now.since(at) > SILENCE_MAX)
    }
}

/// The same with everything lost that was known. What is known of the source stays: a battery does not become mains by
/// silence.
fn lost(reading: HardwareReading) -> HardwareReading {
    let power = reading.power;
    HardwareReading {
        cabinet: gone(reading.cabinet),
        power: PowerReading {
            charge: gone(power.charge),
            voltage: gone(power.voltage),
            draw: gone(power.draw),
            ..power
        },
    }
}

fn gone<T: Copy>(sensed: Sensed<T>) -> Sensed<T> {
    match sensed {
        Sensed::Absent => Sensed::Absent,
        Sensed::Lost | Sensed::Known(_) => Sensed::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Celsius;

    #[test]
    fn a_thread_that_hangs_is_a_lost_sensor_not_a_cool_cabinet() {
        let (voice, view) = HardwareVoice::channel();
        let later = |seconds| Uptime::ZERO.after(Duration::from_secs(seconds));
        assert_eq!(view.current(later(1_000)), HardwareReading::default(), "no hardware is no fault");
        let reading = HardwareReading { cabinet: Sensed::Known(Celsius(30.0)), ..HardwareReading::default() };
        voice.say(reading, later(0));
        assert_eq!(view.current(later(10)), reading);
        let silent = view.current(later(11));
        assert_eq!((silent.cabinet, silent.power.draw), (Sensed::Lost, Sensed::Absent));
        voice.say(reading, later(12));
        assert_eq!((view.current(later(12)), view.is_silent(later(12))), (reading, false));
        assert!(view.is_silent(later(23)));
    }
}
