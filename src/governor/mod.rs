//! Readings of heat and memory to a budget (pure).
