//! Brokers that say anything: random bytes, and good conversations with a few bytes changed.

use tidegate::io::mqtt::Protocol;

use crate::broker::Act;
use crate::case::{Case, Expect, answers, message, met, opened, then, welcome};

/// Cases of each kind and version.
const EACH: usize = 150;

pub(crate) fn cases(seed: u64) -> Vec<Case> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cases = Vec::new();
    for protocol in [Protocol::V5, Protocol::V311] {
        for number in 0..EACH {
            let noise = noise(&mut random);
            let first = then(opened(), [Act::Say(noise.clone()), Act::Serve]);
            cases.push(Case::new(format!("noise {number} first"), protocol, Expect::Anything, first));
            let later = then(met(protocol), [Act::Say(noise), Act::Serve]);
            cases.push(Case::new(format!("noise {number} later"), protocol, Expect::Anything, later));
            let bent = bent(&welcome(protocol), &mut random);
            let script = then(opened(), [Act::Say(bent), Act::Say(answers(protocol)), Act::Serve]);
            cases.push(Case::new(format!("bent welcome {number}"), protocol, Expect::Anything, script));
            let long = message(protocol, Some(7), &[b'p'; 300]);
            let bent = bent_often(&[answers(protocol), long].concat(), &mut random);
            let script = then(met(protocol), [Act::Say(bent), Act::Serve]);
            cases.push(Case::new(format!("bent answers {number}"), protocol, Expect::Anything, script));
        }
    }
    cases
}

/// Random bytes; half of them begin like a packet a broker may send.
fn noise(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..random.usize(1..200)).map(|_| random.u8(..)).collect();
    if random.bool() {
        bytes[0] = [0x20, 0x30, 0x31, 0x32, 0x3b, 0x40, 0x90, 0xd0, 0xe0][random.usize(..9)];
        if let Some(length) = bytes.get_mut(1) {
            *length &= 0x7f;
        }
    }
    bytes
}

/// One byte changed, lost or doubled.
fn bent(bytes: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = random.usize(..bytes.len());
    match random.u8(..3) {
        0 => bytes[at] = random.u8(..),
        1 => drop(bytes.remove(at)),
        _ => bytes.insert(at, bytes[at]),
    }
    bytes
}

fn bent_often(bytes: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    (0..random.usize(1..4)).fold(bytes.to_vec(), |bytes, _| bent(&bytes, random))
}
