//! The hardware's side: sensors and lines served by threads of their own, what they say told to whom it concerns.
//!
//! ```text
//! tg-hardware  sensors on I2C, by schedule ─┐               ┌─► analyze: samples of streams (bounded, newest dropped)
//!                                           ├─► Outlets ────┼─► governor: cabinet, supply, battery (latest wins)
//! tg-lines     edges, light, relay, dog    ─┘               ├─► outbox: the supply ends (at once)
//!                 ▲                                         └─► status: faults
//!                 └── HardwareCommands: panel, supervisor
//! ```
//!
//! Two threads, because a bus may hang for seconds and the end of the supply is told within milliseconds. What passes
//! between them and the gateway is [`HardwareReport`](crate::device::seam::HardwareReport) and
//! [`HardwareCommand`](crate::device::seam::HardwareCommand), plain data: another process can stand here later.

mod commands;
mod lines;
mod measurements;
mod outlets;
mod sensors;
#[cfg(test)]
mod tests;
mod view;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::info;

use crate::board::{Clash, HardwarePlan, Profile};
use crate::clock::Uptime;
use crate::config::{Config, Device, DeviceSource, Fault};
use crate::flow::StreamId;
use crate::runtime::common::{Common, WiringError};
use crate::runtime::hardware::lines::LinesWorker;
use crate::runtime::hardware::outlets::{Counts, Faults, Outlets};
use crate::runtime::hardware::sensors::SensorsWorker;
use crate::runtime::threads::thread;

pub(in crate::runtime) use commands::HardwareCommands;
pub(in crate::runtime) use lines::HardwareEnd;
pub(in crate::runtime) use measurements::Measurements;
pub(in crate::runtime) use outlets::HardwareHealth;
pub(in crate::runtime) use view::{HardwareView, HardwareVoice};

/// Reports on their way to the brain. A report of a full FIFO is half a kilobyte; a brain that is behind by so many has
/// other troubles, and the newest samples of a sensor that cannot wait are dropped and counted.
const SAMPLES_MAX: usize = 64;

/// Commands on their way to the lines: a handful a second, and each says again what the one before said.
const COMMANDS_MAX: usize = 32;

/// A stream that the board itself measures.
pub(in crate::runtime) struct MeasuredStream {
    pub(in crate::runtime) id: StreamId,
    pub(in crate::runtime) source: DeviceSource,
}

/// Told when the supply ends, on the thread that saw the edge.
pub(in crate::runtime) type OnPowerFail = Arc<dyn Fn(Uptime) + Send + Sync>;

/// The ways from and to the hardware.
pub(in crate::runtime) struct HardwareSide {
    pub(in crate::runtime) measurements: Measurements,
    pub(in crate::runtime) commands: HardwareCommands,
    pub(in crate::runtime) health: HardwareHealth,
    pub(in crate::runtime) end: HardwareEnd,
}

/// What is attached to the board: what is soldered on, and what the configuration adds or replaces.
///
/// # Errors
/// One thing of the configuration and one of the board with one name, or on one address or line. Two of the
/// configuration are told when it is read.
pub fn attached(config: &Config, profile: &Profile) -> Result<HardwarePlan, Vec<Fault>> {
    let plan = profile.hardware.with(&config.hardware);
    let fault = |clash: Clash| Fault {
        key: format!("hardware.{}", clash.key),
        wrong: format!("{}, with what board {} has", clash.problem, profile.name),
        allowed: "a name, an address and a line for each".to_owned(),
    };
    let told = config.hardware.clashes();
    let clashes = plan.clashes().into_iter().filter(|clash| !told.contains(clash));
    let faults: Vec<Fault> = clashes.map(fault).collect();
    if faults.is_empty() { Ok(plan) } else { Err(faults) }
}

/// Starts the threads that there is work for.
pub(in crate::runtime) fn start_hardware(
    (plan, streams): (HardwarePlan, Vec<MeasuredStream>),
    root: &Path,
    (voice, on_power_fail): (HardwareVoice, OnPowerFail),
    stopping: watch::Receiver<bool>,
    common: &Common,
) -> Result<HardwareSide, WiringError> {
    let (samples, samples_seen) = mpsc::channel(SAMPLES_MAX);
    let (commands, commands_seen) = mpsc::channel(COMMANDS_MAX);
    let (faults, faults_seen) = watch::channel(Faults::new());
    let counts = Arc::new(Counts::default());
    let measurements = Measurements::new(streams, &plan, samples_seen, Arc::clone(&counts));
    let health = HardwareHealth { faults: faults_seen, view: voice.view() };
    let outlets = Outlets {
        measured: measurements.measured(),
        samples,
        voice,
        faults: Arc::new(faults),
        on_power_fail,
        counts,
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
    };
    let (closing, closing_seen) = watch::channel(None);
    let has_lines = plan.lines.used().next().is_some() || plan.watchdog.is_some();
    let done = if has_lines {
        let worker = LinesWorker::new(&plan, root, outlets.clone(), (commands_seen, closing_seen));
        Some(thread("tg-lines", async move { worker.run() }).map_err(WiringError::Thread)?)
    } else {
        None
    };
    if !plan.sensors.is_empty() {
        info!(sensors = plan.sensors.len(), "reads the sensors of the board");
        let worker = SensorsWorker::new(plan.sensors, root, outlets, stopping);
        // Nobody waits for its end: it may hang on a bus, and has nothing to finish.
        drop::<oneshot::Receiver<()>>(thread("tg-hardware", worker.run()).map_err(WiringError::Thread)?);
    }
    Ok(HardwareSide {
        measurements,
        commands: HardwareCommands::new(has_lines.then_some(commands)),
        health,
        end: HardwareEnd { closing, done },
    })
}

/// The place of what feeds a stream among the sensors of a plan.
fn place_of(device: &Device, plan: &HardwarePlan) -> Option<u16> {
    match device {
        Device::Door => Some(crate::device::seam::DOOR),
        Device::Sensor(name) => {
            let place = plan.sensors.iter().position(|sensor| *sensor.name == **name)?;
            u16::try_from(place).ok()
        }
    }
}
