//! Brokers that lie, stall, flood and break the rules: nothing panics, nothing counts as acknowledged that was not,
//! memory stays bounded, every wait ends, and the error says which broker and what to do.
//!
//! The broker is a script, the socket is memory and time is the test's own, so hours pass in milliseconds. Random cases
//! come from `HOSTILE_SEED`, or from a fixed seed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers fail by panicking, and the counts are for people"
)]

#[path = "mqtt_hostile/broker.rs"]
mod broker;
#[path = "mqtt_hostile/case.rs"]
mod case;
#[path = "mqtt_hostile/client.rs"]
mod client;
#[path = "mqtt_hostile/conversations.rs"]
mod conversations;
#[path = "mqtt_hostile/garbage.rs"]
mod garbage;
#[path = "mqtt_hostile/judge.rs"]
mod judge;
#[path = "mqtt_hostile/welcomes.rs"]
mod welcomes;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::broker::Planted;
use crate::case::Case;

/// The seed unless another is asked for.
const SEED: u64 = 20_261_120;

fn seed() -> u64 {
    std::env::var("HOSTILE_SEED").ok().map_or(SEED, |seed| seed.parse().expect("HOSTILE_SEED is a number"))
}

fn bank() -> Vec<Case> {
    [welcomes::cases(), conversations::cases(), garbage::cases(seed())].concat()
}

/// Longest time a case may take by the clock on the wall: a client that spins would take for ever.
const SPIN_MAX: Duration = Duration::from_mins(2);

/// Plays on a thread of its own, and names the case that does not end.
fn play(cases: Vec<Case>, planted: Planted) -> (Vec<String>, String) {
    let (tell, told) = mpsc::channel();
    let player = std::thread::spawn(move || play_all(&cases, planted, &tell));
    let mut last = String::new();
    loop {
        match told.recv_timeout(SPIN_MAX) {
            Ok(name) => last = name,
            Err(RecvTimeoutError::Disconnected) => return player.join().unwrap(),
            Err(RecvTimeoutError::Timeout) => panic!("{last:?} does not end"),
        }
    }
}

/// What is wrong with each case, and what came of it all together.
fn play_all(cases: &[Case], planted: Planted, tell: &mpsc::Sender<String>) -> (Vec<String>, String) {
    let (mut wrong, mut ended, mut acked, mut messages, mut most) = (Vec::new(), 0, 0, 0, 0);
    for case in cases {
        tell.send(format!("{} ({:?})", case.name, case.protocol)).unwrap();
        let outcome = client::run(case, planted);
        ended += u64::from(outcome.error.is_some());
        acked += outcome.acked.len();
        messages += outcome.messages;
        most = most.max(outcome.bytes_max);
        if let Err(fault) = judge::judge(case, &outcome) {
            wrong.push(format!("{} ({:?}): {fault}", case.name, case.protocol));
        }
    }
    let counts = format!(
        "{} cases, {ended} connections ended by fault, {messages} messages taken, {acked} publishes acknowledged, \
         {most} bytes of memory at most",
        cases.len()
    );
    (wrong, counts)
}

#[test]
fn no_broker_of_the_bank_harms_us() {
    let cases = bank();
    assert!(cases.len() >= 300);
    let (wrong, counts) = play(cases, Planted::Nothing);
    println!("MQ-HOSTILE-BROKER seed {}: {counts}, {} wrong", seed(), wrong.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs the bank against a client with a planted bug: it must be found, by what it does wrong.
fn caught(planted: Planted, symptom: &str) {
    let (wrong, _) = play(conversations::cases(), planted);
    let found = wrong.iter().filter(|fault| fault.contains(symptom)).count();
    println!("MQ-HOSTILE-BROKER seed {}, {planted:?} planted: caught by {found} cases", seed());
    assert!(found > 0, "not caught; {} others wrong", wrong.len());
}

#[test]
fn a_client_that_takes_any_acknowledgement_is_caught() {
    caught(Planted::AnyAck, "no PUBACK says so");
}

#[test]
fn a_client_without_a_size_limit_is_caught() {
    caught(Planted::NoSizeLimit, "bytes of memory");
}

#[test]
fn a_client_that_waits_for_ever_is_caught() {
    caught(Planted::NoPing, "it took");
}
