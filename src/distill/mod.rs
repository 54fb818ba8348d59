//! Inferences to events (pure).
