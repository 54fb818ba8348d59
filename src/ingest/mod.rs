//! Bytes of the plant to samples and reports (pure).
