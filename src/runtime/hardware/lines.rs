//! The thread of the lines: inputs are told, the light blinks, the relay is held, the watchdog is fed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::board::{HardwarePlan, Line};
use crate::clock::{Clock, Uptime};
use crate::device::Relay;
use crate::device::seam::{
    DOOR, HardwareCommand, HardwareFault, HardwareReport, InputLine, LedPattern, RelayState, Row, Samples,
    VALUES_MAX, text,
};
use crate::io::devices::{InputPin, LineError, OutputLine, wait_for_edge};
use crate::io::watchdog_device::WatchdogDevice;
use crate::runtime::hardware::outlets::Outlets;
use crate::runtime::retry::best_effort;

/// Commands are looked at this often: an alarm shows, and the relay falls, within it.
const TURN: Duration = Duration::from_millis(50);

/// A line that cannot be used is tried again after this.
const RETRY: Duration = Duration::from_mins(1);

/// A contact that bounces, or an input that floats: the end of the supply is told once in this time, each flushes to the
/// disk. Its first edge is told at once.
const BOUNCE: Duration = Duration::from_secs(1);

/// The state of the door is told this often beside each change, so that its windows fill.
const DOOR_PERIOD: Duration = Duration::from_secs(1);

/// How long the end of the gateway waits for the lines: they have one turn to make.
const END_MAX: Duration = Duration::from_secs(1);

/// The lines of a board.
pub(in crate::runtime::hardware) struct LinesWorker {
    led: Option<Slot<OutputLine>>,
    relay: Option<Slot<OutputLine>>,
    inputs: Vec<(InputLine, Slot<InputPin>)>,
    supply: SupplyEnd,
    watchdog: Option<WatchdogSlot>,
    rhythm: (LedPattern, Uptime),
    hold: Relay,
    door_due: Uptime,
    root: PathBuf,
    outlets: Outlets,
    commands: mpsc::Receiver<HardwareCommand>,
    closing: watch::Receiver<Option<bool>>,
}

/// A line with what is known of it.
struct Slot<T> {
    what: &'static str,
    line: Line,
    pin: Option<T>,
    /// What an output shows.
    shown: Option<bool>,
    retry: Uptime,
    at_fault: bool,
}

/// What was told of the end of the supply, and when.
struct SupplyEnd {
    told: bool,
    quiet_until: Uptime,
}

/// The watchdog: armed by the first feeding, so that a gateway that cannot start does not make the board boot for ever.
struct WatchdogSlot {
    name: String,
    device: Option<WatchdogDevice>,
    retry: Uptime,
    at_fault: bool,
}

/// The end of the lines: whoever drops it lets them as they are.
pub(in crate::runtime) struct HardwareEnd {
    pub(in crate::runtime) closing: watch::Sender<Option<bool>>,
    pub(in crate::runtime) done: Option<oneshot::Receiver<()>>,
}

impl HardwareEnd {
    /// Ends the lines: the light goes out and the relay falls. After an orderly end the watchdog is disarmed; otherwise it
    /// stays armed and resets the board if nobody comes back.
    pub(in crate::runtime) async fn end(self, orderly: bool) {
        self.closing.send_replace(Some(orderly));
        if let Some(done) = self.done {
            // A driver that hangs in here does not keep the gateway from ending.
            best_effort(tokio::time::timeout(END_MAX, done).await);
        }
    }

    /// No lines.
    pub(in crate::runtime) fn none() -> Self {
        Self { closing: watch::channel(None).0, done: None }
    }
}

impl LinesWorker {
    pub(in crate::runtime::hardware) fn new(
        plan: &HardwarePlan,
        root: &Path,
        outlets: Outlets,
        (commands, closing): (mpsc::Receiver<HardwareCommand>, watch::Receiver<Option<bool>>),
    ) -> Self {
        let lines = &plan.lines;
        let now = outlets.clock.uptime();
        let inputs = [(InputLine::PowerFail, &lines.power_fail), (InputLine::Door, &lines.door)];
        Self {
            led: lines.status_led.clone().map(|line| Slot::new("status_led", line)),
            relay: lines.alarm_relay.clone().map(|line| Slot::new("alarm_relay", line)),
            inputs: inputs
                .into_iter()
                .filter_map(|(input, line)| Some((input, Slot::new(input.as_str(), line.clone()?))))
                .collect(),
            supply: SupplyEnd { told: false, quiet_until: Uptime::ZERO },
            watchdog: plan.watchdog.clone().map(WatchdogSlot::new),
            rhythm: (LedPattern::Off, now),
            hold: Relay::default(),
            door_due: now,
            root: root.to_owned(),
            outlets,
            commands,
            closing,
        }
    }

    /// Runs until the gateway ends or is gone.
    pub(in crate::runtime::hardware) fn run(mut self) {
        loop {
            let now = self.outlets.clock.uptime();
            self.open(now);
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command, now);
            }
            let blink = self.blink(now);
            self.hold(now);
            self.look(now);
            let orderly = *self.closing.borrow();
            if orderly.is_some() || self.closing.has_changed().is_err() {
                self.close(orderly.unwrap_or(false));
                return;
            }
            let pins: Vec<&InputPin> = self.inputs.iter().filter_map(|(_, slot)| slot.pin.as_ref()).collect();
            wait_for_edge(&pins, blink.min(TURN));
        }
    }

    /// Takes the lines that are not taken yet.
    fn open(&mut self, now: Uptime) {
        let (root, outlets) = (&self.root, &self.outlets);
        for slot in self.led.iter_mut().chain(&mut self.relay) {
            slot.open(now, outlets, |line| OutputLine::open(root, line));
        }
        for (input, slot) in &mut self.inputs {
            let is_new =
                slot.open(now, outlets, |line| InputPin::open(root, line, *input == InputLine::Door));
            let is_door = *input == InputLine::Door;
            if is_door && is_new && slot.pin.as_ref().is_some_and(InputPin::told) {
                outlets.take(HardwareReport::Edge { line: *input, state: true, at: now.0 });
            }
        }
    }

    fn obey(&mut self, command: HardwareCommand, now: Uptime) {
        match command {
            HardwareCommand::Led(pattern) if pattern != self.rhythm.0 => self.rhythm = (pattern, now),
            HardwareCommand::Led(_) => {}
            HardwareCommand::Relay(state) => self.hold.ask(state, now),
            HardwareCommand::FeedWatchdog => self.feed(now),
        }
    }

    /// Shows the light as it is now; for how long it stays so.
    fn blink(&mut self, now: Uptime) -> Duration {
        let Some(slot) = &mut self.led else { return TURN };
        let (lit, stays) = self.rhythm.0.lit(now.since(self.rhythm.1));
        slot.show(lit, now, &self.outlets);
        stays
    }

    fn hold(&mut self, now: Uptime) {
        if let Some(slot) = &mut self.relay {
            slot.show(self.hold.state(now) == RelayState::Held, now, &self.outlets);
        }
    }

    /// Tells what changed at the inputs, and the door now and then.
    fn look(&mut self, now: Uptime) {
        let door_is_due = now >= self.door_due && self.outlets.is_measured(DOOR);
        for (input, slot) in &mut self.inputs {
            let Some(pin) = &mut slot.pin else { continue };
            let changed = match pin.change() {
                Ok(changed) => changed,
                Err(error) => {
                    slot.fail(now, &error, &self.outlets);
                    continue;
                }
            };
            let state = pin.told();
            let is_told = match input {
                InputLine::PowerFail => self.supply.tells(state, now),
                InputLine::Door => changed.is_some(),
            };
            if is_told {
                self.outlets.take(HardwareReport::Edge { line: *input, state, at: now.0 });
            }
            if *input == InputLine::Door && (door_is_due || changed.is_some()) {
                let mut samples = Samples::of(DOOR);
                let mut values = [f32::NAN; VALUES_MAX];
                values[0] = f32::from(u8::from(state));
                best_effort(samples.rows.push(Row { at: now.0, values }));
                self.outlets.take(HardwareReport::Samples(samples));
                self.door_due = now.after(DOOR_PERIOD);
            }
        }
    }

    fn feed(&mut self, now: Uptime) {
        if let Some(slot) = &mut self.watchdog {
            slot.arm(now, &self.root, &self.outlets);
            slot.feed(&self.outlets);
        }
    }

    fn close(mut self, orderly: bool) {
        let now = self.outlets.clock.uptime();
        for slot in self.led.iter_mut().chain(&mut self.relay) {
            slot.show(false, now, &self.outlets);
        }
        let device = self.watchdog.take().and_then(|slot| slot.device);
        if let Some(device) = device.filter(|_| orderly)
            && let Err(error) = device.close()
        {
            complain(&self.outlets, "watchdog", Some(&error.to_string()));
        }
    }
}

impl SupplyEnd {
    /// Whether this state is to be told now.
    fn tells(&mut self, ends: bool, now: Uptime) -> bool {
        let tells = ends != self.told && now >= self.quiet_until;
        if tells {
            self.told = ends;
        }
        if tells && ends {
            self.quiet_until = now.after(BOUNCE);
        }
        tells
    }
}

impl WatchdogSlot {
    fn new(name: String) -> Self {
        Self { name, device: None, retry: Uptime::ZERO, at_fault: false }
    }

    /// Opens it, which arms it, if it is not open and it is time to try: its driver may be loaded later than we are started.
    fn arm(&mut self, now: Uptime, root: &Path, outlets: &Outlets) {
        if self.device.is_some() || now < self.retry {
            return;
        }
        self.retry = now.after(RETRY);
        let why = match WatchdogDevice::open(root, &self.name) {
            Ok(device) => {
                self.device = Some(device);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        self.tell(why.as_deref(), outlets);
    }

    fn feed(&mut self, outlets: &Outlets) {
        let Some(device) = &mut self.device else { return };
        let fed = device.feed();
        self.tell(fed.err().map(|error| error.to_string()).as_deref(), outlets);
    }

    /// Tells a fault when it begins and when it ends.
    fn tell(&mut self, why: Option<&str>, outlets: &Outlets) {
        if why.is_some() != std::mem::replace(&mut self.at_fault, why.is_some()) {
            complain(outlets, "watchdog", why);
        }
    }
}

impl<T> Slot<T> {
    fn new(what: &'static str, line: Line) -> Self {
        Self { what, line, pin: None, shown: None, retry: Uptime::ZERO, at_fault: false }
    }

    /// Takes the line if it is not taken and it is time to try; true when it was taken now.
    fn open(
        &mut self,
        now: Uptime,
        outlets: &Outlets,
        open: impl FnOnce(&Line) -> Result<T, LineError>,
    ) -> bool {
        if self.pin.is_some() || now < self.retry {
            return false;
        }
        match open(&self.line) {
            Ok(pin) => {
                self.pin = Some(pin);
                if std::mem::take(&mut self.at_fault) {
                    complain(outlets, self.what, None);
                }
                true
            }
            Err(error) => {
                self.fail(now, &error, outlets);
                false
            }
        }
    }

    /// Gives the line up until the next try. Told once.
    fn fail(&mut self, now: Uptime, error: &LineError, outlets: &Outlets) {
        (self.pin, self.shown, self.retry) = (None, None, now.after(RETRY));
        if !std::mem::replace(&mut self.at_fault, true) {
            complain(outlets, self.what, Some(&error.to_string()));
        }
    }
}

impl Slot<OutputLine> {
    fn show(&mut self, yes: bool, now: Uptime, outlets: &Outlets) {
        let Some(pin) = &self.pin else { return };
        if self.shown == Some(yes) {
            return;
        }
        match pin.set(yes) {
            Ok(()) => self.shown = Some(yes),
            Err(error) => self.fail(now, &error, outlets),
        }
    }
}

fn complain(outlets: &Outlets, what: &str, why: Option<&str>) {
    let what = if what == "watchdog" { what.to_owned() } else { format!("line {what}") };
    let fault = HardwareFault { what: text(&what), why: why.map(text) };
    outlets.take(HardwareReport::Fault(fault));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Lines;
    use crate::runtime::hardware::tests::{line, outlets};

    fn at(seconds: u64) -> Uptime {
        Uptime::ZERO.after(Duration::from_secs(seconds))
    }

    fn worker(plan: &HardwarePlan, root: &Path) -> LinesWorker {
        let (outlets, _) = outlets();
        LinesWorker::new(plan, root, outlets, (mpsc::channel(1).1, watch::channel(None).1))
    }

    #[test]
    fn a_supply_that_came_back_while_its_line_could_not_be_read_is_back() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("gpio/gpiochip0");
        let file = folder.join("22");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&file, "1").unwrap();
        let lines = Lines { power_fail: Some(line(22)), ..Lines::default() };
        let mut worker = worker(&HardwarePlan { lines, ..HardwarePlan::default() }, root.path());
        let view = worker.outlets.voice.view();
        let is_failing = || view.current(Uptime::ZERO).power.failing;
        worker.open(at(100));
        worker.look(at(100));
        assert!(is_failing());
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        worker.look(at(101));
        assert!(is_failing(), "a line that cannot be read is no supply");
        std::fs::remove_dir(&file).unwrap();
        std::fs::write(&file, "0").unwrap();
        worker.open(at(102).after(RETRY));
        worker.look(at(102).after(RETRY));
        assert!(!is_failing());
    }

    #[test]
    fn the_watchdog_is_armed_by_the_first_feeding_and_tried_again_where_it_was_not_there() {
        let root = tempfile::tempdir().unwrap();
        let plan = HardwarePlan { watchdog: Some("/dev/watchdog0".to_owned()), ..HardwarePlan::default() };
        let mut worker = worker(&plan, root.path());
        worker.open(at(1));
        assert!(worker.outlets.faults.borrow().is_empty(), "it was not even looked at");
        worker.feed(at(100));
        assert!(worker.outlets.faults.borrow().contains_key("watchdog"));
        let driver = root.path().join("sys/class/watchdog/watchdog0");
        let device = root.path().join("dev/watchdog0");
        for folder in [&driver, &root.path().join("dev")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(driver.join("timeout"), "15\n").unwrap();
        std::fs::write(&device, "").unwrap();
        let told = || std::fs::read_to_string(&device).unwrap();
        worker.feed(at(101));
        assert_eq!(told(), "", "not yet");
        worker.feed(at(101).after(RETRY));
        assert_eq!(told(), "\n");
        assert!(worker.outlets.faults.borrow().is_empty());
        worker.close(true);
        assert_eq!(told(), "\nV");
    }
}
