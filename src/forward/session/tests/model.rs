//! The session against a careful bookkeeper, under random happenings.

use crate::forward::session::tests::*;

#[derive(Clone, Debug)]
enum Step {
    Append { lane: u8, records: u64 },
    Send { records: u64, bytes: u64 },
    Ack { which: usize },
    Refuse { which: usize, content: bool },
    Full,
    Vanish { records: u64 },
    Break { loss: Loss },
    Restart,
    Wait { millis: u64 },
    NextDay,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let losses = prop_oneof![Just(Loss::Closed), Just(Loss::NoAcknowledgement), Just(Loss::Ours)];
    let step = prop_oneof![
        4 => (0..3_u8, 1..30_u64).prop_map(|(lane, records)| Step::Append { lane, records }),
        8 => (1..12_u64, 1..3_000_u64).prop_map(|(records, bytes)| Step::Send { records, bytes }),
        6 => (0..8_usize).prop_map(|which| Step::Ack { which }),
        1 => (0..8_usize, any::<bool>()).prop_map(|(which, content)| Step::Refuse { which, content }),
        1 => Just(Step::Full),
        1 => (1..20_u64).prop_map(|records| Step::Vanish { records }),
        1 => losses.prop_map(|loss| Step::Break { loss }),
        1 => Just(Step::Restart),
        4 => (1..5_000_u64).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::NextDay),
    ];
    prop::collection::vec(step, 1..200)
}

/// What a careful bookkeeper knows: which records the broker has taken or which are gone, and what was sent when.
struct Model {
    session: Session,
    now: u64,
    day: i64,
    settled: [std::collections::BTreeSet<u64>; LANES],
    durable: [u64; LANES],
    /// What the outbox remembers.
    starts: [LaneStart; LANES],
    note: Vec<u8>,
    /// Batches the broker has not answered, oldest first.
    under_way: Vec<(Token, u8, u64, u64, u64)>,
    /// Bytes of the present connection.
    carried: u64,
    passed: Vec<(u64, i64, bool, u64)>,
}

const RATE: u64 = 64_000;
const DAILY: u64 = 200_000;

fn limits() -> ForwardConfig {
    ForwardConfig {
        in_flight: 6,
        batch_records_max: 10,
        rate: Some(BitRate(RATE)),
        daily: Some(Bytes(DAILY)),
        ..ForwardConfig::default()
    }
}

impl Model {
    fn new() -> Self {
        let session = fresh(limits());
        let mut model = Self {
            session,
            now: 0,
            day: DAY,
            settled: Default::default(),
            durable: [0; LANES],
            starts: Default::default(),
            note: Vec::new(),
            under_way: Vec::new(),
            carried: 0,
            passed: Vec::new(),
        };
        model.reconnect();
        model
    }

    fn moment(&self) -> Moment {
        on(self.day, self.now)
    }

    /// The outbox has written the note.
    fn write(&mut self) {
        while let Some(note) = self.session.note() {
            self.note = note;
            self.session.noted(true);
        }
    }

    fn settle(&mut self, settled: Option<Settled>) {
        let (lane, range) = match settled {
            None => return,
            Some(Settled::Advance { lane, upto }) => {
                let lane = usize::from(lane);
                self.starts[lane].acked = upto;
                (lane, 1..=upto)
            }
            Some(Settled::Stretch { lane, from, upto }) => {
                let lane = usize::from(lane);
                self.starts[lane].done.push((from, upto));
                (lane, from..=upto)
            }
        };
        let known = &self.settled[lane];
        assert!(
            range.clone().all(|seq| known.contains(&seq)),
            "passed an unacknowledged record of {range:?}"
        );
    }

    fn carry(&mut self, bytes: u64, alarm: bool) {
        self.carried += bytes;
        self.passed.push((self.now, self.day, alarm, bytes));
        self.session.traffic(self.carried, 0, self.moment());
    }

    fn send(&mut self, records: u64, bytes: u64) {
        self.write();
        let fetch = self.session.next(self.moment()).or_else(|| {
            // Perhaps it waited for a grant.
            self.write();
            self.session.next(self.moment())
        });
        let Some(fetch) = fetch else { return };
        let lane = usize::from(fetch.lane);
        let last = fetch.upto.min(fetch.from + records.min(u64::from(fetch.records_max)) - 1);
        let count = u32::try_from(last + 1 - fetch.from).unwrap();
        assert!(
            fetch.from <= self.durable[lane] && last <= self.durable[lane],
            "asked for what is not durable"
        );
        assert!(!self.settled[lane].contains(&fetch.from), "sends what is done with");
        if let Ok(token) = self.session.send(&fetch, last, count, bytes, self.moment()) {
            self.under_way.push((token, fetch.lane, fetch.from, last, bytes));
            self.carry(bytes, lane == ALARM);
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
            Step::Ack { which } if which < self.under_way.len() => {
                let (token, lane, first, last, _) = self.under_way.remove(which);
                self.carry(4, lane == 0);
                self.settled[usize::from(lane)].extend(first..=last);
                let settled = self.session.acked(token, self.moment());
                self.settle(settled);
            }
            Step::Refuse { which, content } if which < self.under_way.len() => {
                let (token, ..) = self.under_way.remove(which);
                self.session.refused(token, self.moment(), 0.5, content);
            }
            Step::Ack { .. } | Step::Refuse { .. } => {}
            Step::Full => {
                // Here it has passed all the same; what counts is that it is sent again.
                if let Some((token, ..)) = self.under_way.pop() {
                    self.session.unsent(token, self.moment());
                }
            }
            Step::Vanish { records } => {
                self.write();
                if let Some(fetch) = self.session.next(self.moment()) {
                    let upto = (fetch.from + records - 1).min(fetch.upto);
                    self.settled[usize::from(fetch.lane)].extend(fetch.from..=upto);
                    let settled = self.session.skip(&fetch, upto);
                    self.settle(settled);
                }
            }
            Step::Break { loss } => {
                self.session.disconnected(self.moment(), 0.3, loss);
                self.reconnect();
            }
            Step::Restart => {
                self.session = Session::new(limits(), &self.starts, &self.note, self.moment(), 0.3);
                for (lane, durable) in (0..).zip(self.durable) {
                    self.session.durable(lane, durable);
                }
                self.reconnect();
            }
            Step::Wait { millis } => self.now += millis,
            Step::NextDay => {
                self.day += 1;
                self.now += 86_400_000;
            }
        }
        while let Some((lane, seq)) = self.session.culprit() {
            self.settled[usize::from(lane)].insert(seq);
            let settled = self.session.set_aside(lane, seq);
            self.settle(settled);
        }
    }

    fn reconnect(&mut self) {
        self.under_way.clear();
        self.carried = 0;
        for _ in 0..10 {
            self.now = self.now.max(self.session.poll_timeout().unwrap().0.div_ceil(1_000_000));
            if self.session.due(self.moment()) {
                self.session.connecting(self.moment());
                self.session.connected(self.moment(), None, None);
                return;
            }
            self.write();
            if self.session.status().spent && self.session.poll_timeout().unwrap() > self.moment().up {
                self.day += 1;
                self.now += 86_400_000;
            }
        }
        panic!("never connects: {:?}", self.session.status());
    }

    fn check(&self) {
        assert!(self.session.in_flight() <= 6);
        assert_eq!(self.session.in_flight(), self.under_way.len());
        for (lane, settled) in self.session.lanes.iter().zip(&self.settled) {
            assert!(lane.acked <= lane.durable && (1..=lane.acked).all(|seq| settled.contains(&seq)));
            // What was forgotten in a restart is sent again, nothing else.
            assert!(lane.backlog() >= lane.durable - settled.len() as u64);
        }
        let counts = self.session.counts;
        let flying: usize = self.session.lanes.iter().map(|lane| lane.flights().len()).sum();
        let settled = counts.acked + counts.refused + counts.taken_back + counts.lost;
        assert_eq!(counts.sent, settled + flying as u64, "every batch is accounted for");
        let today = self.passed.iter().filter(|(_, day, ..)| *day == self.day);
        let (mut all, mut ordinary) = (0, 0);
        for (_, _, alarm, bytes) in today {
            all += bytes;
            ordinary += if *alarm { 0 } else { *bytes };
        }
        assert!(all <= DAILY && ordinary <= DAILY / 10 * 9, "{all} {ordinary}");
    }

    /// The rate over every span that ends with the last batch: rate × (span + 1 s) and that one batch.
    fn check_rate(&self) {
        let Some((end, ..)) = self.passed.last() else { return };
        let mut sum = 0;
        for (then, _, _, bytes) in self.passed.iter().rev() {
            sum += bytes;
            let span = (end - then) as f64 / 1e3 + 1.0;
            assert!(sum as f64 <= RATE as f64 / 8.0 * span + 3_004.0, "{sum} in {span} s");
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
                if self.session.close(self.moment()).is_some() {
                    self.session.disconnected(self.moment(), 0.5, Loss::Budget);
                    self.reconnect();
                    continue;
                }
                let wake = self.session.poll_timeout().expect("waits for nothing").0.div_ceil(1_000_000);
                if wake >= self.now + 30_000 {
                    self.day += 1;
                    self.now += 86_400_000;
                }
                self.now = self.now.max(wake);
            }
            self.apply(&Step::Ack { which: 0 });
        }
        panic!("records stay undelivered: {:?}", self.session.status());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_nothing_is_lost_and_no_limit_is_passed(steps in steps()) {
        let mut model = Model::new();
        let restarted = steps.iter().any(|step| matches!(step, Step::Restart | Step::Full));
        for step in &steps {
            model.apply(step);
            model.check();
            // A restart forgets the second before it, and what is called unsent here has passed.
            if !restarted {
                model.check_rate();
            }
        }
        model.drain();
        model.check();
    }
}
