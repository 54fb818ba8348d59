//! Delivery session to upstream (pure).
