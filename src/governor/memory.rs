//! How much of the memory there is is used: the budget, the control group, the system, and the time lost waiting.

use crate::flow::{BudgetReason, GroupMemory, MemoryReading};
use crate::governor::demand::{Demand, HOT, WARM, scale};
use crate::units::Bytes;

const MIB: u64 = 1 << 20;

/// Shares of a limit at which the levels begin: the last seventh of it is where a load of a model or a burst fits.
const LIMIT: [f32; 3] = [0.85, 0.95, 1.0];

/// Shares of the last ten seconds in which some task waited for memory. A healthy board shows less than one in a
/// hundred; at one half it thrashes and the kernel is about to kill.
const STALLED: [f32; 3] = [0.1, 0.25, 0.5];

/// What the whole system has left, in MiB. Kernels of boards with 512 MB keep 8 to 16 MiB back and kill for them.
const AVAILABLE: [f32; 3] = [64.0, 40.0, 24.0];

/// Kept free below the limit of a control group, as a share of it: what the kernel books to a group without asking,
/// page tables and sockets, comes in leaps of megabytes.
const RESERVE_SHARE: u64 = 16;

/// The least that is kept free.
const RESERVE_MIN: Bytes = Bytes(4 * MIB);

/// Follows the memory.
#[derive(Debug)]
pub(crate) struct MemoryUse {
    budget: Bytes,
    /// What the control group had counted when last looked at.
    before: Option<GroupMemory>,
}

impl MemoryUse {
    pub(crate) fn new(budget: Bytes) -> Self {
        Self { budget, before: None }
    }

    /// Takes a reading.
    pub(crate) fn read(&mut self, memory: &MemoryReading) -> Demand {
        let own = scale(share(memory.used, self.budget), LIMIT);
        let group = memory.group.map_or(0.0, |group| self.group(group));
        let stalled = memory.stalled.map_or(0.0, |stalled| scale(stalled.get(), STALLED));
        let mib = |bytes: Bytes| bytes.0 as f32 / MIB as f32;
        let system = memory.available.map_or(0.0, |available| scale(mib(available), AVAILABLE));
        // Processor time frees no memory.
        Demand::leaving(1.0, own.max(group).max(stalled).max(system), BudgetReason::Memory)
    }

    fn group(&mut self, group: GroupMemory) -> f32 {
        let before = self.before.replace(group).unwrap_or(group);
        let used = group_limit(&group).map_or(0.0, |limit| scale(share(group.used, limit), LIMIT));
        // Meeting the limit with a cache that can be dropped is everyday life; with anything else it is the last
        // warning. A process killed beside us was ours.
        let warned = group.refused > before.refused && used >= WARM;
        if warned || group.killed > before.killed { used.max(HOT) } else { used }
    }
}

/// What a control group may use; `None` without a limit.
fn group_limit(group: &GroupMemory) -> Option<Bytes> {
    let kill = group.max.map(|max| Bytes(max.0.saturating_sub((max.0 / RESERVE_SHARE).max(RESERVE_MIN.0))));
    // Above `high` the kernel slows us, which costs deadlines but kills nobody: no reserve.
    [kill, group.high].into_iter().flatten().min()
}

fn share(used: Bytes, limit: Bytes) -> f32 {
    used.0 as f32 / limit.0.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governor::demand::CRITICAL;
    use crate::units::Ratio;

    fn reading(percent: u64) -> MemoryReading {
        MemoryReading { used: Bytes(percent * MIB), ..MemoryReading::default() }
    }

    fn group(used: u64, max: Option<u64>, high: Option<u64>) -> GroupMemory {
        let bytes = |mib: u64| Bytes(mib * MIB);
        GroupMemory { used: bytes(used), max: max.map(bytes), high: high.map(bytes), refused: 0, killed: 0 }
    }

    fn used(reading: &MemoryReading) -> f32 {
        MemoryUse::new(Bytes(100 * MIB)).read(reading).used
    }

    #[test]
    fn the_scarcest_of_budget_group_system_and_patience_decides() {
        let cases: &[(MemoryReading, f32)] = &[
            (reading(85), WARM),
            (reading(95), HOT),
            (reading(100), CRITICAL),
            // 64 MiB with 4 MiB kept back: 57 of 60 are hot.
            (MemoryReading { group: Some(group(57, Some(64), None)), ..reading(10) }, HOT),
            // 160 MiB with a sixteenth kept back.
            (MemoryReading { group: Some(group(150, Some(160), None)), ..reading(10) }, CRITICAL),
            (MemoryReading { group: Some(group(51, Some(640), Some(60))), ..reading(10) }, WARM),
            (MemoryReading { group: Some(group(900, None, None)), ..reading(85) }, WARM),
            (MemoryReading { stalled: Ratio::new(0.25), ..reading(10) }, HOT),
            (MemoryReading { available: Some(Bytes(24 * MIB)), ..reading(10) }, CRITICAL),
            (MemoryReading { available: Some(Bytes(4_000 * MIB)), ..reading(95) }, HOT),
        ];
        for (reading, expect) in cases {
            assert!((used(reading) - expect).abs() < 1e-3, "{reading:?}: {} {expect}", used(reading));
        }
    }

    #[test]
    fn meeting_the_limit_counts_when_it_is_new_and_not_only_cache() {
        let told = |used, refused, killed| MemoryReading {
            group: Some(GroupMemory { refused, killed, ..group(used, Some(64), None) }),
            ..reading(10)
        };
        let mut memory = MemoryUse::new(Bytes(100 * MIB));
        let hot: Vec<bool> = [
            told(30, 500, 3),
            told(30, 900, 3),
            told(52, 900, 3),
            told(52, 901, 3),
            told(52, 901, 3),
            told(10, 901, 4),
            told(10, 901, 4),
        ]
        .iter()
        .map(|reading| memory.read(reading).used >= HOT)
        .collect();
        assert_eq!(hot, [false, false, false, true, false, true, false]);
    }
}
