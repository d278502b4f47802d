//! The parts of the transcript runner: the grammar, the stage, the log.

#[path = "../support/clock.rs"]
mod clock;
pub(crate) mod log;
pub(crate) mod script;
pub(crate) mod stage;
