//! The parts of the transcript runner: the grammar, the stage, the log.

pub mod log;
pub mod script;
pub mod stage;
