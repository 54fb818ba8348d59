//! The hardware's side: sensors read by schedule on a thread of their own, what they say told to whom it concerns.

mod view;

pub(in crate::runtime) use view::{HardwareView, HardwareVoice};
