//! Feature vectors and texts to inferences (pure computation).
