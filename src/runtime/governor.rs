//! Reads heat, memory and supply once a second, says what they allow, and tells every change.

mod beside;
mod board;
mod gauges;
mod levels;
mod reader;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::{info, warn};

pub use self::board::board_profile;
pub(in crate::runtime) use self::levels::LevelTeller;
use crate::board::{HardwarePlan, Profile};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::flow::{Budget, Level};
use crate::governor::{Governor, GovernorConfig, GovernorStatus};
use crate::runtime::common::{Common, WiringError};
use crate::runtime::governor::beside::Beside;
use crate::runtime::governor::board::battery_low;
use crate::runtime::governor::gauges::{Gauges, NO_HEAT};
use crate::runtime::governor::reader::{GaugeReader, Seen};
use crate::runtime::hardware::{HardwareView, attached};
use crate::runtime::plant::stopped;
use crate::runtime::retry::IDLE_TURN;
use crate::telemetry::{Metric, Metrics, Progress, Task};
use crate::units::Millicores;

/// The governor's shell.
pub(in crate::runtime) struct GovernorShell {
    governor: Governor,
    gauges: GaugeReader,
    beside: Beside,
    /// What is attached, board and configuration together.
    pub(in crate::runtime) attached: HardwarePlan,
    pub(in crate::runtime) budget: watch::Sender<Budget>,
    pub(in crate::runtime) status: watch::Sender<GovernorStatus>,
    stopping: watch::Receiver<bool>,
    clock: SystemClock,
    metrics: Arc<Metrics>,
    progress: Arc<Progress>,
}

/// Takes the first readings of a board.
pub(in crate::runtime) fn prepare_governor(
    (config, profile): (&Config, Profile),
    root: &Path,
    stopping: watch::Receiver<bool>,
    hardware: HardwareView,
    common: &Common,
) -> Result<GovernorShell, WiringError> {
    let attached = attached(config, &profile).map_err(|faults| WiringError::Plan { faults })?;
    let thermal = profile.thermal.as_ref();
    let default = GovernorConfig::default();
    let limits = GovernorConfig {
        has_sensor: false,
        ok: thermal.map_or(NO_HEAT, |thermal| thermal.ok),
        memory: config.budget.memory,
        frozen_after: thermal.and_then(|thermal| thermal.frozen_after),
        dwell: common.pace.dwell,
        dwell_max: common.pace.dwell_max,
        forecast: common.pace.forecast,
        cpu: Millicores::of_cores(config.budget.cpu),
        cabinet: config.budget.cabinet,
        battery_low: battery_low(&attached).unwrap_or(default.battery_low),
        core: profile.power.map(|power| power.core),
    };
    let metrics = Arc::clone(&common.metrics);
    let mut gauges = Gauges::new(root, profile, config.budget.temperature, metrics);
    let governor = Governor::new(GovernorConfig { has_sensor: gauges.has_sensor(), ..limits });
    let first = gauges.read(common.clock.uptime());
    let mut shell = GovernorShell {
        budget: watch::channel(governor.status().budget).0,
        status: watch::channel(*governor.status()).0,
        governor,
        gauges: GaugeReader::start(first, move |at| gauges.read(at)).map_err(WiringError::Thread)?,
        beside: Beside::new(root, hardware),
        attached,
        stopping,
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
    };
    shell.observe(first);
    Ok(shell)
}

impl GovernorShell {
    /// Runs until the gateway stops.
    pub(in crate::runtime) async fn run(mut self, mut levels: LevelTeller) {
        loop {
            // Also what the first readings said.
            levels.tell(self.governor.status());
            tokio::select! {
                () = tokio::time::sleep(IDLE_TURN) => {}
                () = stopped(&mut self.stopping) => break,
            }
            let seen = self.gauges.read(self.clock.uptime()).await;
            self.observe(seen);
        }
        // Ending now would look like a failure to the supervisor while the others drain; the ways to the outbox end with
        // it, or the outbox would wait for ever.
        drop(levels);
        std::future::pending::<()>().await;
    }

    fn observe(&mut self, Seen { mut readings, time_is_known }: Seen) {
        let now = readings.at;
        self.clock.confirm(time_is_known);
        self.beside.add(&mut readings);
        self.metrics.set(Metric::MemoryBytes, readings.memory.used.0);
        let (before, before_lost) = (self.governor.status().budget, self.governor.status().flags_lost);
        let budget = self.governor.observe(readings);
        if budget.level != before.level {
            self.metrics.add(Metric::LevelChanges, 1);
            let (from, to, reason) = (before.level.as_str(), budget.level.as_str(), budget.reason.as_str());
            if budget.level > before.level && budget.level >= Level::Hot {
                warn!(from, to, reason, "raised the level, work is shed");
            } else {
                info!(from, to, reason, "changed the level");
            }
        }
        if readings.flags_lost != before_lost {
            if readings.flags_lost {
                warn!("cannot read what the board says of its supply and its clock: see tidegate selftest");
            } else {
                info!("read again what the board says of its supply and its clock");
            }
        }
        self.budget.send_if_modified(|known| std::mem::replace(known, budget) != budget);
        self.status.send_replace(*self.governor.status());
        self.progress.tick(Task::Governor, now);
    }
}
