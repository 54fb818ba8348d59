//! The session by example, and against a naive model under random happenings.

use proptest::prelude::*;

use super::*;
use crate::units::{BitRate, Ratio};

const DAY: Day = Day(20_000);

const fn at(millis: u64) -> Uptime {
    Uptime(millis * 1_000_000)
}

fn config() -> ForwardConfig {
    ForwardConfig { in_flight: 4, batch_records_max: 10, ..ForwardConfig::default() }
}

fn up(config: ForwardConfig) -> Session {
    let mut session = Session::new(config, [0; LANES]);
    session.connecting(at(0));
    session.connected(at(0), None, None);
    session
}

/// Sends what comes next in batches of at most `records`, 100 bytes each record; the lane and the token.
fn send(session: &mut Session, records: u64, now: Uptime) -> Option<(u8, Token)> {
    let fetch = session.next(now, DAY)?;
    let backlog = session.lanes[usize::from(fetch.lane)].durable + 1 - fetch.from;
    let count = records.min(backlog).min(u64::from(fetch.records_max));
    let (last, number) = (fetch.from + count - 1, u32::try_from(count).unwrap());
    Some((fetch.lane, session.send(&fetch, last, number, count * 100, now, DAY).unwrap()))
}

fn tokens(session: &mut Session, records: u64, now: Uptime) -> Vec<Token> {
    std::iter::from_fn(|| send(session, records, now)).map(|(_, token)| token).collect()
}

#[test]
fn the_cursor_moves_only_over_what_is_acknowledged_without_a_gap() {
    let mut session = up(ForwardConfig { in_flight: 8, ..config() });
    session.durable(0, 40);
    let sent = tokens(&mut session, 10, at(0));
    assert_eq!(sent.len(), 4);
    assert_eq!(session.acked(sent[2], at(1)), None);
    assert_eq!(session.acked(sent[1], at(1)), None);
    assert_eq!(session.acked(sent[0], at(1)), Some(Advance { lane: 0, upto: 30 }));
    assert_eq!(session.acked(sent[0], at(1)), None, "twice");
    assert_eq!(session.acked(Token(99), at(1)), None, "never sent");
    assert_eq!(session.acked(sent[3], at(1)), Some(Advance { lane: 0, upto: 40 }));
    assert_eq!(session.backlog(0), 0);
}

#[test]
fn a_broken_connection_rewinds_to_the_cursor_and_old_acknowledgements_are_void() {
    let mut session = up(config());
    session.durable(1, 30);
    let sent = tokens(&mut session, 10, at(0));
    session.acked(sent[0], at(1));
    session.acked(sent[2], at(1));
    session.disconnected(at(2), 0.5);
    assert_eq!(session.next(at(2), DAY), None);
    let until = session.poll_timeout().unwrap();
    assert!(!session.due(at(2)) && session.due(until));
    session.connecting(until);
    session.connected(until, None, None);
    assert_eq!(session.acked(sent[1], until), None, "its packet id belongs to somebody else now");
    assert_eq!(session.next(until, DAY).unwrap().from, 11);
}

#[test]
fn alarms_go_first_and_a_backlog_leaves_them_a_place() {
    let mut session = up(config());
    session.durable(2, 1000);
    session.durable(1, 1000);
    let lanes: Vec<u8> = std::iter::from_fn(|| send(&mut session, 1, at(0))).map(|(lane, _)| lane).collect();
    assert_eq!(lanes, [1, 1, 1], "one of four places is kept");
    session.durable(0, 5);
    assert_eq!(send(&mut session, 1, at(0)).unwrap().0, 0);
    assert_eq!(session.next(at(0), DAY), None, "full");
    assert_eq!(session.in_flight(), 4);
}

#[test]
fn the_broker_may_allow_fewer_under_way_and_smaller_packets() {
    let mut session = Session::new(config(), [0; LANES]);
    session.connecting(at(0));
    session.connected(at(0), Some(1), Some(2_000));
    session.durable(1, 10);
    let fetch = session.next(at(0), DAY).unwrap();
    assert_eq!(fetch.bytes_max, 2_000 - PACKET_OVERHEAD);
    assert_eq!(session.send(&fetch, 10, 10, 2_001, at(0), DAY), Err(Withheld::TooLarge));
    let fetch = session.next(at(0), DAY).unwrap();
    assert_eq!(fetch.records_max, 5);
    let token = session.send(&fetch, 5, 5, 2_000, at(0), DAY).unwrap();
    assert_eq!(session.next(at(0), DAY), None);
    session.acked(token, at(1));
    assert_eq!(session.next(at(1), DAY).unwrap().records_max, 10, "the limit is let go after a success");
}

#[test]
fn a_record_nobody_can_take_is_skipped_by_name() {
    let mut session = Session::new(config(), [0; LANES]);
    session.connecting(at(0));
    session.connected(at(0), None, Some(2_000));
    session.durable(1, 2);
    let fetch = session.next(at(0), DAY).unwrap();
    assert_eq!(session.send(&fetch, 1, 1, 2_001, at(0), DAY), Err(Withheld::Undeliverable));
    assert_eq!(session.skip(&fetch, 1, at(0)), Some(Advance { lane: 1, upto: 1 }));
    assert_eq!(session.skip(&fetch, 1, at(0)), None, "once");
    assert_eq!(session.next(at(0), DAY).unwrap().from, 2);
}

#[test]
fn records_dropped_meanwhile_do_not_hold_up_the_cursor() {
    let mut session = up(config());
    session.durable(1, 100);
    let fetch = session.next(at(0), DAY).unwrap();
    // Records 1 to 60 are gone: the batch starts later.
    let token = session.send(&fetch, 70, 10, 1_000, at(0), DAY).unwrap();
    // And then the rest is gone.
    let fetch = session.next(at(0), DAY).unwrap();
    assert_eq!(fetch.from, 71);
    assert_eq!(session.skip(&fetch, 100, at(0)), None, "the batch before it is still under way");
    assert_eq!(session.acked(token, at(1)), Some(Advance { lane: 1, upto: 100 }));
    assert_eq!(session.next(at(1), DAY), None);
}

#[test]
fn a_read_that_comes_back_after_the_connection_broke_is_thrown_away() {
    let mut session = up(config());
    session.durable(1, 10);
    let fetch = session.next(at(0), DAY).unwrap();
    assert_eq!(session.next(at(0), DAY), None, "one read at a time");
    session.disconnected(at(1), 0.0);
    session.connecting(at(200));
    session.connected(at(200), None, None);
    assert_eq!(session.send(&fetch, 10, 10, 100, at(200), DAY), Err(Withheld::Stale));
    assert_eq!(session.skip(&fetch, 10, at(200)), None);
    let fetch = session.next(at(200), DAY).unwrap();
    session.abandon(&fetch, at(200));
    assert_eq!(session.next(at(200), DAY), None, "not at once");
    assert_eq!(session.poll_timeout(), Some(at(300)));
    assert!(session.next(at(300), DAY).is_some());
}

#[test]
fn a_refused_batch_holds_up_its_lane_only_and_is_sent_again() {
    let mut session = up(config());
    session.durable(1, 20);
    session.durable(2, 1);
    let sent = tokens(&mut session, 10, at(0));
    assert_eq!(sent.len(), 3);
    session.refused(sent[0], at(1), 1.0);
    assert_eq!(session.in_flight(), 2, "the second batch of the lane still occupies the link");
    assert_eq!(session.acked(sent[1], at(2)), None, "but no longer counts");
    assert_eq!(session.acked(sent[2], at(2)), Some(Advance { lane: 2, upto: 1 }));
    assert_eq!(session.next(at(2), DAY), None);
    assert_eq!(session.poll_timeout(), Some(at(1_001)));
    assert_eq!(session.next(at(1_001), DAY).unwrap().from, 1);
    let counts = session.status(DAY).counts;
    assert_eq!((counts.sent, counts.acked, counts.refused, counts.taken_back), (3, 1, 1, 1));
}

#[test]
fn a_full_client_costs_no_budget() {
    let mut session = up(ForwardConfig { daily: Some(Bytes(100_000)), ..config() });
    session.durable(1, 10);
    let (_, token) = send(&mut session, 10, at(0)).unwrap();
    assert_eq!(session.status(DAY).bytes_today, Bytes(1_000));
    session.unsent(token, at(0));
    assert_eq!((session.status(DAY).bytes_today, session.in_flight()), (Bytes(0), 0));
    assert_eq!(session.next(at(0), DAY), None);
    assert_eq!(session.next(session.poll_timeout().unwrap(), DAY).unwrap().from, 1);
}

#[test]
fn a_link_that_acknowledges_nothing_is_declared_dead() {
    let mut session = up(ForwardConfig { ack_timeout: Duration::from_mins(1), ..config() });
    assert_eq!(session.poll_timeout(), None, "nothing to wait for");
    session.durable(1, 20);
    let sent = tokens(&mut session, 10, at(0));
    assert!(!session.overdue(at(59_999)));
    assert_eq!(session.poll_timeout(), Some(at(60_000)));
    assert!(session.overdue(at(60_000)));
    session.acked(sent[1], at(60_000));
    assert!(session.overdue(at(60_000)), "the first is still missing");
}

#[test]
fn a_spent_day_lets_only_alarms_through_and_the_next_day_everything() {
    let mut session =
        up(ForwardConfig { daily: Some(Bytes(2_000)), alarm_reserve: Ratio::of(1, 10), ..config() });
    session.durable(1, 100);
    let (_, token) = send(&mut session, 10, at(0)).unwrap();
    session.acked(token, at(1));
    let fetch = session.next(at(1), DAY).unwrap();
    assert_eq!(fetch.bytes_max, 800);
    assert_eq!(session.send(&fetch, 20, 10, 801, at(1), DAY), Err(Withheld::Daily));
    assert_eq!(session.next(at(1), DAY), None);
    assert_eq!(session.poll_timeout(), Some(at(1).after(DAY_CHECK)));
    session.durable(0, 1);
    let fetch = session.next(at(2), DAY).unwrap();
    assert_eq!((fetch.lane, fetch.bytes_max), (0, 1_000));
    session.abandon(&fetch, at(2));
    assert!(!session.allow(801, at(3), DAY) && session.allow(800, at(3), DAY), "status is ordinary traffic");
    assert_eq!(
        session.next(at(4), Day(DAY.0 + 1)).unwrap().lane,
        1,
        "the alarm lane is on hold, the day is new"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Append { lane: u8, records: u64 },
    Send { records: u64, bytes: u64 },
    Ack { which: usize },
    Refuse { which: usize },
    Full { which: usize },
    Vanish { records: u64 },
    Break,
    Wait { millis: u64 },
    NextDay,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_u8, 1..30_u64).prop_map(|(lane, records)| Step::Append { lane, records }),
        8 => (1..12_u64, 1..3_000_u64).prop_map(|(records, bytes)| Step::Send { records, bytes }),
        6 => (0..8_usize).prop_map(|which| Step::Ack { which }),
        1 => (0..8_usize).prop_map(|which| Step::Refuse { which }),
        1 => (0..8_usize).prop_map(|which| Step::Full { which }),
        1 => (1..20_u64).prop_map(|records| Step::Vanish { records }),
        1 => Just(Step::Break),
        4 => (1..5_000_u64).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::NextDay),
    ];
    prop::collection::vec(step, 1..200)
}

/// What a careful bookkeeper knows: which records the broker has taken or which are gone, and what was sent when.
struct Model {
    session: Session,
    now: Uptime,
    day: Day,
    settled: [std::collections::BTreeSet<u64>; LANES],
    durable: [u64; LANES],
    /// Batches the broker has not answered, oldest first.
    under_way: Vec<(Token, u8, u64, u64)>,
    spent: Vec<(Token, Uptime, Day, bool, u64)>,
}

const RATE: u64 = 64_000;
const DAILY: u64 = 200_000;

impl Model {
    fn new() -> Self {
        let session = up(ForwardConfig {
            in_flight: 6,
            batch_records_max: 10,
            rate: Some(BitRate(RATE)),
            daily: Some(Bytes(DAILY)),
            ..ForwardConfig::default()
        });
        Self {
            session,
            now: at(0),
            day: DAY,
            settled: Default::default(),
            durable: [0; LANES],
            under_way: Vec::new(),
            spent: Vec::new(),
        }
    }

    fn advance(&self, advance: Option<Advance>) {
        if let Some(Advance { lane, upto }) = advance {
            let settled = &self.settled[usize::from(lane)];
            assert!((1..=upto).all(|seq| settled.contains(&seq)), "passed an unacknowledged record");
        }
    }

    fn take(&mut self, which: usize) -> Option<(Token, u8, u64, u64)> {
        (which < self.under_way.len()).then(|| self.under_way.remove(which))
    }

    fn send(&mut self, records: u64, bytes: u64) {
        let Some(fetch) = self.session.next(self.now, self.day) else { return };
        let lane = usize::from(fetch.lane);
        let last = self.durable[lane].min(fetch.from + records.min(u64::from(fetch.records_max)) - 1);
        let count = u32::try_from(last + 1 - fetch.from).unwrap();
        assert!(fetch.from <= self.durable[lane], "asked for what is not durable");
        if let Ok(token) = self.session.send(&fetch, last, count, bytes, self.now, self.day) {
            self.under_way.push((token, fetch.lane, fetch.from, last));
            self.spent.push((token, self.now, self.day, lane == ALARM, bytes));
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Append { lane, records } => {
                let durable = &mut self.durable[usize::from(lane)];
                *durable += records;
                self.session.durable(lane, *durable);
            }
            Step::Send { records, bytes } => self.send(records, bytes),
            Step::Ack { which } => {
                if let Some((token, lane, first, last)) = self.take(which) {
                    self.settled[usize::from(lane)].extend(first..=last);
                    let advance = self.session.acked(token, self.now);
                    self.advance(advance);
                }
            }
            Step::Refuse { which } => {
                if let Some((token, ..)) = self.take(which) {
                    self.session.refused(token, self.now, 0.5);
                }
            }
            Step::Full { which } => {
                // Most often the last one; any must do.
                if which == 0
                    && let Some((token, ..)) = self.under_way.pop()
                {
                    self.session.unsent(token, self.now);
                    self.spent.retain(|(spent, ..)| *spent != token);
                }
            }
            Step::Vanish { records } => {
                if let Some(fetch) = self.session.next(self.now, self.day) {
                    let upto = (fetch.from + records - 1).min(self.durable[usize::from(fetch.lane)]);
                    self.settled[usize::from(fetch.lane)].extend(fetch.from..=upto);
                    let advance = self.session.skip(&fetch, upto, self.now);
                    self.advance(advance);
                }
            }
            Step::Break => {
                self.session.disconnected(self.now, 0.3);
                self.under_way.clear();
                self.reconnect();
            }
            Step::Wait { millis } => self.now = self.now.after(Duration::from_millis(millis)),
            Step::NextDay => self.day = Day(self.day.0 + 1),
        }
    }

    fn reconnect(&mut self) {
        self.now = self.session.poll_timeout().unwrap().max(self.now);
        assert!(self.session.due(self.now));
        self.session.connecting(self.now);
        self.session.connected(self.now, None, None);
    }

    fn check(&self) {
        assert!(self.session.in_flight() <= 6);
        assert_eq!(self.session.in_flight(), self.under_way.len());
        for (lane, settled) in self.session.lanes.iter().zip(&self.settled) {
            assert!(lane.acked < lane.next && lane.acked <= lane.durable);
            assert!((1..=lane.acked).all(|seq| settled.contains(&seq)));
        }
        let counts = self.session.counts;
        let flying: usize = self.session.lanes.iter().map(Lane::under_way).sum();
        let settled = counts.acked + counts.refused + counts.taken_back + counts.lost;
        assert_eq!(counts.sent, settled + flying as u64, "every batch is accounted for");
        let today = self.spent.iter().filter(|(_, _, day, ..)| *day == self.day);
        let (mut all, mut ordinary) = (0, 0);
        for (_, _, _, alarm, bytes) in today {
            all += bytes;
            ordinary += if *alarm { 0 } else { *bytes };
        }
        assert!(all <= DAILY && ordinary <= DAILY / 10 * 9, "{all} {ordinary}");
        if let Some((_, last, ..)) = self.spent.last() {
            // Over every span that ends with the last batch: rate × (span + 1 s) and that one batch.
            let mut sum = 0;
            for (_, then, _, _, bytes) in self.spent.iter().rev() {
                sum += bytes;
                let span = last.since(*then).as_secs_f64() + 1.0;
                assert!(sum as f64 <= RATE as f64 / 8.0 * span + 3_000.0 + 1.0, "{sum} in {span} s");
            }
        }
    }

    /// The link stays up and the broker takes everything: whatever is durable must be delivered.
    fn drain(&mut self) {
        for _ in 0..20_000 {
            if (0..3_u8).all(|lane| self.session.backlog(lane) == 0) {
                return;
            }
            let before = self.under_way.len();
            self.send(10, 1_000);
            if self.under_way.len() > before {
                continue;
            }
            if self.under_way.is_empty() {
                let wake = self.session.poll_timeout().expect("waits for nothing");
                if wake >= self.now.after(DAY_CHECK) {
                    self.day = Day(self.day.0 + 1);
                }
                self.now = self.now.max(wake);
            }
            self.apply(&Step::Ack { which: 0 });
        }
        panic!("records stay undelivered");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_nothing_is_lost_and_no_limit_is_passed(steps in steps()) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
            model.check();
        }
        model.drain();
        model.check();
    }
}
