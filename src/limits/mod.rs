//! Limits for clients that are not logged in: networks as providers assign them, rates for each
//! network, tables of bounded size whose entries expire, and a budget of log lines.

mod expiring_map;
mod log_budget;
mod network;
mod rate;

pub(crate) use expiring_map::ExpiringMap;
pub use log_budget::{Entry, LeftOut, LogBudget};
pub(crate) use network::LEVELS;
pub use network::{AllowedNetworks, Level, Network, NetworksError, network};
pub use rate::Rate;
