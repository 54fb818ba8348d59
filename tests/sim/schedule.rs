//! What happens when: a heap of happenings ordered by time, ties broken by the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tidegate::clock::Uptime;

/// Something that happens at a moment. Those that belong to a boot or a connection name it, and are void after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    /// The gateway gets its power, or its process is started.
    Boot,
    /// The shells look at their timers.
    Tick { boot: u32 },
    /// A source of a stream sends samples.
    Sensor { stream: u16, asset: u32 },
    /// A person writes a report.
    Report,
    /// The fake engine has finished its oldest piece of work.
    Judged { boot: u32 },
    /// The group commit is due.
    Sync { boot: u32 },
    /// The forwarder hears what is durable.
    Told { boot: u32 },
    /// The broker answers an attempt to connect.
    Welcome { connection: u32 },
    /// Nobody answers.
    NoAnswer { connection: u32 },
    /// A batch arrives at the broker.
    Arrive { boot: u32, connection: u32, token: u64 },
    /// An acknowledgement arrives at the gateway, perhaps on a later connection than it belongs to.
    Ack { boot: u32, token: u64 },
    /// The broker does not take a batch, perhaps because of what is in it.
    Refuse { connection: u32, token: u64, content: bool },
    /// A fault of the plan begins or ends.
    Fault { index: usize, begins: bool },
    /// The plant falls silent.
    Quiet,
}

/// The heap.
pub(crate) struct Schedule {
    heap: BinaryHeap<Reverse<(u64, u32, u64, Happening)>>,
    random: fastrand::Rng,
    count: u64,
    pub(crate) now: Uptime,
}

impl Schedule {
    pub(crate) fn new(random: fastrand::Rng) -> Self {
        Self { heap: BinaryHeap::new(), random, count: 0, now: Uptime::ZERO }
    }

    /// Adds a happening so many milliseconds from now.
    pub(crate) fn after(&mut self, ms: u64, happening: Happening) {
        self.count += 1;
        let at = self.now.0 + ms * 1_000_000;
        self.heap.push(Reverse((at, self.random.u32(..), self.count, happening)));
    }

    /// The next happening; the time is its time.
    pub(crate) fn next(&mut self) -> Option<Happening> {
        let Reverse((at, _, _, happening)) = self.heap.pop()?;
        self.now = Uptime(at);
        Some(happening)
    }
}
