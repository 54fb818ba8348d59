//! Takes messages from a broker and hands each to a consumer on a thread of its own.
//!
//! # Invariants
//! A message is acknowledged after the consumer has taken it, so one that was not comes again: to this client if it
//! keeps its session, to another one of its group if the subscription is shared.
//!
//! # Why
//! The consumer may wait, for a pipe that nobody reads. Meanwhile pings must go out and a signal must be heard.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::{Clock, SystemClock};
use crate::forward::Backoff;
use crate::io::mqtt::{Arrival, Endpoint, Fault, Inbound, MqttError, Publisher, Qos};
use crate::runtime::commands::client::Client;
use crate::runtime::commands::signals::Signals;
use crate::runtime::retry::best_effort;
use crate::runtime::threads::thread;

/// Messages with the consumer. More wait at the broker.
const CONSUMING_MAX: usize = 256;

/// How long the consumer may take to finish after a signal, and the good-bye after that.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Intervals between attempts to reach a broker that was there.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What to listen to.
pub struct SubscribePlan {
    /// The broker.
    pub endpoint: Endpoint,
    /// Topic filter, with `$share/group/` before it where the load is split.
    pub filter: String,
    /// Ends by itself after this time.
    pub within: Option<Duration>,
}

/// What the consumer says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumed {
    /// Taken; go on.
    Taken,
    /// Taken, and it was the last one that is wanted.
    Last,
    /// Not taken, or not all of it: it is not acknowledged, and no more is wanted.
    Enough,
}

/// What happened to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChange<'a> {
    /// The broker has granted the subscription.
    Subscribed,
    /// The connection is gone; another one is tried.
    Lost(&'a str),
    /// A packet over the limit was left behind with the session.
    Oversize(&'a str),
}

/// Why nothing more can be received.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// Its executor, thread or a signal handler could not be set up.
    #[error("start to subscribe")]
    Start(#[source] std::io::Error),
    /// The broker cannot be reached for the first time, or the endpoint is wrong.
    #[error(transparent)]
    Mqtt(#[from] MqttError),
    /// The filter is none.
    #[error("subscribe to {filter:?}: not a topic filter; + and # stand for whole levels, # only at the end")]
    Filter {
        /// The filter.
        filter: String,
    },
    /// The broker does not grant the subscription.
    #[error(
        "subscribe to {filter:?}: the broker refused: {reason}; check its ACL and that it allows such filters"
    )]
    Refused {
        /// The filter.
        filter: String,
        /// The broker's reason.
        reason: String,
    },
}

/// Hands the payload of each message to `consume` until it has enough, the time is over, or a signal comes.
///
/// # Errors
/// When the broker cannot be reached for the first time or does not grant the subscription. A broker that goes away
/// later is waited for.
pub fn subscribe(
    plan: SubscribePlan,
    consume: impl FnMut(&[u8]) -> Consumed + Send + 'static,
    on_change: &mut dyn FnMut(LinkChange<'_>),
) -> Result<(), SubscribeError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SubscribeError::Start)?;
    runtime.block_on(async {
        let (messages, received) = mpsc::channel(CONSUMING_MAX);
        let (outcomes, consumed) = mpsc::channel(CONSUMING_MAX);
        // Not waited for at the end: it may hang in a pipe that nobody reads.
        let _ended =
            thread("tg-consume", feed(received, outcomes, consume)).map_err(SubscribeError::Start)?;
        let clock = SystemClock::start();
        let end = plan.within.map(|within| from_now(&clock, within));
        let SubscribePlan { endpoint, filter, within: _ } = plan;
        let signals = Signals::listen().map_err(SubscribeError::Start)?;
        let mut listener = Listener {
            endpoint,
            filter,
            clock,
            end,
            signals,
            messages,
            consumed,
            consuming: 0,
            stopping: false,
        };
        listener.run(on_change).await
    })
}

/// The consumer's thread.
async fn feed(
    mut received: mpsc::Receiver<Inbound>,
    outcomes: mpsc::Sender<(Inbound, Consumed)>,
    mut consume: impl FnMut(&[u8]) -> Consumed,
) {
    while let Some(message) = received.recv().await {
        let consumed = consume(message.payload());
        if outcomes.send((message, consumed)).await.is_err() || consumed != Consumed::Taken {
            return;
        }
    }
}

struct Listener {
    endpoint: Endpoint,
    filter: String,
    clock: SystemClock,
    end: Option<Instant>,
    signals: Signals,
    messages: mpsc::Sender<Inbound>,
    consumed: mpsc::Receiver<(Inbound, Consumed)>,
    /// Messages handed over and not yet heard of.
    consuming: usize,
    stopping: bool,
}

/// How a connection ended.
enum Ended {
    Done,
    Broken(MqttError),
    Failed(SubscribeError),
}

impl Listener {
    async fn run(&mut self, on_change: &mut dyn FnMut(LinkChange<'_>)) -> Result<(), SubscribeError> {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let clean = self.endpoint.clean_start;
        let mut reached = false;
        loop {
            let ended = match Client::open(&self.endpoint) {
                Ok(mut client) => self.listen(&mut client, &mut reached, &mut backoff, on_change).await,
                Err(error) => Ended::Broken(error),
            };
            let error = match ended {
                Ended::Done => return Ok(()),
                Ended::Failed(error) => return Err(error),
                Ended::Broken(error) => error,
            };
            if !reached || error.classify() == Fault::Config {
                return Err(error.into());
            }
            // It would come again with every connection of this session: leave the session behind.
            let oversize = error.classify() == Fault::Oversize;
            self.endpoint.clean_start = clean || oversize;
            if oversize {
                on_change(LinkChange::Oversize(&error.to_string()));
            } else if backoff.failures() == 0 {
                on_change(LinkChange::Lost(&error.to_string()));
            }
            if self.stopping || self.pause(backoff.fail(fastrand::f64())).await {
                return Ok(());
            }
        }
    }

    /// Waits before the next attempt; true if it is time to stop.
    async fn pause(&mut self, delay: Duration) -> bool {
        let until = from_now(&self.clock, delay);
        loop {
            tokio::select! {
                () = sleep_until(until) => return false,
                () = self.signals.stop() => return true,
                () = over(self.end) => return true,
                // Its connection is gone: nothing to acknowledge.
                Some((_, consumed)) = self.consumed.recv(), if self.consuming > 0 => {
                    self.consuming -= 1;
                    if consumed != Consumed::Taken {
                        return true;
                    }
                }
            }
        }
    }

    async fn listen(
        &mut self,
        client: &mut Client,
        reached: &mut bool,
        backoff: &mut Backoff,
        on_change: &mut dyn FnMut(LinkChange<'_>),
    ) -> Ended {
        let mut stop_at = None;
        loop {
            tokio::select! {
                arrival = client.next(), if self.consuming < CONSUMING_MAX => match arrival {
                    Ok(Arrival::Connected(_)) => {
                        backoff.reset();
                        if client.publisher.subscribe(&self.filter, Qos::AtLeastOnce).is_err() {
                            return Ended::Failed(SubscribeError::Filter { filter: self.filter.clone() });
                        }
                    }
                    Ok(Arrival::Subscribed { filter, refused: Some(reason) }) => {
                        return Ended::Failed(SubscribeError::Refused { filter, reason });
                    }
                    Ok(Arrival::Subscribed { refused: None, .. }) => {
                        *reached = true;
                        on_change(LinkChange::Subscribed);
                    }
                    Ok(Arrival::Message(message)) => {
                        if !self.stopping {
                            // There is room: as many fit as may be with the consumer.
                            if self.messages.send(message).await.is_err() {
                                return self.goodbye(client).await;
                            }
                            self.consuming += 1;
                        }
                    }
                    Ok(Arrival::Closed) => return Ended::Done,
                    Ok(Arrival::Acked(_) | Arrival::Refused(..) | Arrival::Alive) => {}
                    Err(error) => return Ended::Broken(error),
                },
                Some((message, consumed)) = self.consumed.recv(), if self.consuming > 0 => {
                    self.consuming -= 1;
                    if consumed != Consumed::Enough {
                        acknowledge(&client.publisher, &message);
                    }
                    if consumed != Consumed::Taken || self.stopping && self.consuming == 0 {
                        return self.goodbye(client).await;
                    }
                }
                () = self.signals.stop(), if !self.stopping => self.stopping = true,
                () = over(self.end), if !self.stopping => self.stopping = true,
                () = over(stop_at), if stop_at.is_some() => return self.goodbye(client).await,
            }
            if self.stopping && stop_at.is_none() {
                if self.consuming == 0 {
                    return self.goodbye(client).await;
                }
                stop_at = Some(from_now(&self.clock, STOP_GRACE));
            }
        }
    }

    /// Ends the connection in order, so that the acknowledgements before it are written.
    async fn goodbye(&mut self, client: &mut Client) -> Ended {
        if client.publisher.disconnect().is_ok() {
            let closed = async { while !matches!(client.next().await, Ok(Arrival::Closed) | Err(_)) {} };
            best_effort(timeout(STOP_GRACE, closed).await);
        }
        Ended::Done
    }
}

/// A message that cannot be acknowledged comes again, and its consumer removes duplicates by event id.
fn acknowledge(publisher: &Publisher, message: &Inbound) {
    best_effort(publisher.ack(message));
}

fn from_now(clock: &SystemClock, time: Duration) -> Instant {
    Instant::from_std(clock.instant(clock.uptime().after(time)))
}

/// Waits for a point in time, for ever if there is none.
async fn over(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
