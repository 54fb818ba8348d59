//! A gateway's session, a socket that counts every byte, a broker far away, and what happens to them in a month.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use tidegate::clock::{ClockQuality, Uptime, UtcTime};
use tidegate::forward::{
    Fetch, ForwardConfig, LaneStart, LinkState, Loss, Moment, Session, Settled, Token, Withheld,
};
use tidegate::units::Ratio;

/// 2026-11-20T00:00:00Z, microseconds.
const START: i64 = 1_795_132_800_000_000;
const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;

/// Bytes of a TLS record around its content, of an acknowledgement, of a ping.
const RECORD: u64 = 22;
const PUBACK: u64 = 4;
const PING: u64 = 2;

/// Ways in which the harness is wrong, to see that the tests notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    NoteForgotten,
    ReceivedUncounted,
    HandshakeUncounted,
    LocalTime,
    NoShare,
    PoisonKept,
}

/// What the wall clock does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wall {
    Right,
    /// In 1970 until so many seconds after the beginning.
    Unset {
        until: u64,
    },
    /// Off by so many seconds from a second on.
    Jump {
        at: u64,
        by: i64,
    },
    /// To and fro by minutes, every second.
    Steps,
    /// A day further each second.
    Days,
    Frozen,
}

/// What a run is made of.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) config: ForwardConfig,
    pub(crate) days: u64,
    pub(crate) outages: u64,
    pub(crate) restarts: u64,
    pub(crate) cuts: u64,
    pub(crate) restart_every: Option<Duration>,
    pub(crate) restarts_max: u64,
    pub(crate) backlog: u64,
    pub(crate) append_every: Duration,
    /// Records appended at once.
    pub(crate) clump: u64,
    /// Alarms come as often as anything else.
    pub(crate) flood: bool,
    pub(crate) trip: Duration,
    pub(crate) bits_per_second: u64,
    pub(crate) poison: Option<u64>,
    pub(crate) wall: Wall,
    pub(crate) bug: Bug,
}

impl Plan {
    /// A link of 64 kbit/s and 1.2 s without faults; a record every five seconds, more than the day allows.
    pub(crate) fn quiet(config: ForwardConfig) -> Self {
        Self {
            config,
            days: 1,
            outages: 0,
            restarts: 0,
            cuts: 0,
            restart_every: None,
            restarts_max: 0,
            backlog: 2_000,
            append_every: Duration::from_secs(1),
            clump: 1,
            flood: false,
            trip: Duration::from_millis(1_200),
            bits_per_second: 64_000,
            poison: None,
            wall: Wall::Right,
            bug: Bug::None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Append {
        lane: usize,
    },
    /// A step of the handshake; the last one is the welcome.
    Handshake {
        connection: u64,
        step: u64,
    },
    NoAnswer {
        connection: u64,
    },
    Arrive {
        connection: u64,
        token: u64,
    },
    Ack {
        connection: u64,
        token: u64,
    },
    Ping {
        connection: u64,
    },
    Pong {
        connection: u64,
    },
    Written {
        boot: u64,
    },
    Outage {
        silent: bool,
        lasts: u64,
    },
    OutageOver,
    Restart {
        off: u64,
    },
    Boot,
    Poll,
}

struct Batch {
    lane: usize,
    first: u64,
    last: u64,
    live: bool,
    alone: bool,
}

#[derive(Default)]
struct LaneState {
    durable: u64,
    start: LaneStart,
    saved: LaneStart,
    appended_at: BTreeMap<u64, u64>,
    taken: BTreeSet<u64>,
}

pub(crate) struct World {
    plan: Plan,
    random: fastrand::Rng,
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    count: u64,
    now: u64,
    end: u64,
    booted: u64,
    session: Option<Session>,
    note: Vec<u8>,
    writing: Option<Vec<u8>>,
    lanes: [LaneState; 3],
    /// The present connection: whether it is up, carries anything, its bytes, when it was last written to.
    connection: Option<u64>,
    dead: bool,
    carried: (u64, u64),
    hidden: (u64, u64),
    written_at: u64,
    free: u64,
    batches: BTreeMap<u64, Batch>,
    out: u64,
    /// Time with a link, for the patience of alarms.
    linked: u64,
    days: BTreeMap<i64, u64>,
    hours: BTreeMap<u64, u64>,
    seen: BTreeMap<(usize, bool), u64>,
    alarm_waits: BTreeMap<u64, u64>,
    pub(crate) boots: u64,
    pub(crate) connections: u64,
    pub(crate) notes: u64,
    pub(crate) turns: u64,
    pub(crate) bytes: u64,
    pub(crate) twice: u64,
    pub(crate) alarms: u64,
    pub(crate) alarms_in_time: u64,
    pub(crate) deaths: u64,
    pub(crate) poison_tries: u64,
    pub(crate) aside: u64,
    pub(crate) backlog_done: Option<Duration>,
    /// Batches that overtook older ones of their zone: those are held back that may be poison.
    pub(crate) overtaken: u64,
    pub(crate) live_batches: u64,
    pub(crate) backlog_batches: u64,
    pub(crate) live_waited: Duration,
}

impl World {
    pub(crate) fn new(seed: u64, mut plan: Plan) -> Self {
        if matches!(plan.bug, Bug::NoShare | Bug::HandshakeUncounted) {
            plan.config.alarm_reserve = Ratio::of(0, 1);
        }
        let mut world = Self {
            random: fastrand::Rng::with_seed(seed),
            heap: BinaryHeap::new(),
            count: 0,
            now: 0,
            end: plan.days * DAY,
            booted: 0,
            session: None,
            note: Vec::new(),
            writing: None,
            lanes: Default::default(),
            connection: None,
            dead: false,
            carried: (0, 0),
            hidden: (0, 0),
            written_at: 0,
            free: 0,
            batches: BTreeMap::new(),
            out: 0,
            linked: 0,
            days: BTreeMap::new(),
            hours: BTreeMap::new(),
            seen: BTreeMap::new(),
            alarm_waits: BTreeMap::new(),
            boots: 0,
            connections: 0,
            notes: 0,
            turns: 0,
            bytes: 0,
            twice: 0,
            alarms: 0,
            alarms_in_time: 0,
            deaths: 0,
            poison_tries: 0,
            aside: 0,
            backlog_done: None,
            overtaken: 0,
            live_batches: 0,
            backlog_batches: 0,
            live_waited: Duration::ZERO,
            plan,
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        self.lanes[1].durable = self.plan.backlog;
        self.lanes[2].durable = self.plan.backlog / 4;
        self.at(0, Event::Boot);
        self.at(SECOND, Event::Append { lane: 1 });
        self.at(SECOND, Event::Append { lane: 2 });
        self.at(SECOND, Event::Append { lane: 0 });
        for _ in 0..self.plan.outages {
            // Six hours at most; half of them without a word.
            let (silent, lasts) = (self.random.bool(), self.random.u64(5 * SECOND..6 * 3_600 * SECOND));
            let at = self.random.u64(0..self.end);
            self.at(at, Event::Outage { silent, lasts });
        }
        for _ in 0..self.plan.restarts {
            let at = self.random.u64(0..self.end);
            self.at(at, Event::Restart { off: SECOND });
        }
        for _ in 0..self.plan.cuts {
            let (at, off) = (self.random.u64(0..self.end), self.random.u64(10 * SECOND..3_600 * SECOND));
            self.at(at, Event::Restart { off });
        }
        if let Some(every) = self.plan.restart_every {
            for number in 1..=self.plan.restarts_max {
                let at = number * u64::try_from(every.as_nanos()).unwrap();
                self.at(at, Event::Restart { off: SECOND / 10 });
            }
        }
    }

    pub(crate) fn run(&mut self) {
        while let Some((at, event)) = self.next() {
            if at > self.end {
                break;
            }
            if self.out == 0 {
                self.linked += at - self.now;
            }
            self.now = at;
            self.turns += 1;
            self.happen(event);
            self.pump();
            self.check_backlog();
        }
    }

    /// What happens next, or the session wants to look.
    fn next(&mut self) -> Option<(u64, Event)> {
        let poll = self.session.as_ref().and_then(Session::poll_timeout);
        let poll = poll.map(|at| (self.booted + at.0).max(self.now + 1));
        let next = self.heap.peek().map(|Reverse((at, ..))| *at);
        if let Some(poll) = poll.filter(|poll| next.is_none_or(|next| *poll < next)) {
            return Some((poll, Event::Poll));
        }
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }

    fn at(&mut self, at: u64, event: Event) {
        self.count += 1;
        self.heap.push(Reverse((at, self.count, event)));
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + u64::try_from(delay.as_nanos()).unwrap(), event);
    }

    fn moment(&self) -> Moment {
        let true_micros = START + i64::try_from(self.now / 1_000).unwrap();
        let seconds = i64::try_from(self.now / SECOND).unwrap();
        let local = if self.plan.bug == Bug::LocalTime { 2 * 3_600_000_000 } else { 0 };
        let (micros, quality) = match self.plan.wall {
            Wall::Right => (true_micros + local, ClockQuality::Synced),
            Wall::Unset { until } if self.now / SECOND < until => {
                (i64::try_from((self.now - self.booted) / 1_000).unwrap(), ClockQuality::Unset)
            }
            Wall::Jump { at, by } if self.now / SECOND >= at => {
                (true_micros + by * 1_000_000, ClockQuality::Unknown)
            }
            Wall::Unset { .. } | Wall::Jump { .. } => (true_micros, ClockQuality::Unknown),
            Wall::Steps => (true_micros + (seconds * 7_919 % 240 - 120) * 60_000_000, ClockQuality::Unknown),
            Wall::Days => (true_micros + seconds * 86_400_000_000, ClockQuality::Unknown),
            Wall::Frozen => (START, ClockQuality::Unknown),
        };
        Moment { up: Uptime(self.now - self.booted), utc: UtcTime { micros, quality } }
    }

    /// Bytes on the socket: counted for the true day, and for the session unless a bug hides them.
    fn carry(&mut self, sent: u64, received: u64) {
        self.carried.0 += sent;
        self.carried.1 += received;
        if self.plan.bug == Bug::ReceivedUncounted {
            self.hidden.1 += received;
        }
        let day = i64::try_from(self.now / DAY).unwrap();
        *self.days.entry(day).or_default() += sent + received;
        *self.hours.entry(self.now / (3_600 * SECOND)).or_default() += sent + received;
        self.bytes += sent + received;
        if sent > 0 {
            self.written_at = self.now;
        }
    }

    fn wrapped(&self, bytes: u64) -> u64 {
        if self.plan.config.tls { bytes + (bytes / (16 << 10) + 1) * RECORD } else { bytes }
    }

    fn tell_traffic(&mut self) {
        let now = self.moment();
        let (sent, received) = (self.carried.0 - self.hidden.0, self.carried.1 - self.hidden.1);
        if let Some(session) = &mut self.session
            && self.connection.is_some()
        {
            session.traffic(sent, received, now);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Append { lane } => self.append(lane),
            Event::Handshake { connection, step } if self.connection == Some(connection) => {
                self.handshake(connection, step);
            }
            Event::NoAnswer { connection } if self.connection == Some(connection) => {
                self.lose(Loss::Unreachable);
            }
            Event::Arrive { connection, token } if self.connection == Some(connection) && !self.dead => {
                self.arrive(connection, token);
            }
            Event::Ack { connection, token } if self.connection == Some(connection) && !self.dead => {
                let bytes = self.wrapped(PUBACK);
                self.carry(0, bytes);
                self.tell_traffic();
                let now = self.moment();
                let settled = self.session.as_mut().and_then(|session| session.acked(Token(token), now));
                self.settle(settled);
            }
            Event::Ping { connection } if self.connection == Some(connection) => {
                let keep_alive = u64::try_from(self.plan.config.keep_alive.as_nanos()).unwrap();
                if self.now - self.written_at >= keep_alive {
                    let bytes = self.wrapped(PING);
                    self.carry(bytes, 0);
                    if !self.dead {
                        self.after(self.plan.trip, Event::Pong { connection });
                    }
                }
                self.at(self.written_at + keep_alive, Event::Ping { connection });
            }
            Event::Pong { connection } if self.connection == Some(connection) && !self.dead => {
                let bytes = self.wrapped(PING);
                self.carry(0, bytes);
            }
            Event::Written { boot } if boot == self.boots => {
                if let Some(note) = self.writing.take() {
                    self.note = note;
                    self.notes += 1;
                    if let Some(session) = &mut self.session {
                        session.noted(true);
                    }
                }
            }
            Event::Outage { silent, lasts } => {
                self.out += 1;
                self.at(self.now + lasts, Event::OutageOver);
                self.dead = true;
                if !silent && self.connection.is_some() {
                    self.lose(Loss::Closed);
                }
            }
            Event::OutageOver => self.out -= 1,
            Event::Restart { off } if self.session.is_some() => self.stop(off),
            Event::Boot if self.session.is_none() => self.boot(),
            Event::Handshake { .. }
            | Event::NoAnswer { .. }
            | Event::Arrive { .. }
            | Event::Ack { .. }
            | Event::Ping { .. }
            | Event::Pong { .. }
            | Event::Written { .. }
            | Event::Restart { .. }
            | Event::Boot
            | Event::Poll => {}
        }
    }

    fn append(&mut self, lane: usize) {
        let mut every = self.plan.append_every;
        let rare = lane == 0 && !self.plan.flood;
        if rare {
            // A few alarms a day.
            every = Duration::from_secs(self.random.u64(600..14_400));
            self.alarms += u64::from(self.now + 8 * 3_600 * SECOND < self.end);
        }
        let state = &mut self.lanes[lane];
        for _ in 0..if rare { 1 } else { self.plan.clump } {
            state.durable += 1;
            state.appended_at.insert(state.durable, self.now);
        }
        if rare && self.now + 8 * 3_600 * SECOND < self.end {
            self.alarm_waits.insert(state.durable, self.linked);
        }
        self.after(every, Event::Append { lane });
    }

    fn handshake(&mut self, connection: u64, step: u64) {
        const STEPS: u64 = 4;
        if self.dead {
            return;
        }
        let (sent, received) = if self.plan.config.tls {
            (self.random.u64(150..700), self.random.u64(200..1_300))
        } else {
            (40, 4)
        };
        self.carry(sent, received);
        if step < STEPS {
            self.after(self.plan.trip, Event::Handshake { connection, step: step + 1 });
            return;
        }
        if self.plan.bug == Bug::HandshakeUncounted {
            self.hidden = self.carried;
        }
        self.tell_traffic();
        let now = self.moment();
        self.free = self.now;
        let Some(session) = &mut self.session else { return };
        session.connected(now, None, None);
        let word = session.extra(60, now);
        self.after(self.plan.config.keep_alive, Event::Ping { connection });
        if let Some(Token(token)) = word {
            self.write(60, token);
        }
    }

    /// A packet goes out; it arrives when the link has carried it.
    fn write(&mut self, packet: u64, token: u64) {
        let bytes = self.wrapped(packet);
        self.carry(bytes, 0);
        self.free = self.free.max(self.now) + bytes * 8 * SECOND / self.plan.bits_per_second;
        let arrives = self.free + u64::try_from(self.plan.trip.as_nanos()).unwrap() / 2;
        if let Some(connection) = self.connection {
            self.at(arrives, Event::Arrive { connection, token });
        }
    }

    fn arrive(&mut self, connection: u64, token: u64) {
        if let Some(batch) = self.batches.get(&token) {
            let (first, last, lane) = (batch.first, batch.last, batch.lane);
            let poisoned =
                self.plan.poison.is_some_and(|poison| lane == 1 && (first..=last).contains(&poison));
            if poisoned {
                self.deaths += 1;
                self.poison_tries += u64::from(batch.alone && first == last);
                self.lose(Loss::Closed);
                return;
            }
            let live = batch.live;
            let before = self.seen.insert((lane, live), first).unwrap_or(0);
            self.overtaken += u64::from(before > first);
            let state = &mut self.lanes[lane];
            for seq in first..=last {
                let appended = state.appended_at.remove(&seq);
                if live && let Some(at) = appended {
                    self.live_waited = self.live_waited.max(Duration::from_nanos(self.now - at));
                }
                self.twice += u64::from(!state.taken.insert(seq));
                if lane == 0
                    && let Some(since) = self.alarm_waits.remove(&seq)
                {
                    self.alarms_in_time += u64::from(self.linked - since <= 3_600 * SECOND);
                }
            }
        }
        self.after(self.plan.trip / 2, Event::Ack { connection, token });
    }

    fn settle(&mut self, settled: Option<Settled>) {
        match settled {
            None => return,
            Some(Settled::Advance { lane, upto }) => {
                let lane = &mut self.lanes[usize::from(lane)].start;
                lane.acked = upto;
                lane.done.retain(|(_, last)| *last > upto);
            }
            Some(Settled::Stretch { lane, from, upto }) => {
                let done = &mut self.lanes[usize::from(lane)].start.done;
                done.push((from, upto));
                done.sort_unstable();
                done.dedup_by(|next, before| {
                    let joins = next.0 <= before.1 + 1;
                    if joins {
                        before.1 = before.1.max(next.1);
                    }
                    joins
                });
            }
        }
        // The cursors are written now and then.
        if self.random.u8(..20) == 0 {
            self.save();
        }
    }

    fn save(&mut self) {
        for lane in &mut self.lanes {
            lane.saved = lane.start.clone();
            // Of more than eight ranges the smallest are forgotten.
            lane.saved.done.sort_unstable_by_key(|(first, last)| Reverse(last - first));
            lane.saved.done.truncate(8);
        }
    }

    fn lose(&mut self, loss: Loss) {
        self.tell_traffic();
        self.connection = None;
        self.seen.clear();
        let (now, random) = (self.moment(), self.random.f64());
        if let Some(session) = &mut self.session {
            session.disconnected(now, random, loss);
        }
    }

    fn stop(&mut self, off: u64) {
        self.session = None;
        self.connection = None;
        self.seen.clear();
        if let Some(note) = self.writing.take()
            && self.random.bool()
        {
            self.note = note;
        }
        if off > 2 * SECOND {
            for lane in &mut self.lanes {
                lane.start = lane.saved.clone();
            }
        } else {
            self.save();
        }
        self.at(self.now + off, Event::Boot);
    }

    fn boot(&mut self) {
        self.boots += 1;
        self.booted = self.now;
        let starts = [0, 1, 2].map(|lane| self.lanes[lane].start.clone());
        let note = if self.plan.bug == Bug::NoteForgotten { &[][..] } else { &self.note };
        let (now, random) = (self.moment(), self.random.f64());
        self.session = Some(Session::new(self.plan.config.clone(), &starts, note, now, random));
    }

    fn connect(&mut self) {
        self.connections += 1;
        self.connection = Some(self.connections);
        let connection = self.connections;
        self.carried = (0, 0);
        self.hidden = (0, 0);
        self.batches.clear();
        self.dead = self.out > 0;
        if self.dead {
            // Now and then the handshake begins and nobody ends it.
            if self.random.bool() && self.plan.config.tls {
                self.carry(517, 0);
            }
            self.after(Duration::from_secs(90), Event::NoAnswer { connection });
        } else {
            self.after(self.plan.trip, Event::Handshake { connection, step: 1 });
        }
    }

    /// What the shell does after anything has happened.
    fn pump(&mut self) {
        self.tell_traffic();
        for turn in 0.. {
            assert!(turn < 10, "the shell spins at {:?}", Duration::from_nanos(self.now));
            let now = self.moment();
            let Some(session) = &mut self.session else { return };
            for (lane, state) in (0..).zip(&self.lanes) {
                session.durable(lane, state.durable);
            }
            if session.due(now) {
                session.connecting(now);
                self.connect();
            }
            self.send_all();
            self.put_aside();
            let Some(session) = &mut self.session else { return };
            let close = session.close(now);
            if let Some(loss) = close {
                self.lose(loss);
            }
            let Some(session) = &mut self.session else { return };
            if let Some(note) = session.note() {
                self.writing = Some(note);
                let takes = Duration::from_millis(self.random.u64(1..50));
                self.after(takes, Event::Written { boot: self.boots });
            }
            if close.is_none() {
                break;
            }
        }
    }

    fn send_all(&mut self) {
        for turn in 0.. {
            assert!(turn < 10_000, "the session spins at {:?}", Duration::from_nanos(self.now));
            let now = self.moment();
            let Some(fetch) = self.session.as_mut().and_then(|session| session.next(now)) else { return };
            self.send(&fetch, now);
        }
    }

    fn send(&mut self, fetch: &Fetch, now: Moment) {
        let records =
            u64::from(fetch.records_max).min(fetch.bytes_max / 120 + 1).min(fetch.upto - fetch.from + 1);
        let last = fetch.from + records - 1;
        // Some records are larger than others.
        let packet = 60 + (fetch.from..=last).map(|seq| 20 + seq * 7 % 13).sum::<u64>();
        let Some(session) = &mut self.session else { return };
        let count = u32::try_from(records).unwrap();
        match session.send(fetch, last, count, packet, now) {
            Ok(Token(token)) => {
                let lane = usize::from(fetch.lane);
                let alone = session.in_flight() == 1;
                self.live_batches += u64::from(fetch.live);
                self.backlog_batches += u64::from(!fetch.live);
                self.batches.insert(token, Batch { lane, first: fetch.from, last, live: fetch.live, alone });
                self.write(packet, token);
            }
            Err(Withheld::Daily | Withheld::TooLarge | Withheld::Stale) => {}
            Err(Withheld::Undeliverable) => panic!("nothing is too large here"),
        }
    }

    fn put_aside(&mut self) {
        if self.plan.bug == Bug::PoisonKept {
            return;
        }
        while let Some((lane, seq)) = self.session.as_ref().and_then(Session::culprit) {
            assert_eq!(
                (usize::from(lane), Some(seq)),
                (1, self.plan.poison),
                "an innocent record is set aside"
            );
            self.aside += 1;
            let settled = self.session.as_mut().and_then(|session| session.set_aside(lane, seq));
            self.settle(settled);
        }
    }

    fn check_backlog(&mut self) {
        if self.backlog_done.is_none() && self.lanes[1].start.acked >= self.plan.backlog {
            self.backlog_done = Some(Duration::from_nanos(self.now));
        }
    }

    /// Everything that was durable a while ago has arrived, but what was set aside.
    pub(crate) fn complete(&self) {
        let status = self.session.as_ref().map(Session::status);
        assert!(matches!(status.map(|status| status.state), Some(LinkState::Up { .. })));
        for (index, lane) in self.lanes.iter().enumerate() {
            let poison = self.plan.poison.filter(|_| index == 1);
            let upto = lane.durable.saturating_sub(10);
            let missing = (1..=upto).find(|seq| !lane.taken.contains(seq) && poison != Some(*seq));
            assert_eq!(missing, None, "lane {index}");
        }
    }

    pub(crate) fn dearest_day(&self) -> (i64, u64) {
        self.days.iter().max_by_key(|(_, bytes)| **bytes).map(|(day, bytes)| (*day, *bytes)).unwrap()
    }

    /// Bytes of the days.
    pub(crate) fn full_days(&self) -> Vec<u64> {
        self.days.values().copied().collect()
    }

    /// Most bytes in 24 hours on end.
    pub(crate) fn dearest_span(&self) -> u64 {
        let span = |from: &u64| self.hours.range(from..&(from + 24)).map(|(_, bytes)| bytes).sum();
        self.hours.keys().map(span).max().unwrap_or(0)
    }

    pub(crate) fn restarted(&self) -> u64 {
        self.boots - 1
    }

    pub(crate) fn delivered_by_lane(&self) -> [usize; 3] {
        [0, 1, 2].map(|lane| self.lanes[lane].taken.len())
    }

    pub(crate) fn delivered(&self) -> usize {
        self.delivered_by_lane().iter().sum()
    }

    pub(crate) fn appended(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.durable).sum()
    }
}
