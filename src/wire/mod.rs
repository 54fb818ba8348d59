//! The upstream format (pure): records, batches, event JSON.
