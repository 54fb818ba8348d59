//! A bad link in user space: a proxy in front of a broker that delays, narrows, stalls, swallows, cuts and splits.
//!
//! Everything it does follows from its script and the seed. It keeps time by tokio's clock, so that under a paused clock
//! ten minutes of silence cost nothing; and it notes what a test wants to know: bytes each way, attempts, endings.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Read from a socket at once: a tenth of a second at 64 kbit/s.
const PIECE_MAX: usize = 800;

/// Pieces on their way in one direction: what the modem's buffer holds. TCP waits when it is full.
const PIECES_MAX: usize = 64;

/// The link as it always is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// There and back, without queueing.
    pub(crate) round_trip: Duration,
    /// Bits per second each way; none: as fast as it goes.
    pub(crate) rate: Option<u32>,
    /// How writes are cut up.
    pub(crate) split: Split,
    /// Stalls: the link stands still for up to so long, again and again, with up to four times as long between.
    pub(crate) stall: Option<Duration>,
}

/// How the stream is cut into writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// As it came.
    Whole,
    /// Every byte by itself.
    Bytes,
    /// After the n-th byte of each direction of each connection, once.
    At(u64),
}

/// What befalls a connection, once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blow {
    /// RST to both after so many bytes have gone up on a connection.
    ResetUp(u64),
    /// The same after so many bytes have come down.
    ResetDown(u64),
    /// From so many bytes up on, this connection and those made within the time are accepted and swallowed.
    HalfOpen(u64, Duration),
}

/// What became of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Passage {
    pub(crate) opened: Instant,
    /// When the client gave it up, or it broke.
    pub(crate) closed: Option<Instant>,
    /// Since when its bytes have been swallowed.
    pub(crate) swallowed: Option<Instant>,
    /// Bytes taken from the client, also those that were swallowed.
    pub(crate) up: u64,
    /// Bytes given to the client.
    pub(crate) down: u64,
}

/// One end of a connection.
pub(crate) trait Side: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// It breaks when it is dropped: no good-bye, and what is under way is lost.
    fn reset(&self);
}

/// What lies before the proxy and behind it.
pub(crate) trait Ends: Send + Sync + 'static {
    type Side: Side;
    /// The next connection of a client; none when there will be no more.
    fn accept(&mut self) -> impl Future<Output = Option<Self::Side>> + Send;
    /// A connection to the broker.
    fn dial(&self) -> impl Future<Output = io::Result<Self::Side>> + Send;
}

/// A proxy. It ends when it is dropped.
pub(crate) struct ChaosProxy {
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    weather: Weather,
    state: Mutex<State>,
    /// Counts the breaks of all connections that are there.
    broken: watch::Sender<u32>,
}

struct State {
    random: fastrand::Rng,
    blows: Vec<Blow>,
    swallowing_until: Option<Instant>,
    passages: Vec<Passage>,
    /// The present stall.
    stalled_until: Instant,
    /// The next one.
    stall_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl ChaosProxy {
    /// Between these ends; the blows fall one after the other, each on the connection that earns it.
    pub(crate) fn start(ends: impl Ends, weather: Weather, blows: Vec<Blow>, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let stall_at = weather.stall.map(|stall| now + gap(stall, &mut random));
        let state = State {
            random,
            blows,
            swallowing_until: None,
            passages: Vec::new(),
            stalled_until: now,
            stall_at,
        };
        let shared = Arc::new(Shared { weather, state: Mutex::new(state), broken: watch::channel(0).0 });
        let accepting = tokio::spawn(accept(ends, Arc::clone(&shared)));
        Self { shared, accepting }
    }

    /// Every connection so far.
    pub(crate) fn passages(&self) -> Vec<Passage> {
        self.shared.state.lock().unwrap().passages.clone()
    }

    /// Breaks every connection there is, as when the broker dies.
    pub(crate) fn cut(&self) {
        self.shared.broken.send_modify(|count| *count += 1);
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(mut ends: impl Ends, shared: Arc<Shared>) {
    while let Some(mut near) = ends.accept().await {
        let (number, swallowed) = {
            let mut state = shared.state.lock().unwrap();
            let now = Instant::now();
            let swallowed = state.swallowing_until.filter(|until| now < *until).map(|_| now);
            let passage = Passage { opened: now, closed: None, swallowed, up: 0, down: 0 };
            state.passages.push(passage);
            (state.passages.len() - 1, swallowed)
        };
        match ends.dial().await {
            Ok(far) => drop(tokio::spawn(pass(near, far, Arc::clone(&shared), number))),
            // Accepted by something on the way that will never answer; else nobody is there.
            Err(_) if swallowed.is_some() => drop(tokio::spawn(async move {
                while near.read(&mut [0; PIECE_MAX]).await.is_ok_and(|read| read > 0) {}
            })),
            Err(_) => shared.close(number),
        }
    }
}

/// One connection, until either side or the link ends it.
async fn pass(mut near: impl Side, mut far: impl Side, shared: Arc<Shared>, number: usize) {
    let mut broken = shared.broken.subscribe();
    let struck = Notify::new();
    let is_broken = {
        let (near_read, near_write) = tokio::io::split(&mut near);
        let (far_read, far_write) = tokio::io::split(&mut far);
        let up = flow(near_read, far_write, &shared, (number, Way::Up), &struck);
        let down = flow(far_read, near_write, &shared, (number, Way::Down), &struck);
        let up = async {
            up.await;
            // The client has said good-bye: the broker still may answer.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = up => false,
            () = down => false,
            _ = broken.changed() => true,
            () = struck.notified() => true,
        }
    };
    if is_broken {
        // A link that breaks does not say good-bye: RST to both.
        near.reset();
        far.reset();
    }
    shared.close(number);
}

/// One direction: reads, delays by the link's rules, writes.
async fn flow(
    mut from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    shared: &Shared,
    on: (usize, Way),
    struck: &Notify,
) {
    let (sender, pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let (number, way) = on;
    let reader = async move {
        let mut free_at = Instant::now();
        let mut piece = vec![0; PIECE_MAX];
        loop {
            let count = from.read(&mut piece).await.unwrap_or(0);
            if count == 0 {
                if way == Way::Up {
                    shared.close(number);
                }
                return;
            }
            if !shared.passes(number, way, count) {
                continue;
            }
            free_at = free_at.max(Instant::now()) + shared.weather.airtime(count);
            let arrives = free_at + shared.weather.round_trip / 2;
            if sender.send((arrives, piece[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reader, write_pieces(to, pieces, shared, on, struck));
}

async fn write_pieces(
    mut to: impl AsyncWrite + Unpin,
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    shared: &Shared,
    (number, way): (usize, Way),
    struck: &Notify,
) {
    let mut passed = 0_u64;
    while let Some((arrives, bytes)) = pieces.recv().await {
        sleep_until(arrives).await;
        shared.stand_still().await;
        let until = shared.reset_within(way, passed, bytes.len());
        for part in split(shared.weather.split, passed, &bytes[..until.unwrap_or(bytes.len())]) {
            if way == Way::Down && shared.swallows(number) {
                break;
            }
            if to.write_all(part).await.is_err() {
                return;
            }
            if way == Way::Down {
                shared.came_down(number, part.len());
            }
            // So that the other side reads each part by itself.
            tokio::task::yield_now().await;
        }
        passed += bytes.len() as u64;
        if until.is_some() {
            struck.notify_one();
            return std::future::pending().await;
        }
    }
    drop(to.shutdown().await);
}

fn split(split: Split, passed: u64, bytes: &[u8]) -> Vec<&[u8]> {
    match split {
        Split::Whole => vec![bytes],
        Split::Bytes => bytes.chunks(1).collect(),
        Split::At(at) => match usize::try_from(at.saturating_sub(passed)) {
            Ok(cut) if cut > 0 && cut < bytes.len() => vec![&bytes[..cut], &bytes[cut..]],
            Ok(_) | Err(_) => vec![bytes],
        },
    }
}

impl Weather {
    /// How long the link is busy with so many bytes.
    fn airtime(&self, bytes: usize) -> Duration {
        let bits = bytes as u64 * 8;
        self.rate.map_or(Duration::ZERO, |rate| Duration::from_micros(bits * 1_000_000 / u64::from(rate)))
    }
}

/// Time until the next stall.
fn gap(stall: Duration, random: &mut fastrand::Rng) -> Duration {
    stall.mul_f64(1.0 + 3.0 * random.f64())
}

impl Shared {
    /// Counts what was read; whether it goes on or is swallowed.
    fn passes(&self, number: usize, way: Way, count: usize) -> bool {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        if way == Way::Up {
            state.passages[number].up += count as u64;
            if let Some(Blow::HalfOpen(at, lasts)) = state.blows.first().copied()
                && state.passages[number].up > at
            {
                state.blows.remove(0);
                state.swallowing_until = Some(now + lasts);
                for passage in state.passages.iter_mut().filter(|passage| passage.closed.is_none()) {
                    passage.swallowed.get_or_insert(now);
                }
            }
        }
        state.passages[number].swallowed.is_none()
    }

    /// How many bytes of a piece still arrive before a reset falls, if one does.
    fn reset_within(&self, way: Way, passed: u64, count: usize) -> Option<usize> {
        let mut state = self.state.lock().unwrap();
        let at = match state.blows.first() {
            Some(Blow::ResetUp(at)) if way == Way::Up => *at,
            Some(Blow::ResetDown(at)) if way == Way::Down => *at,
            Some(_) | None => return None,
        };
        let arrives = usize::try_from(at.saturating_sub(passed)).ok().filter(|arrives| *arrives < count)?;
        state.blows.remove(0);
        Some(arrives)
    }

    fn swallows(&self, number: usize) -> bool {
        self.state.lock().unwrap().passages[number].swallowed.is_some()
    }

    fn came_down(&self, number: usize, bytes: usize) {
        self.state.lock().unwrap().passages[number].down += bytes as u64;
    }

    /// Waits while the link stalls.
    async fn stand_still(&self) {
        loop {
            let until = {
                let mut state = self.state.lock().unwrap();
                let now = Instant::now();
                if let (Some(at), Some(stall)) = (state.stall_at, self.weather.stall)
                    && now >= at
                {
                    let lasts = stall.mul_f64(state.random.f64());
                    state.stalled_until = now + lasts;
                    let pause = gap(stall, &mut state.random);
                    state.stall_at = Some(now + lasts + pause);
                }
                if now >= state.stalled_until {
                    return;
                }
                state.stalled_until
            };
            sleep_until(until).await;
        }
    }

    fn close(&self, number: usize) {
        let mut state = self.state.lock().unwrap();
        state.passages[number].closed.get_or_insert_with(Instant::now);
    }
}
