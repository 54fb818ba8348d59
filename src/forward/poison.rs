//! Records at which connections die: found by halving what was under way, and set aside.
//!
//! # How
//! 1. A connection that has proven itself ends while batches of a lane are under way: their numbers are under suspicion.
//! 2. It happens again before they are through: they go one batch at a time, with nothing else on the link.
//! 3. A batch at which the connection dies alone is halved, until one record is left. When the losses that befell this record
//!    weigh enough, and another of its lane has arrived meanwhile, it is set aside.
//!
//! A link that is merely bad dies at different records, and what arrives in between is no longer suspected. A broker that takes
//! nothing on this topic, for want of a right to publish there, condemns no record: none arrives as the proof.

/// Records of a lane under suspicion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::forward) struct Suspect {
    /// The first and the last of them.
    pub first: u64,
    pub last: u64,
    /// Connections lost at it.
    pub losses: u8,
    /// What those weigh that befell one single record alone on the link.
    pub weight: u8,
    /// A batch with nothing but these died alone: the culprit is among them.
    pub narrowed: bool,
    /// Something else of the lane has arrived since.
    pub proof: bool,
}

/// How much a loss says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forward) enum Weight {
    /// The connection had not proven itself: nothing, but the next one has to before these are sent.
    Nothing = 0,
    /// The link ended without a word: it may have been the link.
    Silence = 1,
    /// The broker hung up, or said that it does not take this.
    Word = 6,
}

/// Two words, a word and six silences, or twelve silences, with the record alone on the link: a broker that forgets every
/// other acknowledgement goes on with one more of them for quite a while. The first loss, in company, makes three tries.
const WEIGHT_MAX: u8 = 12;
const LOSSES_CULPRIT: u8 = 3;

/// Losses are counted so far; six bits of a note.
const LOSSES_MAX: u8 = 63;

/// A record among a thousand is found within so many losses; after that there is no hurry.
const LOSSES_FRESH: u8 = 16;

/// Losses after which batches go alone.
const LOSSES_ALONE: u8 = 2;

impl Suspect {
    /// The suspicion after a loss while records of the lane from `first` to `last` were under way, `alone` on the link.
    pub(in crate::forward) fn after_loss(
        known: Option<Self>,
        (first, last): (u64, u64),
        alone: bool,
        weight: Weight,
    ) -> Self {
        let known = known.filter(|known| first <= known.last && last >= known.first);
        let known = known.unwrap_or(Self { first, last, ..Self::default() });
        // Alone it can only have been one of these; else it may still be any of those known.
        let (first, last) = if alone { (first, last) } else { (known.first, known.last) };
        let before = if known.first == known.last { known.weight } else { 0 };
        Self {
            first,
            last,
            losses: if weight == Weight::Nothing {
                known.losses.max(1)
            } else {
                (known.losses + 1).min(LOSSES_MAX)
            },
            weight: if first != last {
                0
            } else if alone {
                before.saturating_add(weight as u8)
            } else {
                before
            },
            narrowed: known.narrowed || alone && known.losses > 0 && weight != Weight::Nothing,
            proof: known.proof,
        }
    }

    /// The suspicion after records have arrived.
    pub(in crate::forward) fn after_arrival(self, (first, last): (u64, u64)) -> Option<Self> {
        let from =
            if first <= self.first && last >= self.first { last.saturating_add(1) } else { self.first };
        (from <= self.last).then_some(Self { first: from, proof: true, ..self })
    }

    /// Whether its records go with nothing else on the link.
    pub(in crate::forward) fn goes_alone(&self) -> bool {
        // One record alone costs little.
        self.losses >= LOSSES_ALONE || self.first == self.last
    }

    /// Whether it is worth hurrying: it goes alone, and not for long yet.
    pub(in crate::forward) fn is_fresh(&self) -> bool {
        self.goes_alone() && self.losses < LOSSES_FRESH
    }

    /// Whether something else of the lane should be sent before these are tried again.
    pub(in crate::forward) fn wants_proof(&self) -> bool {
        self.first == self.last && self.goes_alone() && !self.proof
    }

    /// Whether a record is one of them.
    pub(in crate::forward) fn holds(&self, seq: u64) -> bool {
        (self.first..=self.last).contains(&seq)
    }

    /// Where a batch that starts at `from` has to end.
    pub(in crate::forward) fn upto(&self, from: u64) -> u64 {
        if !self.narrowed {
            return self.last;
        }
        let half = (self.last - self.first).div_ceil(2).max(1);
        self.last.min(from.saturating_add(half - 1))
    }

    /// The record, when it is found and has been tried often enough.
    pub(in crate::forward) fn culprit(&self) -> Option<u64> {
        (self.first == self.last
            && self.narrowed
            && self.proof
            && self.losses >= LOSSES_CULPRIT
            && self.weight >= WEIGHT_MAX)
            .then_some(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends records 1 to `count` to a broker that dies at one of them; losses until it is found.
    fn hunt(count: u64, poison: u64, batch: u64) -> (u64, u32) {
        let (mut suspect, mut next, mut losses): (Option<Suspect>, u64, u32) = (None, 1, 0);
        loop {
            if let Some(culprit) = suspect.and_then(|suspect| suspect.culprit()) {
                return (culprit, losses);
            }
            let alone = suspect.is_some_and(|suspect| suspect.goes_alone());
            if suspect.is_some_and(|suspect| suspect.wants_proof()) {
                suspect = suspect.and_then(|suspect| suspect.after_arrival((count + 1, count + 1)));
            }
            let from = next;
            let last = if alone {
                suspect.map_or(count, |suspect| suspect.upto(from)).min(from + batch - 1)
            } else {
                // A window of everything.
                count
            };
            if (from..=last).contains(&poison) {
                losses += 1;
                suspect = Some(Suspect::after_loss(suspect, (from, last), alone, Weight::Word));
            } else {
                next = last + 1;
                suspect = suspect.and_then(|suspect| suspect.after_arrival((from, last)));
            }
            assert!(losses < 30, "{suspect:?}");
        }
    }

    #[test]
    fn the_culprit_is_found_wherever_it_is() {
        let mut worst = 0;
        for count in [1, 2, 3, 7, 64, 256, 1_000] {
            for poison in (1..=count).step_by(usize::try_from(count / 60 + 1).unwrap()) {
                let (found, losses) = hunt(count, poison, 256);
                assert_eq!(found, poison);
                worst = worst.max(losses);
            }
        }
        println!("at most {worst} connections lost");
        assert!(worst <= 14);
        assert_eq!(hunt(1, 1, 256), (1, 3), "a single record is tried three times");
    }

    #[test]
    fn a_bad_link_that_lets_something_through_accuses_nobody() {
        let mut suspect = Some(Suspect::after_loss(None, (1, 10), false, Weight::Word));
        suspect = suspect.and_then(|suspect| suspect.after_arrival((1, 10)));
        assert_eq!(suspect, None);
        for _ in 0..11 {
            suspect = Some(Suspect::after_loss(suspect, (11, 11), true, Weight::Silence));
        }
        let condemned = |suspect: Option<Suspect>| suspect.and_then(|suspect| suspect.culprit());
        assert_eq!(condemned(suspect), None, "eleven silences are not enough");
        for _ in 0..5 {
            suspect = Some(Suspect::after_loss(suspect, (11, 11), true, Weight::Word));
        }
        assert_eq!(condemned(suspect), None, "nor is anything while nothing else arrives");
        let proven = suspect.and_then(|suspect| suspect.after_arrival((12, 12)));
        assert_eq!(condemned(proven), Some(11));
    }
}
