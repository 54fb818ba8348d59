//! The thread that reads the sensors: what is due is started or read, and told.

use std::path::{Path, PathBuf};

use tokio::sync::watch;

use crate::board::SensorPlan;
use crate::clock::{Clock, Uptime};
use crate::device::seam::{HardwareFault, HardwareReport, Reading, Samples, text};
use crate::device::{DeviceError, Evidence, FaultChange, Schedule, Sensor};
use crate::io::devices::open_sensor;
use crate::runtime::hardware::outlets::Outlets;
use crate::runtime::plant::stopped;
use crate::runtime::retry::IDLE_TURN;

/// The sensors of a board.
pub(in crate::runtime::hardware) struct SensorsWorker {
    plans: Vec<SensorPlan>,
    root: PathBuf,
    /// By the place in the plan; `None` before the first start and after a failure.
    open: Vec<Option<Box<dyn Sensor>>>,
    schedule: Schedule,
    evidence: Evidence,
    outlets: Outlets,
    stopping: watch::Receiver<bool>,
}

impl SensorsWorker {
    pub(in crate::runtime::hardware) fn new(
        plans: Vec<SensorPlan>,
        root: &Path,
        outlets: Outlets,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            open: plans.iter().map(|_| None).collect(),
            schedule: Schedule::new(&plans, outlets.clock.uptime()),
            evidence: Evidence::new(&plans),
            root: root.to_owned(),
            plans,
            outlets,
            stopping,
        }
    }

    /// Runs until the gateway stops.
    pub(in crate::runtime::hardware) async fn run(mut self) {
        loop {
            let now = self.outlets.clock.uptime();
            let idle = now.after(IDLE_TURN);
            let due = self.schedule.next().map_or(idle, |(_, due, _)| due.min(idle));
            let wake = tokio::time::Instant::from_std(self.outlets.clock.instant(due));
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                () = stopped(&mut self.stopping) => return,
            }
            self.turn();
        }
    }

    /// Does what is due, one sensor at most, and says what the governor hears: silence would be a fault.
    fn turn(&mut self) {
        let now = self.outlets.clock.uptime();
        if let Some((place, due, must_start)) = self.schedule.next()
            && due <= now
        {
            if must_start { self.start(place) } else { self.read(place) }
        }
        let reading = Reading::from(self.evidence.reading());
        self.outlets.take(HardwareReport::Reading(reading));
    }

    fn start(&mut self, place: usize) {
        let Some(plan) = self.plans.get(place) else { return };
        let started = open_sensor(plan, &self.root).and_then(|mut sensor| {
            sensor.start()?;
            Ok(sensor)
        });
        match started {
            Ok(sensor) => {
                if let Some(slot) = self.open.get_mut(place) {
                    *slot = Some(sensor);
                }
                self.schedule.started(place, self.outlets.clock.uptime());
            }
            Err(error) => self.fail(place, &error),
        }
    }

    fn read(&mut self, place: usize) {
        let Some(Some(sensor)) = self.open.get_mut(place) else { return };
        let clock = self.outlets.clock.clone();
        let mut samples = Samples::of(u16::try_from(place).unwrap_or(u16::MAX));
        if let Err(error) = sensor.read(&|| clock.uptime(), &mut samples) {
            self.fail(place, &error);
            return;
        }
        if let Some(row) = samples.rows.last() {
            self.evidence.hear(place, row.values);
        }
        self.outlets.take(HardwareReport::Samples(samples));
        let change = self.schedule.read(place, self.outlets.clock.uptime());
        self.tell(place, change, None);
    }

    fn fail(&mut self, place: usize, error: &DeviceError) {
        if let Some(slot) = self.open.get_mut(place) {
            *slot = None;
        }
        let now: Uptime = self.outlets.clock.uptime();
        let change = self.schedule.failed(place, now, error.is_silence());
        if change == Some(FaultChange::Entered) {
            self.evidence.lose(place);
        }
        self.tell(place, change, Some(error));
    }

    fn tell(&self, place: usize, change: Option<FaultChange>, error: Option<&DeviceError>) {
        let (Some(_), Some(plan)) = (change, self.plans.get(place)) else { return };
        let what = format!(
            "sensor {} ({} at {:#04x} of bus {})",
            plan.name,
            plan.driver.as_str(),
            plan.address,
            plan.bus
        );
        let why = error.map(|error| text(&error.to_string()));
        self.outlets.take(HardwareReport::Fault(HardwareFault { what: text(&what), why }));
    }
}
