//! Commands on the plant's broker: `R/cmd/<op>` says what is offered, `R/cmd/<op>/<id>` asks for it and is answered there.
//!
//! # Invariants
//! * A command runs once, whatever the broker repeats: a file remembers what was begun, before it begins.
//! * Each `init` that is understood ends as `successful` or `failed`, also after a lost connection and after a restart.
//! * What comes in is bounded in length, in number and in pace; what is refused is counted.
//! * Nothing of a payload but the words of our own streams is told again.
//!
//! # Why
//! The state machine is that of thin-edge.io: operators have tools for it. The state lies retained on the broker, so that neither
//! side must be there when the other speaks. A new operation is one file here and one line in `setup`.

mod answer;
mod command;
mod health;
mod intake;
mod journal;
mod ledger;
mod operation;
mod pause;
mod pauses;
mod resume;
mod setup;
mod shell;

pub(in crate::runtime) use command::Command;
pub(in crate::runtime) use intake::{Intake, Sorted};
pub(in crate::runtime) use pauses::{PauseBook, Pauses};
pub(in crate::runtime) use setup::{Prepared, Surroundings, prepare};
