//! Samples to windows, in event time (pure).
