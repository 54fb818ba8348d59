//! What the session must know after a restart, in the few bytes the outbox keeps for it.
//!
//! `[version u8][failures u32][not before i64, µs][handshake u64][float u64][taken over u64]`, four times
//! `[day i64][granted u64]`, then per lane `[first u64][last u64][weight u8][losses and flags u8]`; little-endian.

use crate::forward::Day;
use crate::forward::ledger::DAYS;
use crate::forward::poison::Suspect;
use crate::forward::session::LANES;

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::forward) struct Note {
    /// Failures to connect since it last worked.
    pub failures: u32,
    /// Wall time of the next attempt, µs.
    pub not_before: i64,
    /// Bytes of the dearest handshake.
    pub handshake: u64,
    pub granted: Granted,
    pub suspects: [Option<Suspect>; LANES],
}

/// What counts as used after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forward) struct Granted {
    pub days: [(Day, u64); DAYS],
    /// What a day begins with that is not among them.
    pub float: u64,
    /// What the account of the unknown day took over.
    pub taken_over: u64,
}

const VERSION: u8 = 1;

/// Bits beside the losses of a suspicion.
const NARROWED: u8 = 0x80;
const PROOF: u8 = 0x40;
const LOSSES: u8 = 0x3f;

fn flags(suspect: &Suspect) -> u8 {
    let narrowed = if suspect.narrowed { NARROWED } else { 0 };
    let proof = if suspect.proof { PROOF } else { 0 };
    (suspect.losses & LOSSES) | narrowed | proof
}

impl Default for Note {
    fn default() -> Self {
        let granted = Granted { days: [(Day(i64::MAX), 0); DAYS], float: 0, taken_over: 0 };
        Self { failures: 0, not_before: i64::MIN, handshake: 0, granted, suspects: [None; LANES] }
    }
}

impl Note {
    /// The bytes to keep.
    pub(in crate::forward) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.failures.to_le_bytes());
        bytes.extend_from_slice(&self.not_before.to_le_bytes());
        for number in [self.handshake, self.granted.float, self.granted.taken_over] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for (day, granted) in self.granted.days {
            bytes.extend_from_slice(&day.0.to_le_bytes());
            bytes.extend_from_slice(&granted.to_le_bytes());
        }
        for suspect in self.suspects {
            let suspect = suspect.unwrap_or_default();
            bytes.extend_from_slice(&suspect.first.to_le_bytes());
            bytes.extend_from_slice(&suspect.last.to_le_bytes());
            bytes.extend_from_slice(&[suspect.weight, flags(&suspect)]);
        }
        bytes
    }

    /// Reads them again; `None` when they are no note of this version.
    pub(in crate::forward) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [version] = take(&mut rest)?;
        if version != VERSION {
            return None;
        }
        let failures = u32::from_le_bytes(take(&mut rest)?);
        let not_before = i64::from_le_bytes(take(&mut rest)?);
        let number = |rest: &mut &[u8]| take(rest).map(u64::from_le_bytes);
        let (handshake, float) = (number(&mut rest)?, number(&mut rest)?);
        let taken_over = number(&mut rest)?;
        let mut days = [(Day(i64::MAX), 0); DAYS];
        for (day, granted) in &mut days {
            *day = Day(i64::from_le_bytes(take(&mut rest)?));
            *granted = number(&mut rest)?;
        }
        let mut suspects = [None; LANES];
        for suspect in &mut suspects {
            let (first, last) = (number(&mut rest)?, number(&mut rest)?);
            let [weight, flags] = take(&mut rest)?;
            let (narrowed, proof, losses) = (flags & NARROWED != 0, flags & PROOF != 0, flags & LOSSES);
            let is_one = losses > 0 && first <= last;
            *suspect = is_one.then_some(Suspect { first, last, losses, weight, narrowed, proof });
        }
        let granted = Granted { days, float, taken_over };
        Some(Self { failures, not_before, handshake, granted, suspects })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_as_it_was_and_fits_its_place() {
        let note = Note {
            failures: 7,
            not_before: -3,
            handshake: 5_000,
            granted: Granted {
                days: [(Day(1), 2), (Day::UNSET, 3), (Day(-4), 5), (Day(i64::MAX), 0)],
                float: 9,
                taken_over: 1,
            },
            suspects: [
                None,
                Some(Suspect { first: 3, last: 9, weight: 4, losses: 2, narrowed: true, proof: false }),
                None,
            ],
        };
        let bytes = note.encode();
        assert!(bytes.len() <= 400, "{}", bytes.len());
        assert_eq!(Note::decode(&bytes), Some(note));
        for cut in 0..bytes.len() {
            assert_eq!(Note::decode(&bytes[..cut]), None);
        }
        assert_eq!(Note::decode(&[9; 400]), None, "of another version");
    }
}
