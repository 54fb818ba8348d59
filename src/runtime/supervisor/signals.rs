//! What ends the service from outside, heard from its first moment on.

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// All of it.
pub(in crate::runtime::supervisor) struct Signals {
    pub(in crate::runtime::supervisor) stop: Stop,
    /// What tools of a battery-backed supply send, beside the input on a pin.
    pub(in crate::runtime::supervisor) power: Signal,
}

/// What asks the service to end: a signal, or whoever started it within this program.
pub(in crate::runtime::supervisor) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    within: Option<oneshot::Receiver<()>>,
}

impl Signals {
    /// From now on none of them ends the program by itself. Needs a running executor.
    pub(in crate::runtime::supervisor) fn hear(stop: Option<oneshot::Receiver<()>>) -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let power = signal(SignalKind::from_raw(Number::POWER.as_raw()))?;
        Ok(Self { stop: Stop { terminate, interrupt, within: stop }, power })
    }
}

impl Stop {
    /// Waits until the service is asked to end. Cancel-safe; not to be called again after that.
    pub(in crate::runtime::supervisor) async fn asked(&mut self) {
        let within = async {
            match &mut self.within {
                Some(stop) => drop(stop.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = within => {}
        }
    }
}
