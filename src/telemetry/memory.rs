//! What the heap is taken for: an account for each stage and each model.
//!
//! # Invariants
//! The list is closed and every account has its own word. Where the counting allocator is not installed, as in the
//! library's own tests, every account holds nothing.

use tidegate_alloc::{Account, Entered, live, live_total, peak};

/// Models that have an account of their own; those beyond share the last one.
pub const MODEL_ACCOUNTS: usize = 32;

/// Number of the account of the first model.
const FIRST_MODEL: u8 = 32;

/// What memory is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Everything that is not named here: the program's own, the log, the configuration.
    Other,
    /// Decoding, topics and sources.
    Ingest,
    /// Open windows, and closed ones until they have been judged.
    Window,
    /// Vectors made of windows and texts, and what making them needs.
    Input,
    /// The model in this place of the configuration: its network, and what a run takes.
    Model(usize),
    /// Events: state of alarms, dwell and rate, decisions for the plant.
    Distill,
    /// Records on their way to the disk and back.
    Outbox,
    /// Batches upstream.
    Forward,
    /// Packets from and to the plant.
    Plant,
    /// Reports of what the gateway does.
    Status,
}

/// What one account holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What for.
    pub purpose: Purpose,
    /// Bytes now.
    pub bytes: u64,
    /// Most bytes at once since the start.
    pub peak: u64,
}

impl Purpose {
    /// All but the models.
    pub const STAGES: &'static [Self] = &[
        Self::Other,
        Self::Ingest,
        Self::Window,
        Self::Input,
        Self::Distill,
        Self::Outbox,
        Self::Forward,
        Self::Plant,
        Self::Status,
    ];

    /// The word used on MQTT; a model is told by its name instead.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Ingest => "ingest",
            Self::Window => "window",
            Self::Input => "input",
            Self::Model(_) => "model",
            Self::Distill => "distill",
            Self::Outbox => "outbox",
            Self::Forward => "forward",
            Self::Plant => "plant",
            Self::Status => "status",
        }
    }

    fn account(self) -> Account {
        Account::new(match self {
            Self::Other => 0,
            Self::Ingest => 1,
            Self::Window => 2,
            Self::Input => 3,
            Self::Distill => 4,
            Self::Outbox => 5,
            Self::Forward => 6,
            Self::Plant => 7,
            Self::Status => 8,
            Self::Model(place) => {
                let place = u8::try_from(place.min(MODEL_ACCOUNTS - 1)).unwrap_or(u8::MAX);
                FIRST_MODEL.saturating_add(place)
            }
        })
    }

    /// What it holds.
    pub fn held(self) -> Held {
        let account = self.account();
        Held { purpose: self, bytes: live(account) as u64, peak: peak(account) as u64 }
    }
}

/// Books what this thread allocates to a purpose until the guard is dropped. Never across an `await`: [`booked`] is for
/// tasks.
pub fn book(purpose: Purpose) -> Entered {
    tidegate_alloc::enter(purpose.account())
}

/// Books what a task allocates to a purpose, each time it is polled. One box per task.
pub fn booked<F: Future>(purpose: Purpose, task: F) -> impl Future<Output = F::Output> {
    let mut task = Box::pin(task);
    std::future::poll_fn(move |context| {
        let _booked = book(purpose);
        task.as_mut().poll(context)
    })
}

/// What the stages hold, and what all models hold together, by their words.
pub fn held_by_stage() -> impl Iterator<Item = (&'static str, u64)> {
    let models = (0..MODEL_ACCOUNTS).map(|place| Purpose::Model(place).held().bytes).sum();
    let stages = Purpose::STAGES.iter().map(|purpose| (purpose.as_str(), purpose.held().bytes));
    stages.chain([(Purpose::Model(0).as_str(), models)])
}

/// Bytes of the heap in use; `None` where nobody counts them.
pub fn heap_bytes() -> Option<u64> {
    tidegate_alloc::is_installed().then(|| live_total() as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_purpose_has_its_own_account_and_word() {
        let models = (0..MODEL_ACCOUNTS).map(Purpose::Model);
        let all: Vec<Purpose> = Purpose::STAGES.iter().copied().chain(models).collect();
        let accounts: BTreeSet<u8> = all.iter().map(|purpose| purpose.account().number()).collect();
        assert_eq!(accounts.len(), all.len());
        assert!(accounts.iter().all(|number| *number < tidegate_alloc::ACCOUNTS));
        assert_eq!(Purpose::Model(99).account(), Purpose::Model(MODEL_ACCOUNTS - 1).account());
        let words: BTreeSet<&str> = Purpose::STAGES.iter().map(|purpose| purpose.as_str()).collect();
        assert_eq!(words.len(), Purpose::STAGES.len());
    }
}
