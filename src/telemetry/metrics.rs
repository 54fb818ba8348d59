//! Every number the gateway publishes, declared once.
//!
//! # Invariants
//! For each stage `in = out + dropped{reason} + held` in every snapshot: a stage hands over its tally and what it
//! holds together, taken at one moment.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::tally::{Stage, Tally};

/// Declares the closed set of single numbers.
macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// A single number: a counter where the name ends in `_total`, a gauge otherwise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Metric { $($(#[$doc])* $name,)* }

        impl Metric {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name used on MQTT.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

metrics! {
    /// Bytes of payload received from the plant.
    PlantBytes = "tidegate_ingest_payload_bytes_total",
    /// Connections to the plant broker that came up.
    PlantConnects = "tidegate_plant_connects_total",
    /// Plant messages larger than the packet limit that ended a connection (MQTT 3.1.1 only).
    PlantOversize = "tidegate_plant_oversize_total",
    /// Subscriptions the plant broker does not grant on this connection.
    PlantRefused = "tidegate_plant_refused_subscriptions",
    /// Messages of our own that a stream's filter brought back; never decoded.
    PlantOwn = "tidegate_plant_own_messages_total",
    /// Commands that were run.
    Commands = "tidegate_commands_total",
    /// Messages on command topics that are no command we offer, or came while too many waited.
    RefusedCommands = "tidegate_refused_commands_total",
    /// Writes of small files of state that failed, or were waited for in vain.
    FailedStateWrites = "tidegate_state_failed_writes_total",
    /// Distinct sources seen.
    Series = "tidegate_ingest_series",
    /// Samples accepted out of order.
    Reordered = "tidegate_window_reordered_samples_total",
    /// Samples whose stamp lay in the future and was clamped.
    Clamped = "tidegate_window_clamped_samples_total",
    /// Windows closed.
    Windows = "tidegate_window_closed_windows_total",
    /// Processor time the models have taken.
    InferBusy = "tidegate_infer_busy_microseconds_total",
    /// Batches given to the models.
    InferBatches = "tidegate_infer_batches_total",
    /// Times work waited because the budget of processor time was spent.
    BudgetWaits = "tidegate_infer_budget_waits_total",
    /// Work waiting for a model.
    QueuedWork = "tidegate_infer_queued_items",
    /// Memory of the work waiting for a model.
    QueuedBytes = "tidegate_infer_queued_bytes",
    /// Work of alarm streams that was shed: for want of room, of time or of budget.
    ShedAlarms = "tidegate_infer_shed_alarm_items_total",
    /// Work of normal streams that was shed.
    ShedNormal = "tidegate_infer_shed_normal_items_total",
    /// Work of bulk streams that was shed.
    ShedBulk = "tidegate_infer_shed_bulk_items_total",
    /// Models in quarantine.
    QuarantinedModels = "tidegate_infer_quarantined_models",
    /// Entities marked in reports.
    Entities = "tidegate_infer_entities_total",
    /// Words of reports beyond the longest that the models read.
    CutWords = "tidegate_infer_cut_words_total",
    /// Entities of reports beyond as many as are told of one.
    CutEntities = "tidegate_infer_cut_entities_total",
    /// Reports told without the entities they should have.
    UnmarkedReports = "tidegate_infer_unmarked_reports_total",
    /// Sensors and lines of the board that do not work.
    HardwareFaults = "tidegate_hardware_faults",
    /// Alarms that stand.
    StandingAlarms = "tidegate_plant_standing_alarms",
    /// Decisions published on the plant broker.
    Decisions = "tidegate_plant_decisions_total",
    /// Standing alarms of which was kept only that they stand.
    UnkeptAlarms = "tidegate_plant_unkept_alarms_total",
    /// Records made durable.
    DurableRecords = "tidegate_outbox_durable_records_total",
    /// Group commits.
    Commits = "tidegate_outbox_commits_total",
    /// Bytes of payload stored.
    OutboxPayload = "tidegate_outbox_payload_bytes_total",
    /// Bytes given to the disk, files made ahead of need included.
    OutboxWritten = "tidegate_outbox_written_bytes_total",
    /// Syncs that failed; what they may have lost went into another file.
    FailedSyncs = "tidegate_outbox_failed_syncs_total",
    /// Times a record waited because those before it took all the room on their way to the outbox.
    RecordWaits = "tidegate_outbox_record_waits_total",
    /// Records that wait in memory because the disk takes nothing.
    OutboxHeld = "tidegate_outbox_memory_records",
    /// Times the supply failed and everything was made durable, or tried to.
    PowerFlushes = "tidegate_outbox_power_flushes_total",
    /// From the edge of the power-fail input until everything was durable, the last time.
    PowerFlushTook = "tidegate_outbox_power_flush_microseconds",
    /// Segments drawn together to make room.
    CoarsenedSegments = "tidegate_outbox_coarsened_segments_total",
    /// Events that could not be drawn together and are told as lost.
    CoarseningLosses = "tidegate_outbox_coarsening_losses_total",
    /// Times drawing together met a limit and told less than it could have.
    CoarseningLimits = "tidegate_outbox_coarsening_limits_total",
    /// Times drawing together was put off because the supply was weak.
    CoarseningDeferred = "tidegate_outbox_coarsening_deferred_total",
    /// Bytes stored and not yet acknowledged.
    OutboxBytes = "tidegate_outbox_stored_bytes",
    /// Batches published upstream.
    Batches = "tidegate_forward_batches_total",
    /// Batches acknowledged upstream.
    AckedBatches = "tidegate_forward_acked_batches_total",
    /// Bytes of payload published upstream.
    UpstreamBytes = "tidegate_forward_payload_bytes_total",
    /// Connections to the upstream broker that came up.
    UpstreamConnects = "tidegate_forward_connects_total",
    /// Batches under way when a connection ended; they are sent again.
    LostBatches = "tidegate_forward_lost_batches_total",
    /// Batches refused upstream; they are sent again.
    RefusedBatches = "tidegate_forward_refused_batches_total",
    /// Batches upstream of records that became durable after the link came up.
    LiveBatches = "tidegate_forward_live_batches_total",
    /// Records set aside because connections die at them.
    SetAsideRecords = "tidegate_forward_set_aside_records_total",
    /// Connections upstream found half open.
    HalfOpen = "tidegate_forward_half_open_total",
    /// Times the daily budget upstream was spent.
    SpentDays = "tidegate_forward_spent_days_total",
    /// Grants of the daily budget that could not be written down: a restart may spend them again.
    UnwrittenGrants = "tidegate_forward_unwritten_grants_total",
    /// Bytes sent upstream on this day of UTC: everything on the socket.
    SentToday = "tidegate_forward_sent_today_bytes",
    /// Bytes received from upstream on this day of UTC.
    ReceivedToday = "tidegate_forward_received_today_bytes",
    /// Stored records that could not be read back or delivered and were skipped.
    UnreadableRecords = "tidegate_forward_unreadable_records_total",
    /// Changes of the budget's level.
    LevelChanges = "tidegate_governor_level_changes_total",
    /// Changes of the level that were never told: too many waited for the outbox or the plant.
    UntoldLevels = "tidegate_governor_untold_changes_total",
    /// Whole days until the first certificate ends.
    CertDaysLeft = "tidegate_tls_days_left",
    /// Resident memory of the process.
    MemoryBytes = "tidegate_process_resident_bytes",
}

/// What one stage has counted and what it holds, taken at one moment.
#[derive(Clone, Debug, Default)]
pub struct StageCount {
    /// In, out, dropped.
    pub tally: Tally,
    /// Still inside.
    pub held: u64,
}

/// All numbers, shared by the shells.
#[derive(Debug)]
pub struct Metrics {
    values: [AtomicU64; Metric::ALL.len()],
    stages: Mutex<[StageCount; Stage::ALL.len()]>,
}

impl Metrics {
    /// All zero.
    pub fn new() -> Self {
        Self {
            values: std::array::from_fn(|_| AtomicU64::new(0)),
            stages: Mutex::new(std::array::from_fn(|_| StageCount::default())),
        }
    }

    /// Adds to a counter.
    pub fn add(&self, metric: Metric, count: u64) {
        if let Some(value) = self.values.get(metric as usize) {
            value.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Sets a gauge, or a counter that a stage keeps itself.
    pub fn set(&self, metric: Metric, to: u64) {
        if let Some(value) = self.values.get(metric as usize) {
            value.store(to, Ordering::Relaxed);
        }
    }

    /// The present value.
    pub fn get(&self, metric: Metric) -> u64 {
        self.values.get(metric as usize).map_or(0, |value| value.load(Ordering::Relaxed))
    }

    /// Takes over what a stage has counted.
    pub fn record(&self, stage: Stage, tally: Tally, held: u64) {
        let mut stages = self.stages.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(slot) = stages.get_mut(stage as usize) {
            *slot = StageCount { tally, held };
        }
    }

    /// What a stage had counted when it last reported.
    pub fn stage(&self, stage: Stage) -> StageCount {
        let stages = self.stages.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        stages.get(stage as usize).cloned().unwrap_or_default()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_own_name_in_the_agreed_form() {
        let names: std::collections::BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.as_str()).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        for name in names {
            assert!(
                name.starts_with("tidegate_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{name}"
            );
        }
    }

    #[test]
    fn counters_add_and_gauges_replace() {
        let metrics = Metrics::new();
        metrics.add(Metric::Batches, 2);
        metrics.add(Metric::Batches, 3);
        metrics.set(Metric::Series, 7);
        metrics.set(Metric::Series, 4);
        assert_eq!((metrics.get(Metric::Batches), metrics.get(Metric::Series)), (5, 4));
    }
}
