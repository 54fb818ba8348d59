//! The link to the plant's broker: a loop that polls and forwards, nothing else.
//!
//! Each connection has a poller of its own; when it breaks, everything of it is thrown away and a new one is opened.
//! The broker keeps the session, so unacknowledged messages come again.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tracing::{debug, info, warn};

use crate::clock::{Clock, SystemClock, Uptime};
use crate::io::mqtt::{Arrival, Connection, Inbound, MqttError, Publisher, Qos};
use crate::runtime::limits::INPUT_BYTES_MAX;
use crate::runtime::operations::{Command, Intake, Sorted};
use crate::runtime::retry::{IDLE_TURN, Retry, best_effort};
use crate::runtime::target::Target;
use crate::telemetry::{Metric, Metrics, Progress, Task};

/// Largest packet taken in order to drop it: the largest `limits.packet` that can be configured.
const PACKET_TAKEN_MAX: u32 = 16 << 20;

/// What the link tells the brain's shell, in the order in which it happened.
pub(in crate::runtime) enum PlantInput {
    /// A connection came up; what is published goes through this.
    Up(Publisher),
    /// A message, to be acknowledged through the latest publisher, and the room it takes until it is dropped.
    Message(Inbound, OwnedSemaphorePermit),
    /// A message that was taken elsewhere; to be acknowledged in its turn.
    Taken(Inbound),
    /// The connection is gone.
    Down,
    /// No more messages will come.
    End,
}

/// The link's shell.
pub(in crate::runtime) struct PlantLink {
    pub(in crate::runtime) target: Target,
    pub(in crate::runtime) filters: Vec<String>,
    pub(in crate::runtime) inputs: mpsc::Sender<PlantInput>,
    /// Tells commands and what we said ourselves from what the plant says.
    pub(in crate::runtime) intake: Intake,
    pub(in crate::runtime) commands: mpsc::Sender<Command>,
    pub(in crate::runtime) publisher: watch::Sender<Option<Publisher>>,
    pub(in crate::runtime) stopping: watch::Receiver<bool>,
    pub(in crate::runtime) clock: SystemClock,
    pub(in crate::runtime) metrics: Arc<Metrics>,
    pub(in crate::runtime) progress: Arc<Progress>,
}

/// Why the poller of a connection ended.
enum Ended {
    /// We said goodbye.
    Closed,
    /// It broke.
    Broken(MqttError),
}

impl PlantLink {
    /// Runs until the gateway stops and the last connection has been closed.
    pub(in crate::runtime) async fn run(mut self) {
        let mut retry = Retry::plant();
        let clean = self.target.endpoint.clean_start;
        let room = Arc::new(Semaphore::new(usize::try_from(INPUT_BYTES_MAX).unwrap_or(usize::MAX)));
        while !*self.stopping.borrow() {
            self.progress.tick(Task::Ingest, self.clock.uptime());
            let ended = match self.target.open() {
                Ok((publisher, connection)) => self.serve(publisher, connection, &room, &mut retry).await,
                Err(error) => Ended::Broken(error),
            };
            self.publisher.send_replace(None);
            self.metrics.set(Metric::PlantRefused, 0);
            let Ended::Broken(error) = ended else { break };
            self.target.endpoint.clean_start = clean;
            if let MqttError::Oversize { size, .. } = &error {
                self.metrics.add(Metric::PlantOversize, 1);
                self.get_past(*size);
            }
            if self.inputs.send(PlantInput::Down).await.is_err() {
                break;
            }
            retry.failed(self.clock.uptime(), &error.in_full(), "plant broker");
            self.pause(retry.due()).await;
        }
        // The brain may have ended already; then nobody needs to be told.
        best_effort(self.inputs.send(PlantInput::End).await);
        debug!("ended plant link");
    }

    /// Makes sure that a message over our limit does not end the next connection too.
    ///
    /// MQTT 3.1.1 has no way to tell a broker our limit: a retained message comes with every subscription and one of
    /// QoS 1 with every connection of the session. So the packet is taken and ingest drops and counts it. Only one that
    /// would take too much memory is fled from, with the session and what else the broker holds for us.
    fn get_past(&mut self, size: u64) {
        let room = u32::try_from(size).ok().and_then(u32::checked_next_power_of_two);
        if let Some(room) = room.filter(|room| *room <= PACKET_TAKEN_MAX) {
            let endpoint = &mut self.target.endpoint;
            endpoint.packet_max = room.max(endpoint.packet_max);
            info!(size, "made room for an oversize message of the plant broker, to drop it");
        } else {
            self.target.endpoint.clean_start = true;
            warn!(size, "dropped the session on the plant broker to get past an oversize message");
        }
    }

    async fn serve(
        &mut self,
        publisher: Publisher,
        mut connection: Connection,
        room: &Arc<Semaphore>,
        retry: &mut Retry,
    ) -> Ended {
        let mut ending = false;
        let mut stopping = self.stopping.clone();
        loop {
            // In order: in a flood the next message is there already, and neither of the others need be set up.
            let arrival = tokio::select! {
                biased;
                arrival = connection.next(), if ending || !*self.stopping.borrow() => Some(arrival),
                () = stopped(&mut stopping), if !ending => {
                    ending = true;
                    best_effort(self.inputs.send(PlantInput::End).await);
                    None
                }
                () = tokio::time::sleep(IDLE_TURN) => None,
            };
            self.progress.tick(Task::Ingest, self.clock.uptime());
            let Some(arrival) = arrival else { continue };
            match arrival {
                Err(error) => return Ended::Broken(error),
                Ok(Arrival::Closed) => return Ended::Closed,
                // A message that arrives while stopping is not acknowledged: the broker keeps it for the next start.
                Ok(Arrival::Message(message)) if !ending => {
                    let Some(room) = room_for(&message, room).await else { return Ended::Closed };
                    if self.inputs.send(self.sorted(message, room)).await.is_err() {
                        return Ended::Closed;
                    }
                }
                Ok(arrival) => self.other(arrival, &publisher, retry).await,
            }
        }
    }

    /// Takes commands out of what comes, and what we said ourselves; both still want their acknowledgement.
    fn sorted(&self, message: Inbound, room: OwnedSemaphorePermit) -> PlantInput {
        let metric = match self.intake.sort(message.topic(), message.payload(), message.retained()) {
            Sorted::Plant => return PlantInput::Message(message, room),
            Sorted::Own => Metric::PlantOwn,
            Sorted::Command(command) => match self.commands.try_send(command) {
                Ok(()) => return PlantInput::Taken(message.receipt()),
                Err(_) => Metric::RefusedCommands,
            },
            Sorted::Refused(refusal) => {
                debug!(?refusal, "refused a command");
                Metric::RefusedCommands
            }
        };
        self.metrics.add(metric, 1);
        PlantInput::Taken(message.receipt())
    }

    async fn other(&self, arrival: Arrival, publisher: &Publisher, retry: &mut Retry) {
        match arrival {
            Arrival::Connected(welcome) => {
                retry.succeeded(self.clock.uptime(), "plant broker");
                self.metrics.add(Metric::PlantConnects, 1);
                info!(session_present = welcome.session_present, "connected to the plant broker");
                for filter in &self.filters {
                    if let Err(reason) = publisher.subscribe(filter, Qos::AtLeastOnce) {
                        self.metrics.add(Metric::PlantRefused, 1);
                        warn!(filter, %reason, "could not subscribe");
                    }
                }
                best_effort(self.inputs.send(PlantInput::Up(publisher.clone())).await);
                self.publisher.send_replace(Some(publisher.clone()));
            }
            Arrival::Subscribed { filter, refused: Some(reason) } => {
                self.metrics.add(Metric::PlantRefused, 1);
                warn!(filter, reason, "plant broker refused a subscription");
            }
            Arrival::Refused(_, reason) => debug!(reason, "plant broker refused a decision"),
            Arrival::Subscribed { refused: None, .. }
            | Arrival::Acked(_)
            | Arrival::Alive
            | Arrival::Closed
            | Arrival::Message(_) => {}
        }
    }

    /// Waits before the next attempt, ticking, and stops waiting when the gateway stops.
    async fn pause(&mut self, until: Uptime) {
        loop {
            let now = self.clock.uptime();
            self.progress.tick(Task::Ingest, now);
            if now >= until {
                return;
            }
            let turn = tokio::time::Instant::from_std(self.clock.instant(until.min(now.after(IDLE_TURN))));
            tokio::select! {
                () = tokio::time::sleep_until(turn) => {}
                () = stopped(&mut self.stopping) => return,
            }
        }
    }
}

/// Waits until there is room for a message between here and the brain; `None` once nobody takes messages any more. One
/// that is larger than all the room there is passes alone.
async fn room_for(message: &Inbound, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let bytes = (message.topic().len() + message.payload().len()) as u64;
    let bytes = u32::try_from(bytes.min(INPUT_BYTES_MAX)).unwrap_or(u32::MAX);
    Arc::clone(room).acquire_many_owned(bytes).await.ok()
}

/// Waits until the gateway is asked to stop.
pub(in crate::runtime) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A closed channel means that the supervisor is gone: stop as well.
    drop(stopping.wait_for(|stopping| *stopping).await);
}
