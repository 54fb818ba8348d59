//! Row LINK of the fault matrix: the service's own forward path over bad links, by a clock that the test owns.
//!
//! Everything between the outbox on disk and the broker is the real thing: outbox, session, MQTT client; only the sockets are in
//! memory (`tests/support/wire.rs`), because a busy kernel delivers late, and the wall time is the test's as well. The link is `tests/support/chaos_proxy.rs`, the broker `tests/support/far_broker.rs`; all of it runs on one executor
//! whose clock stands still while anything can go on. `cargo test --lib link_tests -- --nocapture` prints the matrix;
//! `LINK_SEED=n` runs it with another seed, `LINK_FULL=1` resets at every byte instead of every 13th and draws 1,000
//! mixtures instead of 30.

#[path = "../../../tests/support/chaos_proxy.rs"]
mod chaos_proxy;
#[path = "../../../tests/support/far_broker.rs"]
mod far_broker;
mod rig;
mod shown;
#[path = "../../../tests/support/wire.rs"]
mod wire;

use std::time::Duration;

use tokio::time::Instant;

use self::chaos_proxy::{Blow, Split, Weather};
use self::far_broker::Manner;
use self::rig::{Case, Ends, WALL};
use self::shown::{CLOCK_TICK, Shown};
use crate::clock::ClockQuality;
use crate::flow::{Change, EventId, Facts, Named, Outbound, Priority, StreamKind, When};
use crate::forward::ForwardConfig;

fn virtual_now() -> std::time::Instant {
    Instant::now().into_std()
}

/// A value that compresses like one of a plant: three decimals, of which two are noise.
fn reading(name: &str, number: u64) -> Named {
    let noise =
        fastrand::Rng::with_seed(number ^ name.len() as u64 ^ u64::from(name.as_bytes()[0]) << 20).u32(..200);
    Named { name: name.into(), value: (40_000 + noise) as f32 / 1_000.0 }
}

fn event(number: u64, historical: bool) -> Outbound {
    Outbound::passed(Facts {
        id: EventId { epoch: 1, number },
        stream: "pump".into(),
        kind: StreamKind::Sensor,
        when: When::At(WALL.after(Duration::from_mins(number))),
        clock: ClockQuality::Synced,
        model: "".into(),
        results: Vec::new(),
        features: ["ts1.mean", "vs1.rms", "ce.mean", "ps1.p95"].map(|name| reading(name, number)).into(),
        entities: Vec::new(),
        extraction: None,
        completeness: Some(1.0),
        change: Change::New,
        priority: Priority::Normal,
        historical,
        summary: None,
    })
}

/// All runs, which takes minutes, instead of a part.
fn is_full() -> bool {
    std::env::var_os("LINK_FULL").is_some()
}

fn seed() -> u64 {
    std::env::var("LINK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_120)
}

fn weather(round_trip: f64, rate: u32) -> Weather {
    let round_trip = Duration::from_secs_f64(round_trip);
    Weather { round_trip, rate: Some(rate), split: Split::Whole, stall: None }
}

fn links() -> impl Iterator<Item = (f64, u32)> {
    [0.6, 2.0, 5.0, 10.0, 20.0].into_iter().flat_map(|rtt| [2_400, 9_600, 64_000].map(|rate| (rtt, rate)))
}

/// The time until half-open must be noticed: the issue's own bound.
fn noticed_within(case: &Case) -> Duration {
    case.keep_alive.mul_f64(1.5) + case.weather.round_trip
}

#[tokio::test(start_paused = true)]
async fn every_event_arrives_once_over_every_link() {
    println!("LINK seed {}; overhead: bytes both ways beyond the batches that brought something new", seed());
    for (round_trip, rate) in links() {
        let weather = weather(round_trip, rate);
        let drain = Case { weather, backlog: 2_000, live: 0, ..Case::default() };
        let live = Case { weather, backlog: 0, ..Case::default() };
        for (what, case, overhead_max) in [("backlog", drain, 25.0), ("live", live, f64::MAX)] {
            let wanted = case.backlog + case.live;
            let shown = Ends::run(case, seed()).await;
            println!(
                "LINK rtt {round_trip:>4} s, {:>4.1} kbit/s, {what:<7}: {wanted} events in {:>6.1} s, {} connect, {} twice, \
                 {:>5} bytes in batches, overhead {:.1} %",
                f64::from(rate) / 1000.0,
                shown.took.as_secs_f64(),
                shown.passages.len(),
                shown.twice(),
                shown.new_bytes,
                shown.overhead(),
            );
            shown.check(what);
            assert_eq!((shown.twice(), shown.passages.len()), (0, 1));
            assert!(shown.overhead() <= overhead_max);
        }
    }
}

/// Stalls, resets, silence and forgetful brokers over every link; each with seeds of its own.
#[tokio::test(start_paused = true)]
async fn every_event_arrives_once_whatever_befalls_the_link() {
    let silence = Duration::from_mins(10);
    for (name, fault) in [
        (
            "stalls up to 40 s",
            &(|case: &mut Case| case.weather.stall = Some(Duration::from_secs(40))) as &dyn Fn(&mut Case),
        ),
        ("every byte by itself", &|case| case.weather.split = Split::Bytes),
        ("acknowledged twice", &|case| case.manner = Manner::Twice),
        ("5 resets", &|case| {
            case.blows = vec![
                Blow::ResetUp(300),
                Blow::ResetDown(5),
                Blow::ResetUp(9),
                Blow::ResetUp(700),
                Blow::ResetDown(12),
            ];
        }),
        ("half-open for 10 min, twice", &|case| {
            case.blows = vec![Blow::HalfOpen(400, silence), Blow::HalfOpen(100, silence)];
        }),
        ("broker forgets 5 times", &|case| case.amnesia = vec![3, 4, 20, 40, 55]),
    ] {
        let (mut twice, mut connects, mut slowest, mut believed) = (0, 0, Duration::ZERO, Duration::ZERO);
        for ((round_trip, rate), offset) in links().zip(0..) {
            let mut case = Case { weather: weather(round_trip, rate), ..Case::default() };
            fault(&mut case);
            let limit = noticed_within(&case);
            let shown = Ends::run(case, seed() + offset).await;
            let what = format!("{name}, rtt {round_trip} s, {rate} bit/s, seed {}", seed() + offset);
            shown.check(&what);
            if let Some(took) = shown.believed() {
                assert!(
                    took <= limit,
                    "{what}: half-open believed for {took:?}, not {limit:?}: {:#?}",
                    shown.passages
                );
                believed = believed.max(took);
            }
            twice += shown.twice();
            connects += shown.passages.len();
            slowest = slowest.max(shown.took);
        }
        println!(
            "LINK {name}: 15 links, {} events, 0 lost, {twice} came again, {connects} connects, slowest {:.0} s, \
             half-open believed for at most {:.0} s",
            15 * 360,
            slowest.as_secs_f64(),
            believed.as_secs_f64(),
        );
    }
}

/// A run of a few events, for rows of hundreds of runs.
fn short() -> Case {
    Case { backlog: 40, live: 3, ..Case::default() }
}

/// The stream is cut in two at each of its first bytes, and a reset falls at each of them: in the welcome, in the
/// header of a publish, in its payload, in an acknowledgement.
#[tokio::test(start_paused = true)]
async fn a_cut_or_a_reset_at_any_byte_loses_nothing() {
    let clean = Ends::run(short(), seed()).await;
    clean.check("clean");
    let (up, down) = (clean.passages[0].up, clean.passages[0].down);
    let (mut runs, mut twice) = (0, 0);
    let step = if is_full() { 1 } else { 13 };
    for (what, bytes, case) in [
        (
            "cut at byte",
            up.max(down),
            &(|at| Case { weather: Weather { split: Split::At(at), ..short().weather }, ..short() })
                as &dyn Fn(u64) -> Case,
        ),
        ("reset up at byte", up, &|at| Case { blows: vec![Blow::ResetUp(at)], ..short() }),
        ("reset down at byte", down, &|at| Case { blows: vec![Blow::ResetDown(at)], ..short() }),
    ] {
        for at in (0..bytes).step_by(step) {
            let shown = Ends::run(case(at), seed() + at).await;
            shown.check(&format!("{what} {at}"));
            runs += 1;
            twice += shown.twice();
        }
        println!("LINK {what} 0 to {}, each {step}. of them: nothing lost", bytes - 1);
    }
    println!("LINK byte by byte: {runs} runs of 43 events, 0 lost, {twice} came again");
}

/// Weather, blows and forgetful brokers drawn by lot.
#[tokio::test(start_paused = true)]
async fn every_event_arrives_once_in_any_mixture_of_faults() {
    let (mut twice, mut connects) = (0, 0);
    let mixtures = if is_full() { 1_000 } else { 30 };
    for seed in (seed()..).take(mixtures) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut case = Case::default();
        let (round_trip, rate) = links().nth(random.usize(..15)).unwrap();
        case.weather = weather(round_trip, rate);
        case.weather.stall = random.bool().then(|| Duration::from_secs(random.u64(1..60)));
        case.weather.split = [Split::Whole, Split::Bytes, Split::At(random.u64(1..2_000))][random.usize(..3)];
        case.blows = (0..random.u32(..6))
            .map(|_| match random.u8(..5) {
                0 => Blow::HalfOpen(random.u64(..3_000), Duration::from_secs(random.u64(1..900))),
                1 | 2 => Blow::ResetDown(random.u64(..200)),
                _ => Blow::ResetUp(random.u64(..4_000)),
            })
            .collect();
        case.amnesia = (0..random.u32(..4)).map(|_| random.u64(1..60)).collect();
        case.manner = if random.bool() { Manner::Once } else { Manner::Twice };
        let shown = Ends::run(case, seed).await;
        shown.check(&format!("LINK_SEED={seed}"));
        twice += shown.twice();
        connects += shown.passages.len();
    }
    println!(
        "LINK mixtures: {mixtures} seeds from {}, {} events, 0 lost, {twice} came again, {connects} connects",
        seed(),
        360 * mixtures
    );
}

/// Whatever else the machine does: nothing here waits for anything that is not of the run.
#[tokio::test(start_paused = true)]
async fn the_same_seed_shows_the_same() {
    let storm = || Case {
        weather: Weather { stall: Some(Duration::from_secs(20)), split: Split::Bytes, ..weather(2.0, 9_600) },
        blows: vec![Blow::ResetUp(300), Blow::HalfOpen(400, Duration::from_mins(3)), Blow::ResetDown(9)],
        amnesia: vec![5, 30],
        ..Case::default()
    };
    let (first, second) = (Ends::run(storm(), seed()).await, Ends::run(storm(), seed()).await);
    let way = |shown: &Shown| shown.passages.iter().map(|way| (way.up, way.down)).collect::<Vec<_>>();
    assert_eq!((&first.arrived, way(&first)), (&second.arrived, way(&second)));
    assert!(first.took.abs_diff(second.took) <= CLOCK_TICK, "{:?} and {:?}", first.took, second.took);
}

/// The rows must see what they are for.
#[tokio::test(start_paused = true)]
async fn planted_bugs_are_seen() {
    // A broker that acknowledges and throws away: to the gateway all is well.
    let lost = Ends::run(Case { manner: Manner::Lying, ..short() }, seed()).await.astray();
    assert!(!lost.is_empty(), "a lost event is not seen");

    // No acknowledgement is missed and no ping: half-open is believed for hours.
    let deaf = ForwardConfig { ack_timeout: Duration::from_hours(3), ..ForwardConfig::default() };
    let blind = Case {
        blows: vec![Blow::HalfOpen(100, Duration::from_mins(10))],
        config: deaf,
        keep_alive: Duration::from_hours(2),
        ..short()
    };
    let limit = noticed_within(&Case::default());
    let believed = Ends::run(blind, seed()).await.believed();
    assert!(believed.is_some_and(|took| took > limit), "{believed:?}");

    // A back-off of next to nothing.
    let hasty = ForwardConfig { backoff_min: Duration::from_millis(10), ..ForwardConfig::default() };
    let blows = vec![Blow::ResetUp(9); 40];
    let hasty = Ends::run(Case { blows, config: hasty, ..short() }, seed()).await.hasty();
    assert!(hasty > 0, "hasty attempts are not seen");
    println!(
        "LINK planted bugs: caught, 3 of 3 ({} events lost, half-open believed for {believed:?}, {hasty} hasty attempts)",
        lost.len()
    );
}
