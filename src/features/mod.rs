//! Windows to feature vectors (pure).
