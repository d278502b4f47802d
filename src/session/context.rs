//! The context of a command: what a handler gets in addition to it.

use tokio::time::Instant;

use super::env::{Env, Link};
use crate::protocol::ClaimedName;

/// The server and the connection, as a handler sees them.
pub(super) struct Context<'a, M, C> {
    pub(super) env: &'a Env<M, C>,
    pub(super) link: &'a Link,
}

impl<M, C> Clone for Context<'_, M, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, C> Copy for Context<'_, M, C> {}

impl<M, C> Context<'_, M, C> {
    /// The name with the default domain. Stores, throttle and log use the same name of an account.
    pub(super) fn whole(&self, name: ClaimedName) -> ClaimedName {
        match self.link.default_domain.as_ref().or(self.env.policy.default_domain.as_ref()) {
            Some(domain) => name.within(domain),
            None => name,
        }
    }

    /// Delays a refusal to the next multiple of the failure delay after `begun`, so that its timing
    /// does not reveal the reason. A server that is stopping does not wait.
    pub(super) async fn hold_back(&self, begun: Instant) {
        let delay = self.env.policy.failure_delay;
        if delay.is_zero() {
            return;
        }
        let whole = begun.elapsed().as_nanos().div_ceil(delay.as_nanos()).max(1);
        let until = begun + delay.saturating_mul(u32::try_from(whole).unwrap_or(u32::MAX));
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = self.env.drain.cancelled() => {}
        }
    }
}
