//! What bounds strangers: networks as they are given out, how often something comes from one of them,
//! tables of bounded size that forget, and how much strangers make the log write.

mod fading;
mod log_budget;
mod network;
mod rate;

pub(crate) use fading::Fading;
pub use log_budget::{Entry, LeftOut, LogBudget};
pub(crate) use network::LEVELS;
pub use network::{AllowedNetworks, Level, Network};
pub use rate::Rate;
