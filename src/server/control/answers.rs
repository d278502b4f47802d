//! The answers to the requests on the control socket.

use std::io;
use std::process;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::io::AsyncBufRead;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::Instant;
use tracing::info;

use super::{Answers, Unanswered};
use crate::control::{
    Answer, Certificate, Connection, Filter, Kicked, Listener, OtherFile, Reloaded, Request, State,
    Status, Store, unix_time,
};
use crate::credentials::{CredentialStore, Outage};
use crate::login::Throttle;
use crate::server::Shared;
use crate::server::reload::{Reload, Trigger};
use crate::server::tls;
use crate::session::{Connections, Handle};
use crate::threads;

/// The server, as its operator sees it.
pub(in crate::server) struct Server {
    reload: Arc<Reload>,
    listeners: Vec<Listener>,
    started: SystemTime,
}

impl Server {
    /// A server that starts now.
    pub(in crate::server) fn new(reload: &Arc<Reload>, listeners: Vec<Listener>) -> Self {
        Self { reload: Arc::clone(reload), listeners, started: SystemTime::now() }
    }

    /// Carries out a request of the user `uid`. The end of `reader`, or its next request, ends a watch.
    pub(super) async fn answer(
        &self,
        request: Request,
        uid: Option<u32>,
        reader: &mut (impl AsyncBufRead + Unpin),
        answers: &mut Answers,
    ) -> Result<(), Unanswered> {
        match request {
            Request::Status => answers.add(&Answer::Status(Box::new(self.status().await))).await?,
            Request::Sessions(filter) => self.sessions(&filter, answers).await?,
            Request::Kick(filter) => self.kick(&filter, uid, answers).await?,
            Request::Reload => {
                info!(uid, "the operator reloads the configuration");
                answers.add(&Answer::Reloaded(self.reload().await?)).await?;
            }
            Request::Throttle(delayed) => self.delays(&delayed, answers).await?,
            Request::ClearThrottle(delayed) => self.clear_delays(&delayed, uid, answers).await?,
            Request::Watch(filter) => self.watch(filter, uid, reader, answers).await?,
        }
        Ok(())
    }

    async fn status(&self) -> Status {
        let shared = &self.reload.shared;
        let (connections, sessions) = shared.connection_limits.connections().numbers();
        let logins = shared.connection_limits.connections().logins();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            started: unix_time(self.started),
            is_stopping: shared.drain.is_cancelled(),
            listeners: self.listeners.clone(),
            connections: u32::try_from(connections).unwrap_or(u32::MAX),
            sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
            logins: logins.all(),
            logins_last_minute: logins.last_minute(Instant::now()),
            stores: stores(shared),
            certificates: certificates(shared.tls.as_deref()).await,
            last_reload: self.reload.last(),
        }
    }

    async fn sessions(&self, filter: &Filter, answers: &mut Answers) -> io::Result<()> {
        let mut pages = Pages::new(self.connections());
        while let Some(page) = pages.next().await {
            for handle in page.iter().filter(|handle| matches(filter, handle)) {
                answers.add(&Answer::Connection(connection(handle))).await?;
            }
        }
        Ok(())
    }

    async fn kick(
        &self,
        filter: &Filter,
        uid: Option<u32>,
        answers: &mut Answers,
    ) -> Result<(), Unanswered> {
        let Filter { user, address, id } = checked(filter)?;
        let address = address.map(|address| address.to_string());
        info!(uid, user, address, id, "the operator ends connections");
        let mut pages = Pages::new(self.connections());
        while let Some(page) = pages.next().await {
            for handle in page.iter().filter(|handle| matches(filter, handle)) {
                let connection = connection(handle);
                let kicked = Kicked { connection, is_ended: handle.kick() };
                answers.add(&Answer::Kicked(kicked)).await?;
            }
        }
        Ok(())
    }

    pub(super) fn connections(&self) -> &Arc<Connections> {
        self.reload.shared.connection_limits.connections()
    }

    pub(super) fn login_throttle(&self) -> &Throttle {
        &self.reload.shared.throttle
    }

    async fn reload(&self) -> Result<Reloaded, Unanswered> {
        let (done, outcome) = oneshot::channel();
        Arc::clone(&self.reload).start(Trigger::Command, |outcome| {
            // The client may have gone.
            drop(done.send(outcome));
        });
        match outcome.await {
            Ok(Ok(reloaded)) => Ok(reloaded),
            Ok(Err(error)) => Err(Unanswered::Refused(error.to_string())),
            Err(_) => Err(Unanswered::Refused("the reload was not finished; see the log".into())),
        }
    }
}

/// The open connections, a page at a time.
struct Pages<'a> {
    connections: &'a Connections,
    /// The number of the last one of the page before; `None` after the last page.
    last: Option<u64>,
}

impl<'a> Pages<'a> {
    fn new(connections: &'a Connections) -> Self {
        Self { connections, last: Some(0) }
    }

    /// The next page; `None` after the last one. Sessions get their turn between two pages.
    async fn next(&mut self) -> Option<Vec<Arc<Handle>>> {
        let last = self.last?;
        if last > 0 {
            yield_now().await;
        }
        let page = self.connections.after(last, PAGE);
        self.last = page.last().map(|handle| handle.number()).filter(|_| page.len() == PAGE);
        Some(page)
    }
}

/// The connections of a page.
const PAGE: usize = 256;

/// A filter that does not match all connections.
pub(super) fn checked(filter: &Filter) -> Result<&Filter, Unanswered> {
    if filter.is_empty() {
        return Err(Unanswered::Refused("name a user, an address or an id".into()));
    }
    Ok(filter)
}

pub(super) fn matches(filter: &Filter, handle: &Handle) -> bool {
    let Filter { user, address, id } = filter;
    address.is_none_or(|address| handle.peer().ip() == address.to_canonical())
        && id.is_none_or(|id| handle.number() == id)
        && user.as_ref().is_none_or(|user| handle.is_of(user))
}

fn connection(handle: &Handle) -> Connection {
    let activity = handle.activity();
    let state = match &activity.summary.user {
        None => State::Authorization,
        Some(_) if activity.is_updating => State::Update,
        Some(_) => State::Transaction,
    };
    Connection {
        id: handle.number(),
        user: activity.summary.user.map(|user| user.as_str().to_owned()),
        app_password: activity.summary.app_password.map(|name| name.to_string()),
        address: handle.peer(),
        tls: handle.tls().map(str::to_owned),
        state,
        since: past(handle.opened()),
        idle: handle.idle().map(|idle| idle.as_secs()),
        retrieved: activity.summary.retrieved,
        octets: activity.summary.octets,
        marked: activity.marked,
    }
}

/// A point in time of the past, in seconds since 1970.
fn past(point: Instant) -> u64 {
    unix_time(SystemTime::now() - point.elapsed())
}

pub(in crate::server) fn stores<M, C: CredentialStore>(shared: &Shared<M, C>) -> Vec<Store> {
    let reloadable = shared.current();
    let authenticator = &reloadable.env.authenticator;
    let store = |name: String, down: Option<Outage>| Store {
        name,
        down_since: down.as_ref().map(|outage| past(outage.since)),
        down: down.map(|outage| outage.why.to_string()),
    };
    let passwords = authenticator.stores().iter().map(|it| store(it.label(), it.down()));
    let tokens = authenticator.token_providers().iter().map(|it| store(it.label(), it.down()));
    passwords.chain(tokens).collect()
}

/// The certificates in use, and what their files have now if that is not the same.
async fn certificates(certificates: Option<&tls::Certificates>) -> Vec<Certificate> {
    let in_use = certificates.map(tls::Certificates::in_use).unwrap_or_default();
    let Some(first) = in_use.first().map(|one| one.pair.certificate.clone()) else {
        return Vec::new();
    };
    let alone = in_use.iter().map(|one| certificate(one, None)).collect();
    let compare = move || in_use.iter().map(|one| certificate(one, file(one))).collect();
    threads::files().of(&first).run(compare).await.unwrap_or(alone)
}

fn certificate(
    tls::InUse { pair, inspection }: &tls::InUse,
    file: Option<OtherFile>,
) -> Certificate {
    Certificate {
        path: pair.certificate.display().to_string(),
        names: inspection.names.clone(),
        expires: unix_time(inspection.not_after),
        file,
    }
}

/// What a file has now. `None` if that is in use.
fn file(tls::InUse { pair, inspection: used }: &tls::InUse) -> Option<OtherFile> {
    match tls::inspect(pair, SystemTime::now()) {
        Ok(now)
            if (&now.names, now.not_before, now.not_after)
                == (&used.names, used.not_before, used.not_after) =>
        {
            None
        }
        Ok(now) => {
            let expires = Some(unix_time(now.not_after));
            Some(OtherFile { names: now.names, expires, error: None })
        }
        Err(errors) => {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            let error = Some(errors.join("; "));
            Some(OtherFile { names: Vec::new(), expires: None, error })
        }
    }
}
