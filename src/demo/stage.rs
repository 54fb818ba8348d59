//! Gives the demonstration: sets everything up, follows the script, ends the gateway, counts what arrived.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::{Clock, SystemClock, Uptime};
use crate::config::Config;
use crate::demo::board::{HotBoard, ROOT};
use crate::demo::broker::start_broker;
use crate::demo::ear::{Ear, NOTICES_MAX, Notice, connect};
use crate::demo::error::DemoError;
use crate::demo::models::unpack_models;
use crate::demo::picture::Picture;
use crate::demo::plant::{Sent, run_plant};
use crate::demo::relay::{Passage, Relay};
use crate::demo::script::Script;
use crate::demo::setup::{PLANT_FILTER, UPSTREAM_FILTER, configuration};
use crate::demo::summary::{Figures, Summary};
use crate::demo::view::{Frame, View};
use crate::io::mqtt::Publisher;
use crate::io::scratch::Scratch;
use crate::runtime::{DRAIN_TOTAL, Options, Pace, RunError, run};
use crate::telemetry::{Metric, Metrics};

/// What to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoOptions {
    /// Length of the script; set-up and drain come on top.
    pub length: Duration,
    /// Seed of the plant.
    pub seed: u64,
}

/// Brokers, admission of the models, first connections: 2 s on a desk in a release build.
const SETUP_MAX: Duration = Duration::from_mins(1);

/// After the script, for what is under way.
const SETTLE_MAX: Duration = Duration::from_secs(8);

/// On top of all other limits, before everything is given up from outside.
const MARGIN: Duration = Duration::from_secs(10);

/// Between two looks at the script.
const TURN: Duration = Duration::from_millis(100);

/// The dwell of the governor is the length divided by this: a level is held for a second in 45.
const DWELLS: u32 = 45;

/// Gives the demonstration. Ends within the limits whatever happens.
///
/// # Errors
/// When it cannot be set up, when the gateway fails, when somebody interrupts it, when something hangs.
pub fn run_demo(options: DemoOptions) -> Result<Summary, DemoError> {
    let limit = SETUP_MAX + options.length + SETTLE_MAX * 2 + DRAIN_TOTAL + MARGIN;
    let (done, result) = std::sync::mpsc::sync_channel(1);
    // On a thread of its own, so that even an executor that blocks is given up.
    std::thread::Builder::new()
        .name("demo-stage".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let outcome =
                runtime.map_err(DemoError::Start).and_then(|runtime| runtime.block_on(give(options)));
            // Given up already if nobody takes it.
            drop(done.send(outcome));
        })
        .map_err(DemoError::Start)?;
    result.recv_timeout(limit).unwrap_or(Err(DemoError::Hung("the demonstration is long over its time")))
}

async fn give(options: DemoOptions) -> Result<Summary, DemoError> {
    let script = Script::new(options.length);
    let scratch = Scratch::new("tidegate-demo").map_err(DemoError::Scratch)?;
    unpack_models(&scratch)?;
    let board = HotBoard::build(&scratch, script)?;
    let (plant, upstream) = (start_broker("plant").await?, start_broker("upstream").await?);
    let relay = Relay::start(upstream).await.map_err(DemoError::Start)?;
    let config = configuration(&scratch, plant, (upstream.ip(), relay.port()).into())?;
    let (sender, notices) = mpsc::channel(NOTICES_MAX);
    // The publishers of the ears are not needed: they only listen.
    connect(Ear::Plant, plant, Some(PLANT_FILTER), sender.clone())?;
    connect(Ear::Upstream, upstream, Some(UPSTREAM_FILTER), sender.clone())?;
    let simulator = connect(Ear::Simulator, plant, None, sender)?;
    let mut stage = Stage {
        script,
        scratch,
        relay,
        notices,
        ready: 0,
        clock: SystemClock::start(),
        metrics: Arc::new(Metrics::new()),
        picture: Picture::default(),
        view: View::open(),
        at: None,
        outage: Duration::ZERO,
        board,
    };
    let played = stage.play(config, simulator, options.seed).await;
    stage.show();
    stage.view.close();
    let sent = played?;
    let figures = Figures::read(&stage.metrics);
    let Stage { picture, outage, board, .. } = stage;
    Ok(Summary {
        length: options.length,
        seed: options.seed,
        outage,
        hottest: board.hottest().0,
        sent,
        figures,
        picture,
    })
}

/// The gateway on its thread.
struct Gateway {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<Result<(), RunError>>,
}

struct Stage {
    script: Script,
    scratch: Scratch,
    relay: Relay,
    notices: mpsc::Receiver<Notice>,
    /// Clients that are connected.
    ready: usize,
    clock: SystemClock,
    metrics: Arc<Metrics>,
    picture: Picture,
    view: View,
    /// Since the start of the script; `None` before it.
    at: Option<Duration>,
    /// For how long the link was cut.
    outage: Duration,
    board: HotBoard,
}

impl Stage {
    async fn play(&mut self, config: Config, simulator: Publisher, seed: u64) -> Result<Sent, DemoError> {
        self.until(SETUP_MAX, "our own clients do not connect", |stage| stage.ready == 3).await?;
        let mut gateway = self.start_gateway(config)?;
        let up = |stage: &Self| stage.picture.online && stage.picture.link == "up";
        tokio::select! {
            came = self.until(SETUP_MAX, "the gateway does not come up", up) => came?,
            ended = &mut gateway.ended => return Err(ended_early(ended)),
        }
        let (sent, seen) = watch::channel(Sent::default());
        let started = self.clock.uptime();
        let plant = tokio::spawn(run_plant(self.script, seed, simulator, self.clock.clone(), started, sent));
        let followed = tokio::select! {
            followed = self.follow(started, &seen) => followed,
            ended = &mut gateway.ended => Err(ended_early(ended)),
        };
        plant.abort();
        followed?;
        // It may have ended meanwhile, which is seen below.
        gateway.stop.send(()).ok();
        tokio::select! {
            hung = self.until(DRAIN_TOTAL + SETTLE_MAX, "the gateway does not stop", |_| false) => hung?,
            ended = &mut gateway.ended => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(DemoError::Service(error)),
                Err(_) => return Err(DemoError::Hung("the gateway panicked")),
            },
        }
        // What is missing after this is lost, and told as such.
        drop(self.until(SETTLE_MAX, "", Self::all_arrived).await);
        let sent = *seen.borrow();
        Ok(sent)
    }

    fn start_gateway(&self, config: Config) -> Result<Gateway, DemoError> {
        let (stop, stopped) = oneshot::channel();
        let (done, ended) = oneshot::channel();
        let dwell = self.script.length() / DWELLS;
        let options = Options {
            root: self.scratch.path().join(ROOT),
            stop: Some(stopped),
            pace: Pace {
                dwell,
                dwell_max: dwell * 2,
                forecast: dwell * 2,
                backoff_max: Duration::from_secs(1),
                report_every: Duration::from_secs(1),
            },
            metrics: Arc::clone(&self.metrics),
        };
        std::thread::Builder::new()
            .name("demo-gateway".to_owned())
            .spawn(move || {
                // The stage may have given up.
                drop(done.send(run(&config, options)));
            })
            .map_err(DemoError::Start)?;
        Ok(Gateway { stop, ended })
    }

    /// Follows the script to its end and then waits until everything has arrived.
    async fn follow(&mut self, started: Uptime, sent: &watch::Receiver<Sent>) -> Result<(), DemoError> {
        let mut before = Duration::ZERO;
        loop {
            let at = self.clock.uptime().since(started);
            let passage = self.script.passage(at);
            if passage != Passage::Open {
                self.outage += at.saturating_sub(before);
            }
            before = at;
            self.relay.set(passage);
            let worked = Duration::from_micros(self.metrics.get(Metric::InferBusy));
            self.board.follow(&self.scratch, at, worked)?;
            self.at = Some(at);
            self.show();
            let settled =
                self.all_received(*sent.borrow()) && self.all_arrived() && self.picture.backlog == 0;
            if at >= self.script.length() && (settled || at >= self.script.length() + SETTLE_MAX) {
                return Ok(());
            }
            self.hear_for(TURN).await?;
        }
    }

    /// Hears until something is so.
    async fn until(
        &mut self,
        longest: Duration,
        what: &'static str,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<(), DemoError> {
        let end = self.clock.uptime().after(longest);
        while !is_so(self) {
            if self.clock.uptime() >= end {
                return Err(DemoError::Hung(what));
            }
            self.show();
            self.hear_for(TURN).await?;
        }
        Ok(())
    }

    /// Whether the plant has ended and the gateway has taken every message.
    fn all_received(&self, sent: Sent) -> bool {
        sent.finished && Figures::read(&self.metrics).received >= sent.messages
    }

    fn all_arrived(&self) -> bool {
        self.picture.upstream.events.len() as u64 >= Figures::read(&self.metrics).durable
    }

    fn show(&mut self) {
        let figures = Figures::read(&self.metrics);
        self.view.show(&Frame { script: &self.script, at: self.at, picture: &self.picture, figures });
    }

    /// Takes notices for a while.
    async fn hear_for(&mut self, time: Duration) -> Result<(), DemoError> {
        let wake = tokio::time::sleep(time);
        tokio::pin!(wake);
        loop {
            tokio::select! {
                () = wake.as_mut() => return Ok(()),
                notice = self.notices.recv() => match notice {
                    Some(notice) => self.hear(notice)?,
                    None => return Err(DemoError::Hung("our own clients have ended")),
                },
            }
        }
    }

    fn hear(&mut self, notice: Notice) -> Result<(), DemoError> {
        match notice {
            Notice::Ready => self.ready += 1,
            Notice::Message(Ear::Upstream, message) => self.picture.upstream.take(message.payload()),
            Notice::Message(Ear::Plant | Ear::Simulator, message) => {
                self.picture.hear_plant(message.topic(), message.payload());
            }
            Notice::Ended(ear, reason) => return Err(DemoError::Lost { broker: ear.broker(), reason }),
        }
        Ok(())
    }
}

fn ended_early(ended: Result<Result<(), RunError>, oneshot::error::RecvError>) -> DemoError {
    match ended {
        // It drains and ends on SIGINT and SIGTERM, as the service does.
        Ok(Ok(())) => DemoError::Interrupted,
        Ok(Err(error)) => DemoError::Service(error),
        Err(_) => DemoError::Hung("the gateway panicked"),
    }
}
