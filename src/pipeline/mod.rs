//! The brain (pure): samples and reports in, work out, inferences in, events out.
