//! Shells of the commands that speak with a broker without being the gateway: `replay` and `decode --url`.

mod client;
mod playlist;
mod replay;
mod signals;
mod subscribe;

pub use playlist::Speed;
pub use replay::{ReplayCounts, ReplayError, ReplayPlan, ReplayWatcher, replay};
pub use subscribe::{Consumed, LinkChange, SubscribeError, SubscribePlan, subscribe};
