//! What the windower notices besides what it drops.

/// Counters since the start, beside the tally of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// Windows emitted.
    pub windows: u64,
    /// Of those, closed before their time: the source fell silent or the gateway stopped.
    pub partial: u64,
    /// Windows of a known source that held nothing and were not emitted.
    pub empty: u64,
    /// Samples filed before one already there, inside the lateness.
    pub reordered: u64,
    /// Stamps from the future that were moved to the present.
    pub clamped: u64,
    /// Places where more than three periods lie between neighbours of a channel, over all windows.
    pub gaps: u64,
}
