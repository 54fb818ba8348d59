//! Reports to model inputs (pure).
