//! Plays recordings to a broker.
//!
//! # Invariants
//! A row of QoS 1 is kept until the broker has answered it, and sent again on the next connection: nothing is lost
//! between the file and the broker. No more rows are kept than may be under way.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::{Clock, SystemClock, Uptime};
use crate::forward::Backoff;
use crate::io::mqtt::{Arrival, Delivery, Endpoint, Fault, MqttError, Qos, Token, Unsent};
use crate::io::recording::{RecordingError, RecordingFormat};
use crate::runtime::commands::client::Client;
use crate::runtime::commands::playlist::{Next, Playlist, Speed};
use crate::runtime::commands::signals::Signals;

/// How often the watcher is told: faster than an eye sees.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How long to wait where the client library has no room for more QoS 0 rows, for which no answer comes.
const ROOM_EVERY: Duration = Duration::from_millis(1);

/// How long answers are waited for after a signal.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// How long the good-bye may take; what is written before it may be a full socket.
const GOODBYE_MAX: Duration = Duration::from_secs(10);

/// Intervals between attempts to reach a broker that was there: a restart takes a second.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What to play and where.
pub struct ReplayPlan {
    /// The broker.
    pub endpoint: Endpoint,
    /// Topic of every row.
    pub topic: String,
    /// Quality of service of every row.
    pub qos: Qos,
    /// Files in the order in which they are played.
    pub files: Vec<(PathBuf, RecordingFormat)>,
    /// How fast.
    pub speed: Speed,
    /// Begin again at the end.
    pub repeat: bool,
}

/// What has happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    /// Rows read, bad ones not counted.
    pub rows: u64,
    /// Rows that cannot be read, or are larger than the broker takes.
    pub bad_rows: u64,
    /// Rows without a time that is understood.
    pub untimed: u64,
    /// Rows handed to the connection, each counted once.
    pub sent: u64,
    /// Rows sent again after a connection was lost.
    pub resent: u64,
    /// Rows the broker has acknowledged.
    pub acknowledged: u64,
    /// Rows the broker has answered with a refusal.
    pub refused: u64,
    /// Connections after the first one.
    pub reconnects: u64,
    /// Time from the first welcome to now.
    pub elapsed: Duration,
    /// A signal ended it.
    pub interrupted: bool,
}

/// Is told how the replay goes.
pub trait ReplayWatcher {
    /// The state, several times a second; `fraction` of the files has been read, 0 to 1.
    fn progress(&mut self, fraction: f64, counts: &ReplayCounts);
    /// Something a person should know.
    fn note(&mut self, line: &str);
}

/// Why a replay could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Its executor or a signal handler could not be set up.
    #[error("start the replay")]
    Start(#[source] std::io::Error),
    /// The broker cannot be reached for the first time, or the endpoint is wrong.
    #[error(transparent)]
    Mqtt(#[from] MqttError),
    /// A file cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The topic cannot be published to.
    #[error("publish to {topic:?}: not a topic; it must not be empty nor hold + or #")]
    Topic {
        /// The topic.
        topic: String,
    },
}

/// Plays until the end of the files or a signal.
///
/// # Errors
/// Before the first row: a file that cannot be opened, a broker that cannot be reached. Later: a file that cannot be
/// read further. A broker that goes away later is waited for.
pub fn replay(plan: ReplayPlan, watcher: &mut dyn ReplayWatcher) -> Result<ReplayCounts, ReplayError> {
    let playlist = Playlist::new(plan.files, plan.speed, plan.repeat)?;
    let mut player = Player {
        topic: plan.topic,
        qos: plan.qos,
        playlist,
        watcher,
        clock: SystemClock::start(),
        counts: ReplayCounts::default(),
        started: None,
        told: None,
        next: None,
        ended: false,
        fault: None,
        kept: BTreeMap::new(),
        resend_from: 0,
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ReplayError::Start)?;
    runtime.block_on(player.run(&plan.endpoint))?;
    player.counts.elapsed = player.elapsed();
    match player.fault.take() {
        Some(fault) => Err(fault.into()),
        None => Ok(player.counts),
    }
}

struct Player<'a> {
    topic: String,
    qos: Qos,
    playlist: Playlist,
    watcher: &'a mut dyn ReplayWatcher,
    clock: SystemClock,
    counts: ReplayCounts,
    /// When the broker first welcomed us: the zero of every due time.
    started: Option<Uptime>,
    /// When the watcher was told last.
    told: Option<Uptime>,
    /// A row that is not due yet, or found no room.
    next: Option<(Bytes, Duration)>,
    /// No more rows are read.
    ended: bool,
    /// Why, if that is not the end of the files. Told when the broker has answered what it was sent before.
    fault: Option<RecordingError>,
    /// Rows without an answer, by their number.
    kept: BTreeMap<u64, Bytes>,
    /// Kept rows from this number on have not been sent on this connection.
    resend_from: u64,
}

/// Why sending stopped for now.
enum Pause {
    /// Until the next row is due.
    Due(Uptime),
    /// Until the broker answers.
    Answer,
    /// Until the client library has room.
    Room,
    /// Everything has been sent.
    End,
}

/// How a connection ended.
enum Ended {
    /// Nothing is left to do.
    Done,
    /// It broke.
    Broken(MqttError),
    /// A file or the topic is at fault.
    Failed(ReplayError),
}

impl Player<'_> {
    async fn run(&mut self, endpoint: &Endpoint) -> Result<(), ReplayError> {
        let mut signals = Signals::listen().map_err(ReplayError::Start)?;
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let ended = match Client::open(endpoint) {
                Ok(mut client) => self.play(&mut client, &mut signals, &mut backoff).await,
                Err(error) => Ended::Broken(error),
            };
            let error = match ended {
                Ended::Done => return Ok(()),
                Ended::Failed(error) => return Err(error),
                Ended::Broken(error) => error,
            };
            if self.started.is_none() || error.classify() == Fault::Config {
                return Err(error.into());
            }
            if self.counts.interrupted {
                return Ok(());
            }
            if backoff.failures() == 0 {
                self.watcher.note(&format!("{error}; trying again"));
            }
            let delay = backoff.fail(fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = signals.stop() => {
                    self.counts.interrupted = true;
                    return Ok(());
                }
            }
        }
    }

    /// Plays on one connection.
    async fn play(&mut self, client: &mut Client, signals: &mut Signals, backoff: &mut Backoff) -> Ended {
        let mut up = false;
        let mut stop_at = None;
        self.resend_from = self.kept.keys().next().copied().unwrap_or(self.resend_from);
        loop {
            let now = self.clock.uptime();
            let pause = match if up { self.send(client, now) } else { Ok(Pause::Answer) } {
                Ok(pause) => pause,
                Err(error) => return Ended::Failed(error),
            };
            if (matches!(pause, Pause::End) && self.kept.is_empty()) || stop_at.is_some_and(|at| now >= at) {
                self.goodbye(client).await;
                return Ended::Done;
            }
            self.tell(now);
            let wake = match pause {
                Pause::Due(at) => at.min(now.after(PROGRESS_EVERY)),
                Pause::Room => now.after(ROOM_EVERY),
                Pause::Answer | Pause::End => now.after(PROGRESS_EVERY),
            };
            tokio::select! {
                arrival = client.next() => {
                    let mut arrival = Some(arrival);
                    while let Some(happened) = arrival {
                        match happened {
                            Ok(Arrival::Connected(_)) => {
                                up = true;
                                self.connected(backoff);
                            }
                            Ok(Arrival::Closed) => return Ended::Done,
                            Ok(arrival) => self.answered(&arrival),
                            Err(error) => return Ended::Broken(error),
                        }
                        arrival = client.try_next();
                    }
                }
                () = signals.stop(), if stop_at.is_none() => {
                    // No more rows are read; what is under way is waited for.
                    self.counts.interrupted = true;
                    (self.ended, self.next) = (true, None);
                    stop_at = Some(self.clock.uptime().after(STOP_GRACE));
                }
                () = sleep_until(Instant::from_std(self.clock.instant(wake))) => {}
            }
        }
    }

    fn connected(&mut self, backoff: &mut Backoff) {
        if self.started.is_some() {
            self.counts.reconnects += 1;
            let rows = match self.qos {
                Qos::AtLeastOnce => format!("{} rows are sent again", self.kept.len()),
                Qos::AtMostOnce => "at QoS 0 rows may have been lost".to_owned(),
            };
            self.watcher.note(&format!("connected again; {rows}"));
        } else {
            self.started = Some(self.clock.uptime());
        }
        backoff.reset();
    }

    fn answered(&mut self, arrival: &Arrival) {
        match arrival {
            Arrival::Acked(Token(number)) => {
                if self.kept.remove(number).is_some() {
                    self.counts.acknowledged += 1;
                }
            }
            Arrival::Refused(Token(number), reason) => {
                if self.kept.remove(number).is_some() {
                    self.counts.refused += 1;
                    if self.counts.refused == 1 {
                        self.watcher
                            .note(&format!("the broker refuses rows: {reason}; check its ACL and quotas"));
                    }
                }
            }
            Arrival::Connected(_)
            | Arrival::Message(_)
            | Arrival::Subscribed { .. }
            | Arrival::Alive
            | Arrival::Closed => {}
        }
    }

    /// Sends what is due until something has to be waited for.
    fn send(&mut self, client: &Client, now: Uptime) -> Result<Pause, ReplayError> {
        while let Some((&number, row)) = self.kept.range(self.resend_from..).next() {
            match client.publisher.publish(
                &self.topic,
                row.clone(),
                Delivery::AtLeastOnce(Token(number)),
                false,
            ) {
                Ok(()) => {
                    self.counts.resent += 1;
                    self.resend_from = number + 1;
                }
                Err(Unsent::Full | Unsent::NotConnected) => return Ok(Pause::Answer),
                Err(unsent @ Unsent::TooLarge { .. }) => {
                    self.kept.remove(&number);
                    self.bad(&unsent.to_string());
                }
                Err(Unsent::Topic) => return Err(ReplayError::Topic { topic: self.topic.clone() }),
            }
        }
        loop {
            let Some((row, due)) = self.fetch() else { return Ok(Pause::End) };
            let due = self.started.unwrap_or(now).after(due);
            if due > now {
                self.next = Some((row, due.since(self.started.unwrap_or(now))));
                return Ok(Pause::Due(due));
            }
            let number = self.counts.sent;
            let delivery = match self.qos {
                Qos::AtMostOnce => Delivery::AtMostOnce,
                Qos::AtLeastOnce => Delivery::AtLeastOnce(Token(number)),
            };
            match client.publisher.publish(&self.topic, row.clone(), delivery, false) {
                Ok(()) => {
                    self.counts.sent += 1;
                    self.resend_from = number + 1;
                    if self.qos == Qos::AtLeastOnce {
                        self.kept.insert(number, row);
                    }
                }
                Err(Unsent::TooLarge { limit }) => {
                    self.bad(&format!(
                        "row {} is larger than the {limit} bytes the broker takes",
                        self.counts.rows
                    ));
                }
                Err(Unsent::Topic) => return Err(ReplayError::Topic { topic: self.topic.clone() }),
                Err(unsent @ (Unsent::Full | Unsent::NotConnected)) => {
                    self.next = Some((row, Duration::ZERO));
                    let room = unsent == Unsent::Full && self.qos == Qos::AtMostOnce;
                    return Ok(if room { Pause::Room } else { Pause::Answer });
                }
            }
        }
    }

    /// The row that was put back, or the next one of the files that can be read.
    fn fetch(&mut self) -> Option<(Bytes, Duration)> {
        if let Some(row) = self.next.take() {
            return Some(row);
        }
        while !self.ended {
            match self.playlist.next() {
                Ok(Next::Row { payload, due, timed }) => {
                    self.counts.rows += 1;
                    self.untimed(timed);
                    return Some((payload, due));
                }
                Ok(Next::Bad(error)) => {
                    let cause =
                        std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
                    self.bad(&format!("{error}{cause}"));
                }
                Ok(Next::End) => self.ended = true,
                Err(fault) => (self.ended, self.fault) = (true, Some(fault)),
            }
        }
        None
    }

    /// Counts a row without a time; the first one is told.
    fn untimed(&mut self, timed: bool) {
        self.counts.untimed += u64::from(!timed);
        if !timed && self.counts.untimed == 1 {
            let row = self.counts.rows;
            self.watcher.note(&format!(
                "row {row} has no time that is understood and follows the one before it at once; further ones are only counted"
            ));
        }
    }

    /// Counts a row that cannot be sent; the first one is told.
    fn bad(&mut self, why: &str) {
        self.counts.bad_rows += 1;
        if self.counts.bad_rows == 1 {
            self.watcher.note(&format!("left out: {why}; further ones are only counted"));
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |started| self.clock.uptime().since(started))
    }

    fn tell(&mut self, now: Uptime) {
        if self.told.is_none_or(|told| now.since(told) >= PROGRESS_EVERY) {
            self.told = Some(now);
            self.counts.elapsed = self.elapsed();
            self.watcher.progress(self.playlist.fraction(), &self.counts);
        }
    }

    /// Lets everything be written and ends the connection in order.
    async fn goodbye(&mut self, client: &mut Client) {
        let closed = async {
            let mut asked = false;
            loop {
                // Full: the rows before it are still being written.
                asked = asked || !matches!(client.publisher.disconnect(), Err(Unsent::Full));
                match timeout(ROOM_EVERY, client.next()).await {
                    Ok(Ok(Arrival::Closed)) => return true,
                    Ok(Err(_)) => return false,
                    Ok(Ok(_)) | Err(_) => {}
                }
            }
        };
        if !timeout(GOODBYE_MAX, closed).await.unwrap_or(false) && self.qos == Qos::AtMostOnce {
            self.watcher.note("the connection ended without a good-bye: the last rows may be lost");
        }
    }
}
