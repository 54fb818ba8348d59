//! Reads heat and memory once a second and says what they allow.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::board::{Profile, Thermal, builtin, recognise};
use crate::clock::{Clock, SystemClock, Uptime};
use crate::config::{Config, TemperatureLimit};
use crate::flow::{Budget, Level, MemoryReading};
use crate::governor::{Governor, GovernorConfig, GovernorStatus, Readings};
use crate::io::sysfs::{Sysfs, SysfsError, hottest, trip_points};
use crate::runtime::common::{Common, WiringError};
use crate::runtime::hardware::HardwareView;
use crate::runtime::plant::stopped;
use crate::runtime::retry::IDLE_TURN;
use crate::telemetry::{Metric, Metrics, Progress, Task};
use crate::units::{Bytes, Celsius, Millicores};

/// Stands for the temperatures of a board without a sensor; heat limits nothing there.
const NO_HEAT: Celsius = Celsius(0.0);

/// The governor's shell.
pub(in crate::runtime) struct GovernorShell {
    governor: Governor,
    sysfs: Sysfs,
    profile: Profile,
    limit: TemperatureLimit,
    pub(in crate::runtime) budget: watch::Sender<Budget>,
    pub(in crate::runtime) status: watch::Sender<GovernorStatus>,
    stopping: watch::Receiver<bool>,
    hardware: HardwareView,
    clock: SystemClock,
    metrics: Arc<Metrics>,
    progress: Arc<Progress>,
}

/// Recognises the board and takes the first readings.
pub(in crate::runtime) fn prepare_governor(
    config: &Config,
    root: &Path,
    stopping: watch::Receiver<bool>,
    hardware: HardwareView,
    common: &Common,
) -> Result<GovernorShell, WiringError> {
    let sysfs = Sysfs::at(root);
    let profile = board_profile(config.gateway.board.as_deref(), &sysfs).map_err(WiringError::Board)?;
    let zones = sysfs.thermal_zones().unwrap_or_default();
    let found = |thermal: &Thermal| zones.iter().any(|zone| thermal.zones.contains(&zone.kind));
    let governor = Governor::new(GovernorConfig {
        has_sensor: profile.thermal.as_ref().is_some_and(|thermal| thermal.has_sensor(found(thermal))),
        ok: profile.thermal.as_ref().map_or(NO_HEAT, |thermal| thermal.ok),
        memory: config.budget.memory,
        dwell: common.pace.dwell,
        dwell_max: common.pace.dwell_max,
        forecast: common.pace.forecast,
        cpu: Millicores::of_cores(config.budget.cpu),
        ..GovernorConfig::default()
    });
    info!(board = profile.name, "recognised the board");
    let status = watch::channel(*governor.status()).0;
    let mut shell = GovernorShell {
        governor,
        sysfs,
        profile,
        limit: config.budget.temperature,
        budget: watch::channel(Budget::NOMINAL).0,
        status,
        stopping,
        hardware,
        clock: common.clock.clone(),
        metrics: Arc::clone(&common.metrics),
        progress: Arc::clone(&common.progress),
    };
    shell.observe();
    Ok(shell)
}

impl GovernorShell {
    /// Runs until the gateway stops.
    pub(in crate::runtime) async fn run(mut self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(IDLE_TURN) => {}
                () = stopped(&mut self.stopping) => break,
            }
            self.observe();
        }
        // Ending now would look like a failure to the supervisor while the others drain.
        std::future::pending::<()>().await;
    }

    fn observe(&mut self) {
        let now = self.clock.uptime();
        self.clock.confirm(self.sysfs.time_synchronized().unwrap_or(false));
        let readings = self.read(now);
        self.metrics.set(Metric::MemoryBytes, readings.memory.used.0);
        let before = self.governor.status().budget;
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
        self.budget.send_if_modified(|known| std::mem::replace(known, budget) != budget);
        self.status.send_replace(*self.governor.status());
        self.progress.tick(Task::Governor, now);
    }

    /// What cannot be read is told to the governor as absent: it decides what that means.
    fn read(&mut self, at: Uptime) -> Readings {
        let zones = self.sysfs.thermal_zones().unwrap_or_default();
        let memory = self.sysfs.process_memory();
        let memory_used = memory.map_or(Bytes(0), |memory| memory.anonymous.unwrap_or(memory.resident));
        let memory = MemoryReading { used: memory_used, ..MemoryReading::default() };
        let hardware = self.hardware.current(at);
        let Some(thermal) = &self.profile.thermal else {
            return Readings { at, trip: NO_HEAT, memory, hardware, ..Readings::default() };
        };
        let trip = match self.limit {
            TemperatureLimit::Auto => thermal.trip_among(trip_points(&zones, &thermal.zones)),
            TemperatureLimit::Fixed(limit) => limit,
        };
        let temperature = hottest(&zones, &thermal.zones);
        Readings { at, temperature, trip, memory, hardware, ..Readings::default() }
    }
}

/// The profile of a board by name, or of the board this runs on.
///
/// # Errors
/// When the name is unknown, with the known ones.
pub fn board_profile(name: Option<&str>, sysfs: &Sysfs) -> Result<Profile, String> {
    let mut boards = Vec::new();
    for (file, text) in builtin() {
        let board = Profile::parse(text).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            format!("board {file}: {}", faults.join("; "))
        })?;
        boards.push(board);
    }
    let known = || boards.iter().map(|board| board.name.as_str()).collect::<Vec<_>>().join(" | ");
    if let Some(name) = name {
        let found = boards.iter().find(|board| board.name == name).cloned();
        return found.ok_or_else(|| {
            format!("gateway.board: no board is called {name:?}; allowed: auto | {}", known())
        });
    }
    let unreadable =
        |error: SysfsError| format!("recognise the board: {error}; name it in gateway.board: {}", known());
    let compatible = sysfs.compatible().map_err(unreadable)?;
    let product = sysfs.product_name().map_err(unreadable)?;
    let found = recognise(&compatible, product.as_deref(), std::env::consts::ARCH, &boards);
    found
        .map(|found| found.profile.clone())
        .ok_or_else(|| format!("gateway.board: this board is not known; allowed: {}", known()))
}
