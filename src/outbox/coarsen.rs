//! How old records are drawn together when space runs short: the seam to whoever understands them.

use crate::clock::EventTime;
use crate::units::Bytes;

/// Draws records together into fewer and shorter ones. The outbox does not know what is in them.
///
/// One value serves one segment after another: behind [`Coarsen::finish`] it is empty again.
pub trait Coarsen {
    /// Takes one record, in the order of the lane. Nothing is lost yet: if space runs out, or too little is gained, the
    /// records stay as they are.
    fn take(&mut self, payload: &[u8], at: EventTime);

    /// Gives what is left of everything taken since the last time, at least one record if any was taken: each is
    /// appended to the end of the same lane, and all of them take the place of what was taken at once, in one instant. A
    /// record that cannot be drawn together is given as it came.
    fn finish(&mut self, emit: &mut dyn FnMut(&[u8], EventTime));
}

/// What became of an attempt to draw the oldest segment of a lane together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Coarsened {
    /// Fewer bytes stand for the same story, durably.
    Done {
        /// Records taken.
        taken: u64,
        /// Records that stand for them now.
        emitted: u64,
        /// Space that is free now.
        freed: Bytes,
    },
    /// The records would hardly become shorter: the caller drops the oldest instead.
    NoGain,
    /// The lane has no sealed segment, or the disk does not take anything now.
    Nothing,
}
