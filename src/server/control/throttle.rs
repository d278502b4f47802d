//! The answers about the throttle.

use std::time::SystemTime;

use tokio::task::yield_now;
use tokio::time::Instant;
use tracing::info;

use super::answers::Server;
use super::{Answers, Unanswered};
use crate::control::{Answer, Delay, Delayed, unix_time};
use crate::limits::network;
use crate::login::{self, Seen, Selection, Who};
use crate::protocol::ClaimedName;

impl Server {
    pub(super) async fn delays(
        &self,
        delayed: &Delayed,
        answers: &mut Answers,
    ) -> Result<(), Unanswered> {
        let (selection, mut seen) = (selection(delayed)?, Seen::default());
        while let Some(page) = self.login_throttle().delays(&selection, &mut seen) {
            add(page, answers).await?;
        }
        Ok(())
    }

    pub(super) async fn clear_delays(
        &self,
        delayed: &Delayed,
        uid: Option<u32>,
        answers: &mut Answers,
    ) -> Result<(), Unanswered> {
        let (selection, mut seen) = (selection(delayed)?, Seen::default());
        let Delayed { user, network, all } = delayed;
        if !all && user.is_none() && network.is_none() {
            return Err(Unanswered::Refused("name a user, an address or a network, or all".into()));
        }
        let all = all.then_some(true);
        info!(uid, user, network, all, "the operator clears the throttle");
        while let Some(page) = self.login_throttle().clear_delays(&selection, &mut seen) {
            add(page, answers).await?;
        }
        Ok(())
    }
}

fn selection(Delayed { user, network: text, .. }: &Delayed) -> Result<Selection, Unanswered> {
    let network = match text {
        Some(text) => Some(network(text).ok_or_else(|| {
            Unanswered::Refused(format!("{text} is no address and no network; write 192.0.2.0/24"))
        })?),
        None => None,
    };
    let user = user.as_ref().map(|name| ClaimedName::new(name.as_bytes()));
    Ok(Selection { user, network })
}

async fn add(page: Vec<login::Delay>, answers: &mut Answers) -> Result<(), Unanswered> {
    for delay in page {
        answers.add(&Answer::Delay(shown(delay))).await?;
    }
    // Logins get their turn.
    yield_now().await;
    Ok(())
}

fn shown(login::Delay { who, network, failures, wait, until }: login::Delay) -> Delay {
    let account = who == Who::Account;
    let user = match who {
        Who::User(name) => Some(name.into_string()),
        Who::All | Who::Account => None,
    };
    let left = until.saturating_duration_since(Instant::now()).as_secs();
    Delay {
        user,
        account,
        network: network.map(|network| network.to_string()),
        failures,
        wait: wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
        until: unix_time(SystemTime::now()).saturating_add(left),
    }
}
