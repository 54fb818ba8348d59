//! The plan of faults: made from the seed before the run, over before its end.

/// Simulated time during which things go wrong, milliseconds.
pub(crate) const FAULTS_END: u64 = 30 * 60_000;

/// Ways in which the harness itself is wrong, to see that the checks notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Planted {
    #[default]
    Nothing,
    /// The disk does not sync segments.
    SyncIgnored,
    /// The directory is never synced.
    DirectoryIgnored,
    /// The broker acknowledges some batches it never delivers.
    AckWithoutDelivery,
    /// The shell moves the cursor to the end of any batch that is acknowledged.
    CursorJumps,
    /// The shell reads beyond what the session has asked for.
    UptoIgnored,
    /// The note is not there after a restart.
    NoteForgotten,
    /// The shell does not tell the session what the connection has carried.
    TrafficUncounted,
    /// Records at which connections die stay where they are.
    PoisonKept,
    /// The wrong record is set aside.
    NeighbourSetAside,
    /// The distiller's event numbers start again with each boot, as if the epoch were not durable.
    EpochForgotten,
    /// The shell drops an event without counting it when the outbox is busy.
    DroppedInSilence,
}

/// One fault, from when to when in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The broker is gone; the connection breaks.
    BrokerGone,
    /// The connection breaks once.
    Break,
    /// Acknowledgements are lost, doubled, or come after minutes.
    BadAcks,
    /// The broker refuses batches.
    Refusals,
    /// The broker forgets every session: what it has not acknowledged when the connection ends never arrived.
    Amnesia,
    /// The wall clock is off by so many seconds.
    Clock(i64),
    /// The wall clock has not been set.
    ClockUnset,
    /// No byte more fits on the disk.
    DiskFull,
    /// A sync fails once.
    SyncFails,
    /// The power goes, at this instant or during one of the next operations of the disk, and perhaps again at boot.
    PowerCut { operations: u8, again: Option<u8> },
    /// The process is killed; the disk keeps what it was told.
    Killed,
    /// The board is hot.
    Heat,
    /// Models take a minute.
    SlowModel,
    /// Models fail now and then.
    BadModel,
    /// Samples come out of order, twice, late, or with absurd stamps.
    BadSamples,
}

/// A plan for a seed.
pub(crate) fn plan(random: &mut fastrand::Rng) -> Vec<Fault> {
    let mut faults = Vec::new();
    for _ in 0..random.usize(2..14) {
        let from = random.u64(5_000..FAULTS_END - 60_000);
        let length = [2_000, 30_000, 120_000, 600_000, 1_500_000][random.usize(..5)];
        let to = (from + random.u64(1..=length)).min(FAULTS_END);
        let kind = match random.u8(..17) {
            0 | 1 => Kind::BrokerGone,
            2 => Kind::Break,
            3 | 4 => Kind::BadAcks,
            5 => [Kind::Refusals, Kind::Amnesia][random.usize(..2)],
            6 => Kind::Clock([-86_400 * 400, -3_600, -5, 90, 7_200, 86_400 * 60][random.usize(..6)]),
            7 => Kind::ClockUnset,
            8 => Kind::DiskFull,
            9 => Kind::SyncFails,
            10..=12 => {
                let again = random.bool().then(|| random.u8(..12));
                Kind::PowerCut { operations: random.u8(..20), again }
            }
            13 => Kind::Killed,
            14 => Kind::Heat,
            15 => {
                if random.bool() {
                    Kind::SlowModel
                } else {
                    Kind::BadModel
                }
            }
            _ => Kind::BadSamples,
        };
        faults.push(Fault { kind, from, to });
    }
    faults
}
