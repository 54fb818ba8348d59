//! Does the scheduler run what matters most, in time, within its budget, and account for the rest?

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
#![expect(clippy::cast_possible_truncation, reason = "small numbers")]

#[path = "schedule/floor.rs"]
mod floor;
#[path = "schedule/reference.rs"]
mod reference;

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use tidegate::clock::Uptime;
use tidegate::flow::{Admit, Budget, Priority, StreamId, VariantRule};
use tidegate::infer::schedule::{BURST, HOLD_UP_MAX, OVERDRAFT, TRUSTED};
use tidegate::infer::{BATCH_MIN, BATCHES_OUT_MAX, Batch, Scheduler, Work};
use tidegate::tally::DropReason;
use tidegate::units::{Bytes, Millicores, Ratio};

use crate::floor::{Floor, Run, Stream, at, config, number, work};
use crate::reference::{Naive, Piece, Planted};

const ALARM: Stream =
    Stream { model: 0, priority: Priority::Alarm, deadline: Duration::from_secs(2), text: 0 };
const NORMAL: Stream =
    Stream { model: 1, priority: Priority::Normal, deadline: Duration::from_secs(10), text: 0 };
const BULK: Stream =
    Stream { model: 2, priority: Priority::Bulk, deadline: Duration::from_secs(30), text: 0 };

fn limited(cpu: u32) -> Budget {
    Budget { cpu: Millicores(cpu), ..Budget::NOMINAL }
}

/// Four streams, of which two share a lane and two a model; deadlines in milliseconds.
const FOUR: [(u16, Priority, u64); 4] =
    [(0, Priority::Normal, 30), (1, Priority::Normal, 12), (0, Priority::Bulk, 50), (1, Priority::Alarm, 9)];

fn of_four(stream: u16) -> Stream {
    let (model, priority, deadline) = FOUR[usize::from(stream)];
    Stream { model, priority, deadline: Duration::from_millis(deadline), text: 0 }
}

/// Does the real scheduler, with batches of one and without costs, the same as the obvious one?
fn same_as_the_obvious_one(
    capacity: usize,
    steps: &[(u16, u64, u8)],
    planted: Planted,
) -> Result<(), TestCaseError> {
    let mut config = config(capacity);
    config.batch_max = vec![1; 4];
    let (mut scheduler, mut naive) = (Scheduler::new(config), Naive::default());
    let mut now = 0;
    for (index, &(stream, passes, kind)) in (0_u32..).zip(steps) {
        now += passes;
        if stream < 4 {
            let work = work(index, stream, of_four(stream), at(now));
            let (priority, queued, deadline) = (work.priority, work.queued, work.deadline);
            naive.push(capacity, Piece { number: index, stream, priority, queued, deadline }, planted);
            scheduler.push(work, &mut |_| {});
        } else {
            let admit = match kind {
                0 => Admit::Nothing,
                1 => Admit::Alarm,
                2 => Admit::Normal,
                _ => Admit::All,
            };
            scheduler.set_budget(Budget { admit, ..Budget::NOMINAL });
            let batch = scheduler.next_batch(at(now), &mut |_| {});
            let found = batch.as_ref().map(|batch| number(&batch.work[0]));
            prop_assert_eq!(found, naive.pop(at(now), admit, planted).map(|piece| piece.number));
            if let Some(batch) = batch {
                scheduler.settle(batch, Duration::ZERO, at(now));
            }
        }
        let tally = scheduler.tally();
        prop_assert!(scheduler.held() <= capacity && tally.balances(scheduler.held() as u64));
        prop_assert_eq!(
            [DropReason::Stale, DropReason::QueueFull, DropReason::Budget]
                .map(|reason| tally.dropped(reason)),
            [naive.stale, naive.full, naive.budget]
        );
        prop_assert_eq!((tally.passed, scheduler.held()), (naive.passed, naive.list.len()));
    }
    scheduler.clear();
    prop_assert!(scheduler.tally().balances(0) && scheduler.held_bytes() == Bytes(0));
    Ok(())
}

fn config_of(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn steps() -> impl Strategy<Value = (usize, Vec<(u16, u64, u8)>)> {
    (0_usize..8, proptest::collection::vec((0_u16..7, 0_u64..4, 0_u8..12), 1..120))
}

#[test]
fn lanes_deadlines_and_fairness_are_those_of_the_obvious_scheduler_and_three_wrong_ones_are_caught() {
    let run = |planted| {
        let mut runner = TestRunner::new(config_of(512));
        runner.run(&steps(), |(capacity, steps)| same_as_the_obvious_one(capacity, &steps, planted))
    };
    assert_eq!(run(Planted::Nothing), Ok(()));
    for planted in [Planted::NoLanes, Planted::NoDeadlines, Planted::NoFairness] {
        let caught = matches!(run(planted), Err(TestError::Fail(..)));
        assert!(caught, "{planted:?} passed as right");
    }
}

/// What waits, as the checks know it.
#[derive(Default)]
struct Mirror {
    pieces: Vec<Piece>,
}

impl Mirror {
    fn forget(&mut self, gone: &Work) {
        self.pieces.retain(|piece| piece.number != number(gone));
    }
}

/// One step of the property below: what comes, how much time passes, what is allowed, what it will have cost.
type Step = (Option<u16>, u64, (u8, u32, u64), (u64, u8));

/// Every promise about one decision, checked against all that waits.
fn is_right(batch: &Batch, mirror: &Mirror, budget: &Budget, now: Uptime) -> Result<(), TestCaseError> {
    let first = &batch.work[0];
    let gathered = |piece: &&Piece| {
        let slack = piece.deadline.since(piece.queued) / 2;
        piece.priority == Priority::Alarm || now >= piece.queued.after(budget.gather.min(slack))
    };
    let mut more_urgent = mirror.pieces.iter().filter(|piece| piece.priority < batch.priority);
    prop_assert_eq!(more_urgent.find(gathered), None, "more urgent work waits");
    let same = mirror.pieces.iter().filter(|piece| piece.priority == batch.priority);
    let earlier = same.filter(gathered).find(|piece| piece.deadline < first.deadline);
    prop_assert_eq!(earlier, None, "an earlier deadline waits");
    let one = |work: &Work| (work.model, work.priority) == (batch.model, batch.priority);
    prop_assert!(batch.work.iter().all(one) && budget.admit.allows(batch.priority));
    prop_assert!(batch.work.is_sorted_by_key(|work| (work.deadline, work.queued)));
    prop_assert!(batch.work.len() == 1 || (BATCH_MIN..=8).contains(&batch.work.len()));
    let last = batch.work.iter().map(|work| work.deadline).max().unwrap();
    let of_model = mirror.pieces.iter().filter(|piece| {
        piece.priority == batch.priority && FOUR[usize::from(piece.stream)].0 == batch.model.0
    });
    prop_assert!(
        of_model.map(|piece| piece.deadline).min().is_none_or(|next| next >= last),
        "not the next ones"
    );
    prop_assert!(first.deadline >= now && batch.deadline == last);
    Ok(())
}

fn keeps_its_promises(capacity: usize, bytes_max: u64, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut config = config(capacity);
    config.bytes_max = Bytes(bytes_max);
    let (mut scheduler, mut mirror) = (Scheduler::new(config), Mirror::default());
    let (mut now, mut out, mut last) = (0, Vec::new(), [None; 4]);
    for (index, &(stream, passes, (admit, cpu, gather), (spent, clock))) in (0_u32..).zip(steps) {
        now += passes;
        let gather = Duration::from_millis(gather);
        let admit = [Admit::All, Admit::All, Admit::Normal, Admit::Alarm][usize::from(admit)];
        let budget = Budget { admit, gather, ..limited(cpu) };
        scheduler.set_budget(budget);
        scheduler.set_clock(Ratio::new(f32::from(clock) / 10.0).unwrap());
        let mut gone = Vec::new();
        if let Some(stream) = stream {
            let work = work(index, stream, of_four(stream), at(now));
            let (priority, queued, deadline) = (work.priority, work.queued, work.deadline);
            mirror.pieces.push(Piece { number: index, stream, priority, queued, deadline });
            scheduler.push(work, &mut |work| gone.push(work));
        } else if let Some(batch) = scheduler.next_batch(at(now), &mut |work| gone.push(work)) {
            gone.iter().chain(&batch.work).for_each(|work| mirror.forget(work));
            is_right(&batch, &mirror, &budget, at(now))?;
            for work in &batch.work {
                let last = &mut last[usize::from(work.subject.stream.0)];
                prop_assert!(
                    last.replace(number(work)).is_none_or(|last| last < number(work)),
                    "out of order"
                );
            }
            out.push(batch);
            prop_assert!(out.len() <= BATCHES_OUT_MAX);
        } else if !out.is_empty() {
            scheduler.settle(out.remove(0), Duration::from_micros(spent), at(now));
        }
        for work in &gone {
            mirror.forget(work);
        }
        let held = scheduler.held();
        prop_assert_eq!(held, mirror.pieces.len());
        prop_assert!(scheduler.tally().balances(held as u64) && held <= capacity);
        prop_assert!(scheduler.held_bytes().0 <= bytes_max);
        let shed: u64 = scheduler.counts().shed.iter().sum();
        prop_assert_eq!(shed, scheduler.tally().dropped_total(), "each shed has its lane");
        // A time at which something falls due lies ahead: else the shell would spin.
        prop_assert!(out.len() < 2 || scheduler.poll_timeout().is_none() || out.len() < BATCHES_OUT_MAX);
    }
    Ok(())
}

#[test]
fn a_batch_given_out_while_more_urgent_or_earlier_work_waits_is_noticed() {
    let piece = |stream: u16| {
        let of = of_four(stream);
        let (queued, deadline) = (at(0), at(0).after(of.deadline));
        Piece { number: stream.into(), stream, priority: of.priority, queued, deadline }
    };
    let judge = |stream: u16, waits: u16, now: u64| {
        let work = work(9, stream, of_four(stream), at(0));
        let (model, priority, deadline, variant) =
            (work.model, work.priority, work.deadline, VariantRule::Best);
        let batch = Batch { ticket: 0, model, variant, priority, deadline, work: vec![work] };
        let budget = Budget { gather: Duration::from_millis(3), ..Budget::NOMINAL };
        is_right(&batch, &Mirror { pieces: vec![piece(waits)] }, &budget, at(now)).is_ok()
    };
    for (given, waits, now, right) in [
        (0, 3, 0, false),  // an alarm waits
        (2, 3, 20, false), // an alarm waits, past its deadline
        (2, 0, 2, true),   // the other one is being gathered
        (2, 0, 4, false),  // and not any more
        (0, 1, 2, true),
        (0, 1, 4, false), // an earlier deadline waits
        (1, 0, 4, true),
        (3, 1, 4, true),
        (3, 1, 10, false), // past its deadline
    ] {
        assert_eq!(judge(given, waits, now), right, "{given} was given, {waits} waits, {now} ms");
    }
}

proptest! {
    #![proptest_config(config_of(512))]

    #[test]
    fn nothing_less_urgent_runs_while_more_urgent_work_waits_nor_later_before_earlier_and_all_is_counted(
        capacity in 1_usize..24,
        bytes_max in 1_000_u64..8_000,
        steps in proptest::collection::vec(
            (
                proptest::option::weighted(0.6, 0_u16..4),
                0_u64..4,
                (0_u8..4, prop_oneof![Just(u32::MAX), 0_u32..1_500], 0_u64..20),
                (0_u64..9_000, 2_u8..11),
            ),
            1..200,
        ),
    ) {
        keeps_its_promises(capacity, bytes_max, &steps)?;
    }
}

proptest! {
    #![proptest_config(config_of(24))]

    /// What each piece costs, and each batch besides, in microseconds.
    #[test]
    fn no_batch_holds_alarms_up_for_longer_than_stated_whatever_its_pieces_cost(
        seed in 0_u64..1_000,
        normal in (0_u64..30_000, 0_u64..30_000),
        bulk in (0_u64..30_000, 0_u64..30_000),
        clock in 3_u8..11,
    ) {
        let costs = [(1_000, 0), normal, bulk];
        let mut config = config(256);
        config.costs = costs.iter().map(|(each, besides)| Some(Duration::from_micros(each + besides))).collect();
        let mut floor = Floor::new(config, &costs);
        floor.throttle(f64::from(clock) / 10.0, true);
        run(&mut floor, &[ALARM, NORMAL, BULK], &arrivals(seed, 4, &[(0, 3), (1, 60), (2, 60)]));
        let single = costs.iter().map(|(each, besides)| each + besides).max().unwrap();
        let single = Duration::from_micros(single * 10 / u64::from(clock));
        for run in floor.runs.iter().filter(|run| run.priority != Priority::Alarm) {
            prop_assert!(run.pieces == 1 || run.spent <= HOLD_UP_MAX, "{run:?}");
        }
        // Behind the run that is under way, and the alarms of the same moment.
        let alarms = floor.done.iter().filter(|done| done.priority == Priority::Alarm);
        let longest = alarms.map(|done| done.waited).max().unwrap();
        prop_assert!(longest <= HOLD_UP_MAX.max(single) + Duration::from_millis(100), "{longest:?}");
    }
}

#[test]
fn what_is_cheap_still_goes_in_full_batches_and_what_is_dear_alone() {
    let most_pieces = |each: u64| {
        let mut config = config(256);
        config.costs = vec![None, Some(Duration::from_micros(each))];
        let mut floor = Floor::new(config, &[(0, 0), (each, 0)]);
        (0..16).for_each(|number| floor.push(work(number, 1, NORMAL, at(0))));
        floor.until(at(5_000));
        floor.runs.iter().map(|run| run.pieces).max()
    };
    assert_eq!([6_250, 7_000, 8_000, 9_000].map(most_pieces), [8, 7, 6, 1].map(Some));
}

/// Arrivals: when, in milliseconds, and of which stream.
fn arrivals(seed: u64, seconds: u64, per_second: &[(u16, u64)]) -> Vec<(u64, u16)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let times = per_second.iter().flat_map(|&(stream, rate)| (0..rate * seconds).map(move |_| stream));
    let mut arrivals: Vec<_> = times.map(|stream| (random.u64(0..seconds * 1_000), stream)).collect();
    arrivals.sort_unstable();
    arrivals
}

fn run(floor: &mut Floor, streams: &[Stream], arrivals: &[(u64, u16)]) {
    for (index, &(when, stream)) in (0_u32..).zip(arrivals) {
        floor.until(at(when));
        floor.push(work(index, stream, streams[usize::from(stream)], at(when)));
    }
    let last = arrivals.last().map_or(0, |last| last.0);
    floor.until(at(last + 60_000));
    let tally = floor.scheduler.tally();
    assert!(tally.balances(floor.scheduler.held() as u64), "{tally:?}");
    assert_eq!(floor.done.len() as u64, tally.passed);
    assert_eq!(floor.lost, tally.dropped_total());
}

/// Most that any span between two runs took beyond what the rate allows for it.
fn excess(runs: &[Run], cpu: u32) -> Duration {
    let mut runs = runs.to_vec();
    runs.sort_by_key(|run| run.given);
    // Of the spans that end with a run the worst begins where most had been allowed and least been spent.
    let (mut spent, mut start, mut most) = (0.0, f64::NEG_INFINITY, 0.0_f64);
    for run in runs {
        let allowed = run.given.since(Uptime::ZERO).as_secs_f64() * f64::from(cpu) / 1_000.0;
        start = start.max(allowed - spent);
        spent += run.spent.as_secs_f64();
        most = most.max(spent - allowed + start);
    }
    Duration::from_secs_f64(most)
}

#[test]
fn no_span_of_time_takes_more_than_the_budget_the_burst_the_overdraft_and_the_batches_under_way() {
    let streams = [ALARM, NORMAL, BULK];
    let costs = [(3_000, 500), (9_000, 2_000), (20_000, 0)];
    let mut summary = Vec::new();
    for seed in 0..6 {
        for (cpu, alarms) in [(50, 0), (200, 2), (200, 200), (600, 40), (1_000, 300)] {
            let arrivals = arrivals(seed, 40, &[(0, alarms), (1, 60), (2, 30)]);
            let spend = |budget| {
                let mut floor = Floor::new(config(256), &costs);
                floor.set_budget(budget);
                run(&mut floor, &streams, &arrivals);
                floor.runs
            };
            let runs = spend(limited(cpu));
            let largest = runs.iter().map(|run| run.spent).max().unwrap_or_default();
            let overdraft = if alarms > 0 { OVERDRAFT } else { Duration::ZERO };
            let bound = BURST * cpu / 1_000 + overdraft + largest * BATCHES_OUT_MAX as u32;
            let most = excess(&runs, cpu);
            assert!(most <= bound, "seed {seed}, {cpu} millicores, {alarms} alarms: {most:?} > {bound:?}");
            if cpu < 1_000 {
                let careless = excess(&spend(Budget::NOMINAL), cpu);
                assert!(careless > bound, "seed {seed}: a bucket that holds nothing back is not noticed");
            }
            summary.push((most.as_millis(), bound.as_millis()));
        }
    }
    let closest = summary.iter().max_by_key(|(most, bound)| most * 1_000 / bound.max(&1)).unwrap();
    eprintln!("{} runs, closest: {} of {} ms", summary.len(), closest.0, closest.1);
}

#[test]
fn more_budget_never_judges_less_and_alarms_first() {
    let streams = [ALARM, NORMAL, BULK];
    // All pieces cost the same: with others a larger budget may take a long piece in the place of two short ones.
    let costs = [(10_000, 0), (10_000, 0), (10_000, 0)];
    for seed in 0..16 {
        let arrivals = arrivals(seed, 30, &[(0, 10), (1, 40), (2, 40)]);
        let mut before = (0, [0; 3]);
        for cpu in [0, 20, 50, 100, 200, 300, 400, 600, 800, 1_000, u32::MAX] {
            let mut floor = Floor::new(config(256), &costs);
            floor.set_budget(limited(cpu));
            run(&mut floor, &streams, &arrivals);
            let useful = [0, 1, 2].map(|stream| floor.useful(stream));
            let total: usize = useful.iter().sum();
            assert!(total >= before.0, "seed {seed}, {cpu}: {useful:?} after {before:?}");
            assert!(useful[0] >= before.1[0], "seed {seed}, {cpu}: alarms {useful:?} after {before:?}");
            assert_eq!(floor.late(), 0, "seed {seed}, {cpu}: what was run was run in vain");
            before = (total, useful);
        }
        let mut before = [0; 3];
        for admit in [Admit::Nothing, Admit::Alarm, Admit::Normal, Admit::All] {
            let mut floor = Floor::new(config(256), &costs);
            floor.set_budget(Budget { admit, ..limited(500) });
            run(&mut floor, &streams, &arrivals);
            let useful = [0, 1, 2].map(|stream| floor.useful(stream));
            assert!(useful.iter().zip(before).all(|(now, before)| *now >= before), "{useful:?} {before:?}");
            before = useful;
        }
    }
}

/// Useful judgements while the chip is throttled and after, and those that were late.
fn throttled(is_told: bool) -> (usize, usize, usize) {
    let stream = Stream { deadline: Duration::from_secs(1), ..NORMAL };
    let mut floor = Floor::new(config(64), &[(0, 0), (300_000, 0)]);
    let mut phase = |clock, seconds: std::ops::Range<u64>| {
        floor.throttle(clock, is_told);
        let before = (floor.useful(0), floor.late());
        for half in seconds.start * 2..seconds.end * 2 {
            floor.until(at(half * 500));
            floor.push(work(half as u32, 0, stream, at(half * 500)));
        }
        floor.until(at(seconds.end * 1_000));
        (floor.useful(0) - before.0, floor.late() - before.1)
    };
    phase(1.0, 0..20);
    let (_, late) = phase(0.25, 20..40);
    let (after, _) = phase(1.0, 40..60);
    (after, late, floor.runs.len())
}

#[test]
fn a_throttled_chip_does_not_make_a_model_look_slow_once_the_clock_is_back() {
    let (after, late, _) = throttled(true);
    assert!(after >= 39, "{after} of 40 after the clock was back");
    assert_eq!(late, 0, "at a quarter of the clock none can be in time, and none is begun");
    // Planted: costs are not normalised, the scheduler is never told the clock.
    let (after, late, _) = throttled(false);
    assert!(
        after < 20 && late > 1,
        "costs that are not normalised are not noticed: {after} after, {late} late"
    );
}

#[test]
fn a_model_found_too_slow_is_tried_again_after_a_while() {
    let stream = Stream { deadline: Duration::from_secs(1), ..NORMAL };
    let mut floor = Floor::new(config(64), &[(0, 0), (1_500_000, 0)]);
    for second in 0..10 {
        floor.until(at(second * 1_000));
        floor.push(work(second as u32, 0, stream, at(second * 1_000)));
    }
    let begun = floor.runs.len();
    assert!(begun <= 2, "begun {begun} times, although none can be in time");
    floor.costs[1].0 = Duration::from_millis(10);
    let again = 10 + TRUSTED.as_secs();
    for second in 10..again + 10 {
        floor.until(at(second * 1_000));
        floor.push(work(second as u32, 0, stream, at(second * 1_000)));
    }
    floor.until(at((again + 11) * 1_000));
    assert!(floor.useful(0) >= 8, "{} judged since it is fast", floor.useful(0));
    assert_eq!(floor.scheduler.tally().dropped(DropReason::Stale), floor.lost);
}

#[test]
fn a_batch_that_was_refused_says_nothing_of_what_its_model_costs() {
    let stream = Stream { deadline: Duration::from_secs(1), ..NORMAL };
    let mut scheduler = Scheduler::new(config(64));
    let lost = &mut |_: Work| ();
    // One took as long as the deadline of the next ones is away; two were refused: its model was not there.
    for (second, spent) in [(0, 900), (2, 0), (4, 0)] {
        scheduler.push(work(second as u32, 0, stream, at(second * 1_000)), lost);
        let batch = scheduler.next_batch(at(second * 1_000), lost).unwrap();
        scheduler.settle(batch, Duration::from_millis(spent), at(second * 1_000 + spent));
    }
    scheduler.push(work(9, 0, stream, at(6_000)), lost);
    assert!(scheduler.next_batch(at(6_150), lost).is_none(), "850 ms are left and it takes 900");
    assert_eq!(scheduler.tally().dropped(DropReason::Stale), 1);
}

/// Sensor windows of 100 that were judged in time, while reports come at 2.4 times what can be judged.
fn flooded(reports: Priority, pieces_max: usize) -> (usize, usize, Duration) {
    let text = 4 << 10;
    let report = Stream { model: 1, priority: reports, deadline: Duration::from_secs(10), text };
    let streams = [Stream { model: 2, ..NORMAL }, report];
    // 10 µs a byte: 41 ms each.
    let mut floor = Floor::new(config(pieces_max), &[(0, 0), (10, 0), (2_000, 0)]);
    let mut arrivals = arrivals(7, 100, &[(1, 60)]);
    arrivals.extend((0..100).map(|second| (second * 1_000, 0)));
    arrivals.sort_unstable();
    run(&mut floor, &streams, &arrivals);
    let busy = floor.runs.iter().map(|run| run.spent).sum();
    (floor.useful(0), floor.useful(1), busy)
}

/// The same with the list that knows no costs and sheds the oldest, whoever floods it.
fn flooded_before(pieces_max: usize) -> usize {
    let (mut naive, mut free, mut useful) = (Naive::default(), 0, 0);
    let mut arrivals = arrivals(7, 100, &[(1, 60)]);
    arrivals.extend((0..100).map(|second| (second * 1_000, 0)));
    arrivals.sort_unstable();
    for (number, (when, stream)) in (0_u32..).zip(arrivals) {
        while free <= when {
            let Some(piece) = naive.pop(at(free), Admit::All, Planted::NoDeadlines) else { break };
            free += if piece.stream == 0 { 2 } else { 41 };
            useful += usize::from(piece.stream == 0 && at(free) <= piece.deadline);
        }
        free = free.max(when);
        let (queued, deadline, priority) = (at(when), at(when + 10_000), Priority::Normal);
        naive.push(pieces_max, Piece { number, stream, priority, queued, deadline }, Planted::NoFairness);
    }
    useful
}

#[test]
fn a_flood_of_reports_at_equal_priority_sheds_its_own_and_all_sensor_windows_are_judged() {
    for pieces_max in [16, 64, 256, 1_024] {
        let before = flooded_before(pieces_max);
        let (windows, reports, busy) = flooded(Priority::Normal, pieces_max);
        eprintln!("queue of {pieces_max}: {windows} of 100 windows ({before} before), {reports} reports");
        assert_eq!(windows, 100, "queue of {pieces_max}");
        assert!(before < 80, "{before}: the flood is none");
        assert!(busy > Duration::from_secs(98), "the thread was idle: {busy:?} of 100 s");
        assert!(reports > 2_350, "{reports} reports: processor time was wasted");
    }
}

#[test]
fn alarms_keep_their_deadline_whatever_floods_the_other_lanes_and_however_small_the_budget() {
    for cpu in [100, 300, u32::MAX] {
        for seed in 0..8 {
            let report = Stream { text: 4 << 10, ..BULK };
            let alarm = Stream { deadline: Duration::from_millis(500), ..ALARM };
            let mut floor = Floor::new(config(256), &[(5_000, 0), (10_000, 0), (10, 0)]);
            floor.set_budget(Budget { gather: Duration::from_secs(1), ..limited(cpu) });
            let arrivals = arrivals(seed, 60, &[(0, 4), (1, 80), (2, 50)]);
            run(&mut floor, &[alarm, NORMAL, report], &arrivals);
            assert_eq!(floor.useful(0), 240, "seed {seed}, {cpu} millicores");
            let waited = floor.done.iter().filter(|done| done.stream == 0).map(|done| done.waited).max();
            // One batch that runs, of eight windows or of 16 KiB of reports.
            assert!(waited < Some(Duration::from_millis(200)), "seed {seed}, {cpu}: {waited:?}");
        }
    }
}

#[test]
fn work_is_gathered_until_a_batch_is_full_or_half_of_its_time_is_gone_and_alarms_are_not() {
    let streams = [ALARM, NORMAL];
    let costs = [(1_000, 1_000), (1_000, 1_000)];
    let gathering = |gather| {
        let mut floor = Floor::new(config(256), &costs);
        floor.set_budget(Budget { gather, ..Budget::NOMINAL });
        // A window every 700 ms; two in a minute are alarms.
        let mut arrivals: Vec<_> = (0..600).map(|index| (index * 700, 1)).collect();
        arrivals.extend((0..14).map(|index| (index * 30_000 + 350, 0)));
        arrivals.sort_unstable();
        run(&mut floor, &streams, &arrivals);
        assert_eq!((floor.useful(0), floor.useful(1), floor.late()), (14, 600, 0));
        let waited = |stream| {
            let of = floor.done.iter().filter(|done| done.stream == stream);
            of.map(|done| done.waited).max().unwrap()
        };
        (floor.runs.len(), waited(0), waited(1))
    };
    let (runs, ..) = gathering(Duration::ZERO);
    assert_eq!(runs, 614);
    let (runs, alarm, normal) = gathering(Duration::from_mins(1));
    assert!(runs < 110, "{runs} runs");
    assert!(
        alarm < Duration::from_millis(20) && normal < Duration::from_millis(5_100),
        "{alarm:?} {normal:?}"
    );
}

#[test]
fn a_paused_stream_is_counted_as_paused_and_the_others_go_on() {
    let mut floor = Floor::new(config(64), &[(1_000, 0), (1_000, 0)]);
    floor.set_budget(limited(0));
    let push = |floor: &mut Floor, stream: u16| floor.push(work(0, stream, NORMAL, Uptime::ZERO));
    (0..6).for_each(|index| push(&mut floor, index % 2));
    floor.scheduler.set_paused(&[StreamId(1)], &mut |_| {});
    (0..4).for_each(|index| push(&mut floor, index % 2));
    let paused = |floor: &Floor| floor.scheduler.tally().dropped(DropReason::Paused);
    assert_eq!((paused(&floor), floor.scheduler.held()), (5, 5));
    floor.scheduler.set_paused(&[], &mut |_| {});
    push(&mut floor, 1);
    assert_eq!((paused(&floor), floor.scheduler.held()), (5, 6));
    assert_eq!(floor.scheduler.counts().shed, [0; 3], "an operator's wish is not shedding");
    assert!(floor.scheduler.tally().balances(6));
}

#[test]
fn bytes_are_limited_like_pieces_and_the_stream_with_the_largest_gives_way() {
    let report = |text| Stream { text, ..NORMAL };
    let mut config = config(64);
    config.bytes_max = Bytes(100_000);
    let mut floor = Floor::new(config, &[(0, 0), (1_000, 0)]);
    floor.set_budget(limited(0));
    for number in 0..5 {
        floor.push(work(number, 0, NORMAL, at(number.into())));
    }
    for number in 5..9 {
        floor.push(work(number, 1, report(40_000), at(number.into())));
    }
    assert_eq!(floor.scheduler.held(), 7, "five windows and two reports");
    floor.push(work(9, 1, report(200_000), at(9)));
    assert_eq!(floor.scheduler.held(), 7, "what never fits drives nobody out");
    floor.push(work(10, 2, Stream { text: 40_000, ..BULK }, at(10)));
    assert_eq!(floor.scheduler.held(), 7, "a less urgent one drives nobody out");
    floor.push(work(11, 3, Stream { text: 40_000, ..ALARM }, at(11)));
    let tally = floor.scheduler.tally();
    assert_eq!((floor.scheduler.held(), tally.dropped(DropReason::QueueFull)), (7, 5));
    assert!(floor.scheduler.fullness() > 0.8 && floor.scheduler.held_bytes() <= Bytes(100_000));
}

#[test]
fn at_the_end_nothing_waits_for_others_or_for_processor_time() {
    let mut floor = Floor::new(config(64), &[(1_000, 0), (1_000, 0)]);
    floor.set_budget(Budget { gather: Duration::from_secs(9), ..limited(0) });
    (0..5).for_each(|number| floor.push(work(number, 0, NORMAL, Uptime::ZERO)));
    floor.until(at(3_000));
    assert_eq!(floor.done.len(), 0);
    floor.scheduler.drain();
    floor.until(at(4_000));
    assert_eq!(floor.useful(0), 5);
}

#[test]
fn work_of_a_model_whose_turn_it_is_not_waits_and_holds_nobody_up() {
    let mut scheduler = Scheduler::new(config(16));
    let mut lost = Vec::new();
    for number in 0..4 {
        let stream = if number % 2 == 0 { NORMAL } else { BULK };
        scheduler.push(work(number, stream.model, stream, at(u64::from(number))), &mut |_| {});
    }
    let away = |from: u64| [None, Some(at(from)), None].into();
    scheduler.set_turns(away(5_000));
    let mut next = |scheduler: &mut Scheduler, now| {
        let batch = scheduler.next_batch(at(now), &mut |work| lost.push(number(&work)))?;
        let found: Vec<u32> = batch.work.iter().map(number).collect();
        Some((batch, found))
    };
    let (first, found) = next(&mut scheduler, 100).unwrap();
    assert_eq!(found, [1], "bulk, although normal work waits: its model is away");
    scheduler.settle(first, Duration::ZERO, at(100));
    let mut since = Vec::new();
    scheduler.waiting(&mut since);
    assert_eq!(since, [None, Some(at(0)), None]);
    let (second, found) = next(&mut scheduler, 101).unwrap();
    assert_eq!((found, scheduler.poll_timeout()), (vec![3], Some(at(5_000))));
    scheduler.settle(second, Duration::ZERO, at(101));
    assert!(next(&mut scheduler, 4_999).is_none());
    let (early, found) = next(&mut scheduler, 5_000).unwrap();
    assert_eq!(found, [0]);
    // Somebody else had been quicker.
    scheduler.set_turns(away(9_000));
    scheduler.put_back(early, at(5_001), &mut |_| panic!("there is room"));
    assert!(next(&mut scheduler, 5_001).is_none());
    assert!((scheduler.held(), scheduler.tally().passed) == (2, 2) && scheduler.tally().balances(2));
    let order = [9_000, 9_001].map(|now| {
        let (batch, found) = next(&mut scheduler, now).unwrap();
        scheduler.settle(batch, Duration::ZERO, at(now));
        found
    });
    assert_eq!(order, [[0], [2]], "in its place");
    assert!(lost.is_empty());
}

#[test]
fn batches_of_one_stream_that_come_back_in_any_order_stand_in_their_order_again() {
    for returned in [[0, 1], [1, 0]] {
        let mut config = config(16);
        config.batch_max = vec![BATCH_MIN; 4];
        let mut scheduler = Scheduler::new(config);
        let pieces = 2 * BATCH_MIN as u32;
        (0..=pieces).for_each(|index| {
            scheduler.push(work(index, 0, NORMAL, at(u64::from(index))), &mut |_| {});
        });
        let give = |scheduler: &mut Scheduler| scheduler.next_batch(at(100), &mut |_| panic!("in time"));
        let mut given = [give(&mut scheduler), give(&mut scheduler)];
        assert_eq!(scheduler.held(), 1);
        for index in returned {
            scheduler.put_back(given[index].take().unwrap(), at(100), &mut |_| panic!("there is room"));
        }
        let mut order = Vec::new();
        while let Some(batch) = give(&mut scheduler) {
            order.extend(batch.work.iter().map(number));
            scheduler.settle(batch, Duration::ZERO, at(100));
        }
        assert_eq!(order, (0..=pieces).collect::<Vec<_>>(), "{returned:?}");
    }
}

#[test]
fn work_that_waits_for_processor_time_is_asked_for_again_while_an_alarm_waits_for_its_model() {
    let mut scheduler = Scheduler::new(config(16));
    scheduler.set_budget(limited(500));
    scheduler.push(work(0, 0, NORMAL, at(0)), &mut |_| {});
    let batch = scheduler.next_batch(at(0), &mut |_| {}).unwrap();
    scheduler.settle(batch, Duration::from_secs(1), at(0));
    scheduler.set_turns([Some(Uptime(u64::MAX)), None].into());
    scheduler.push(work(1, 1, ALARM, at(1)), &mut |_| {});
    scheduler.push(work(2, 0, NORMAL, at(1)), &mut |_| {});
    assert!(scheduler.next_batch(at(1), &mut |_| {}).is_none(), "one is away, the other has spent too much");
    let again = scheduler.poll_timeout().unwrap();
    assert!(again > at(999) && again < at(1_002), "{again:?}");
    assert!(scheduler.next_batch(again, &mut |_| {}).is_some());
}

#[test]
fn a_stream_that_floods_gives_way_also_while_batches_would_hold_alarms_up() {
    let brief = Stream { deadline: Duration::from_secs(1), ..NORMAL };
    let mut floor = Floor::new(config(256), &[(0, 0), (3_000, 16_000)]);
    // A batch of eight takes 40 ms, one alone 19 ms: it is known what batches save.
    floor.set_budget(Budget { gather: Duration::from_secs(1), ..Budget::NOMINAL });
    (0..9).for_each(|number| floor.push(work(number, 1, NORMAL, at(0))));
    floor.until(at(2_000));
    assert_eq!(floor.runs.iter().map(|run| run.pieces).collect::<Vec<_>>(), [8, 1]);
    floor.set_budget(Budget::NOMINAL);
    // On the slowed chip it would take 100 ms: each goes alone, in 47 ms.
    floor.throttle(0.4, true);
    (0..40).for_each(|number| floor.push(work(number, 1, brief, at(2_000))));
    (0..2).for_each(|number| floor.push(work(number, 2, brief, at(2_001))));
    floor.until(at(5_000));
    assert_eq!(floor.useful(2), 2, "{:?}", floor.done);
    assert_eq!(floor.late(), 0);
}

#[test]
fn work_that_comes_back_unbegun_has_cost_no_processor_time() {
    let mut config = config(16);
    config.costs = vec![None, Some(Duration::from_millis(100))];
    let mut scheduler = Scheduler::new(config);
    scheduler.set_budget(limited(500));
    scheduler.push(work(0, 0, NORMAL, at(0)), &mut |_| {});
    for turn in 0..20 {
        let batch = scheduler.next_batch(at(0), &mut |_| {});
        let batch = batch.unwrap_or_else(|| panic!("nothing was spent in {turn} turns"));
        scheduler.put_back(batch, at(0), &mut |_| panic!("there is room"));
    }
}
