//! How many log lines clients may cause that are not logged in.
//!
//! Further lines are left out, and counted for the network that they are about. Each kind of line
//! has a separate budget, so that a flood of connections does not hide guesses of passwords, which
//! programs like fail2ban look for.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Network, Rate};

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A wrong password, or an unknown user: a guess.
    WrongPassword,
    /// A login that was refused for another reason.
    Refusal,
    /// The end of a connection without a login.
    Connection,
}

/// A budget for each network and each kind of line.
///
/// - The smallest network has 200 lines and gets another one each second. Larger ones have a few
///   times as many.
#[derive(Debug)]
pub struct LogBudget {
    rates: [Rate; KINDS],
    left_out: Mutex<HashMap<Network, [u64; KINDS]>>,
}

/// Lines of one network that were left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The network that had used up its lines; `None` for several together.
    pub network: Option<Network>,
    counts: [u64; KINDS],
}

impl Entry {
    /// The element for this kind of line.
    fn select<T>(self, [wrong_passwords, refusals, connections]: [T; KINDS]) -> T {
        match self {
            Self::WrongPassword => wrong_passwords,
            Self::Refusal => refusals,
            Self::Connection => connections,
        }
    }
}

impl Default for LogBudget {
    fn default() -> Self {
        let burst = EVERY * AT_ONCE;
        Self { rates: std::array::from_fn(|_| Rate::new(burst)), left_out: Mutex::default() }
    }
}

impl LogBudget {
    /// Whether to write a line about `peer`. If not, it is counted.
    pub fn allows(&self, peer: IpAddr, entry: Entry) -> bool {
        let rate = entry.select(self.rates.each_ref());
        let Err(network) = rate.take(Network::levels(peer), EVERY) else { return true };
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        let count = entry.select(left_out.entry(network).or_default().each_mut());
        *count = count.saturating_add(1);
        false
    }

    /// The lines that were left out since the last call: separately for the networks with the most
    /// lines, together for the others.
    pub fn take_left_out(&self) -> Vec<LeftOut> {
        let left_out =
            std::mem::take(&mut *self.left_out.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all: Vec<_> = left_out.into_iter().collect();
        all.sort_by_key(|(network, counts)| (u64::MAX - counts.iter().sum::<u64>(), *network));
        let others = all.split_off(all.len().min(MOST_NAMED));
        let named = all.into_iter();
        let mut lines: Vec<_> =
            named.map(|(network, counts)| LeftOut { network: Some(network), counts }).collect();
        if !others.is_empty() {
            let mut counts = [0; KINDS];
            others.into_iter().for_each(|(_, more)| add(&mut counts, more));
            lines.push(LeftOut { network: None, counts });
        }
        lines
    }

    /// How often to call [`Self::take_left_out`].
    pub const INTERVAL: Duration = Duration::from_secs(60);
}

impl LeftOut {
    /// The number of lines of a kind.
    pub fn count(&self, entry: Entry) -> u64 {
        entry.select(self.counts)
    }
}

impl fmt::Display for LeftOut {
    /// The network.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            Some(network) => network.fmt(f),
            None => f.write_str("others"),
        }
    }
}

fn add(counts: &mut [u64; KINDS], more: [u64; KINDS]) {
    for (count, more) in counts.iter_mut().zip(more) {
        *count = count.saturating_add(more);
    }
}

const KINDS: usize = 3;

/// Ten times as many as a jail of fail2ban needs to ban an address.
const AT_ONCE: u32 = 200;
const EVERY: Duration = Duration::from_secs(1);

/// The summary has a bounded number of lines as well.
const MOST_NAMED: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(budget: &LogBudget, peer: &str, entry: Entry, times: usize) -> usize {
        let peer = peer.parse().unwrap();
        (0..times).filter(|_| budget.allows(peer, entry)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_summed_up_and_hides_neither_guesses_nor_others() {
        let budget = LogBudget::default();
        assert_eq!(written(&budget, "192.0.2.7", Entry::Connection, 1000), 200);
        assert_eq!(written(&budget, "192.0.2.7", Entry::Refusal, 1000), 200);
        assert_eq!(written(&budget, "192.0.2.7", Entry::WrongPassword, 30), 30);
        assert_eq!(written(&budget, "192.0.2.8", Entry::Connection, 30), 30);
        let [summed_up] = &budget.take_left_out()[..] else { panic!() };
        assert_eq!(summed_up.to_string(), "192.0.2.7/32");
        assert_eq!(summed_up.count(Entry::Connection), 800);
        assert_eq!(summed_up.count(Entry::Refusal), 800);
        assert_eq!(summed_up.count(Entry::WrongPassword), 0);
        assert_eq!(budget.take_left_out(), []);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(written(&budget, "192.0.2.7", Entry::Connection, 1000), 10);
    }

    /// A server of a thousand users behind one address, a tenth with an old password, and a monitor
    /// that connects every two seconds.
    #[tokio::test(start_paused = true)]
    async fn a_healthy_server_writes_all_its_lines() {
        let budget = LogBudget::default();
        for second in 0..7200 {
            let minute = second % 60 == 0;
            let of_users = if minute { 20 } else { 0 };
            assert_eq!(written(&budget, "192.0.2.7", Entry::WrongPassword, of_users), of_users);
            let monitor = usize::from(second % 2 == 0);
            assert_eq!(written(&budget, "192.0.2.7", Entry::Connection, monitor), monitor);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(budget.take_left_out(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_customer_with_many_networks_is_one_line() {
        let budget = LogBudget::default();
        let mut all = 0;
        for n in 0..256 {
            all += written(&budget, &format!("2001:db8:0:{n:x}::1"), Entry::WrongPassword, 100);
        }
        assert_eq!(all, 4 * 200);
        let lines = budget.take_left_out();
        assert_eq!(lines[0].to_string(), "2001:db8::/56");
        assert_eq!(lines.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_networks_with_the_most_lines_are_named_and_the_others_counted() {
        let budget = LogBudget::default();
        for n in 0..150 {
            written(&budget, &format!("10.{n}.0.1"), Entry::Connection, 201 + n);
        }
        let lines = budget.take_left_out();
        assert_eq!(lines.len(), MOST_NAMED + 1);
        assert_eq!(lines[0].to_string(), "10.149.0.1/32");
        assert_eq!(lines[MOST_NAMED].to_string(), "others");
        assert_eq!(lines[MOST_NAMED].count(Entry::Connection), (1..=50).sum::<u64>());
    }
}
