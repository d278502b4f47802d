//! From the start to the stop of a server: readiness, signals, and an orderly stop.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tracing::{error, info, warn};

use super::accept::Listener;
use super::control::{self, ControlSocket};
#[cfg(feature = "http")]
use super::http_listener::HttpListener;
use super::login_recorder::LoginRecorder;
#[cfg(feature = "metrics")]
use super::metrics;
use super::reload::{Reload, Trigger};
use super::service_manager::ServiceManager;
use super::{Error, ListenerError, Sandbox, Shared, Sockets, Source, tls, watchdog};
#[cfg(feature = "http")]
use crate::config::HttpService;
use crate::config::{Config, TlsMode, files_for};
use crate::counters;
use crate::limits::{Entry, LogBudget};
use crate::login::Throttle;
use crate::mailbox::maildir::hold_at_most;
#[cfg(feature = "web")]
use crate::web::Pages;

/// Starts the listeners, handles signals, and stops in order.
pub(super) async fn supervise(
    config: Config,
    sockets: Sockets,
    control: Option<ControlSocket>,
    source: Source,
    sandbox: Sandbox,
) -> Result<(), Error> {
    if config.metrics.is_some() {
        counters::switch_on();
    }
    let mut signals = Signals::register().map_err(Error::Runtime)?;
    sandbox.report();
    check_open_files(&config);
    let shared = Arc::new(Shared::new(&config, sandbox.mail())?);
    let mut listeners = JoinSet::new();
    let (mut accept_loops, mut addresses) = (Vec::new(), Vec::new());
    for socket in sockets.pop3 {
        let (address, tls) = (socket.address(), mode_name(socket.entry.tls));
        let (listener, accept_loop) = Listener::new(socket).map_err(Error::Runtime)?;
        accept_loops.push(accept_loop);
        listeners.spawn(listener.run(Arc::clone(&shared)));
        info!(%address, %tls, "listening");
        addresses.push(control::Listener { address, tls: tls.to_owned() });
    }
    let mut background = JoinSet::new();
    if let Some(certificates) = &shared.tls {
        background.spawn(tls::watch(Arc::clone(certificates)));
    }
    let service_manager = Arc::new(ServiceManager::default());
    let parts = Arc::new(watchdog::Parts::new(accept_loops));
    if ServiceManager::is_there() {
        background.spawn(keep_status(Arc::clone(&service_manager), Arc::clone(&shared)));
    }
    background.spawn(keep_summing_up(Arc::clone(&shared)));
    let recorder = Arc::new(LoginRecorder::new(&config.last_logins, &shared));
    // Not in the background: a write that has begun is not given up.
    let writing = tokio::spawn(Arc::clone(&recorder).keep_writing());
    let reload = Reload {
        shared: Arc::clone(&shared),
        started_with: config,
        source,
        sandbox,
        service_manager: Arc::clone(&service_manager),
        one_at_a_time: Mutex::default(),
        last: Mutex::default(),
    };
    let reload = Arc::new(reload);
    // Not in the background: they are also there while the server stops.
    let mut for_the_operator = JoinSet::new();
    if let Some(socket) = control {
        let server = control::Server::new(&reload, addresses);
        for_the_operator.spawn(socket.serve(server).map_err(Error::Runtime)?);
    }
    #[cfg(feature = "http")]
    for socket in sockets.http {
        match socket.entry.service {
            #[cfg(feature = "metrics")]
            HttpService::Metrics => {
                let site = metrics::Metrics::new(&reload, &parts);
                let listener = HttpListener::new(socket, reload.shared.tls.as_ref(), site);
                for_the_operator.spawn(listener.map_err(Error::Runtime)?.run());
            }
            #[cfg(feature = "web")]
            HttpService::Web => {
                let shared = Arc::clone(&shared);
                let pages = Pages::new(move || shared.current().client_settings.clone());
                let listener = HttpListener::new(socket, reload.shared.tls.as_ref(), pages);
                for_the_operator.spawn(listener.map_err(Error::Runtime)?.run());
            }
            // Its socket is refused by `listen`.
            #[cfg(not(feature = "metrics"))]
            HttpService::Metrics => {}
            #[cfg(not(feature = "web"))]
            HttpService::Web => {}
        }
    }
    service_manager.ready();
    let _watchdog = watchdog::start(&parts, Arc::clone(&service_manager));
    let outcome = serve(&reload, &mut listeners, &mut signals).await;
    background.abort_all();
    let stopped = stop(&shared, &service_manager, &mut listeners, &mut signals).await;
    recorder.finish(writing).await;
    match &stopped {
        Ok(()) => info!("stopped"),
        Err(error) => error!("stopped: {error}"),
    }
    stopped.and(outcome)
}

/// Regularly notifies the service manager of the number of open connections.
async fn keep_status<M, C>(service_manager: Arc<ServiceManager>, shared: Arc<Shared<M, C>>) {
    let mut ticks = interval(ServiceManager::EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        service_manager.serving(shared.connection_limits.open());
    }
}

/// Regularly logs how many lines about clients that have not logged in were left out.
async fn keep_summing_up<M, C>(shared: Arc<Shared<M, C>>) {
    let mut ticks = interval(LogBudget::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sum_up(&shared.throttle);
    }
}

fn sum_up(throttle: &Throttle) {
    for left_out in throttle.left_out() {
        warn!(
            network = %left_out,
            wrong_passwords = left_out.count(Entry::WrongPassword),
            refused_logins = left_out.count(Entry::Refusal),
            connections = left_out.count(Entry::Connection),
            "too many lines about one network, these were left out"
        );
    }
}

/// Serves until a signal to stop, or until a listener breaks.
async fn serve(
    reload: &Arc<Reload>,
    listeners: &mut JoinSet<io::Result<()>>,
    signals: &mut Signals,
) -> Result<(), Error> {
    loop {
        tokio::select! {
            request = signals.next() => match request {
                Request::Stop(name) => {
                    info!("{name}: no more connections; sessions may go on to their QUIT");
                    return Ok(());
                }
                Request::Reload => {
                    // Do not wait for it: a file system that does not answer must not keep the
                    // server from stopping.
                    Arc::clone(reload).start(Trigger::Signal, drop);
                }
            },
            Some(broken) = listeners.join_next() => {
                let error = Error::Listener(reason(broken));
                error!("{error}; stopping");
                return Err(error);
            }
        }
    }
}

/// Lets sessions continue to QUIT. At the end of the grace time, they end after the running command;
/// a moment later, or at a second signal, the rest are cut off. Then waits for removals, until
/// [`LAST_REMOVALS`] after the grace time.
///
/// # Errors
/// [`Error::Removals`] when some have not ended in time.
async fn stop<M, C>(
    shared: &Shared<M, C>,
    service_manager: &ServiceManager,
    listeners: &mut JoinSet<io::Result<()>>,
    signals: &mut Signals,
) -> Result<(), Error> {
    let grace = shared.current().timeouts.shutdown_grace;
    shared.drain.cancel();
    let end = Instant::now() + grace + LAST_REMOVALS;
    service_manager.stopping(grace);
    let time_is_over = async {
        sleep(grace).await;
        warn!(?grace, "the grace time is over: what is not done in a moment is cut off");
        shared.grace_over.cancel();
        sleep(LAST_COMMAND).await;
    };
    let cut_off = async {
        tokio::select! {
            () = time_is_over => {}
            name = signals.stop() => warn!("{name} again: the sessions that remain are cut off"),
        }
        shared.cut.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = async { while listeners.join_next().await.is_some() {} } => {}
        () = cut_off => {}
    }
    sum_up(&shared.throttle);
    shared.removals.close();
    if !shared.removals.is_empty() {
        service_manager.waiting_for_removals();
        info!(removals = shared.removals.len(), "waiting for removals to finish");
    }
    if timeout_at(end, shared.removals.wait()).await.is_err() {
        return Err(Error::Removals(shared.removals.len()));
    }
    Ok(())
}

/// How long the running command may take after the grace time.
const LAST_COMMAND: Duration = Duration::from_secs(1);

/// How long removals may take after the grace time. Removals of thousands of messages take seconds;
/// longer ones wait for a file system that does not answer.
const LAST_REMOVALS: Duration = Duration::from_secs(20);

/// The signals that the server handles.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Caught so that it does not end the process: writing to a file that cannot grow then fails.
    _file_size: Signal,
}

enum Request {
    Stop(&'static str),
    Reload,
}

impl Signals {
    fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?,
        })
    }

    async fn next(&mut self) -> Request {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Request::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Request::Stop("SIGINT"),
            _ = self.hang_up.recv() => Request::Reload,
        }
    }

    /// The next signal to stop. Others are ignored.
    async fn stop(&mut self) -> &'static str {
        loop {
            if let Request::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}

fn check_open_files(config: &Config) {
    let limit = raise_open_files();
    let needed = files_for(config.limits.connections.get());
    // Removals are faster with spare descriptors. A few of those for connections may be used, since
    // there are rarely as many connections as allowed.
    let spare = (limit.saturating_sub(needed) / 4).max(limit / 16);
    hold_at_most(usize::try_from(spare).unwrap_or(usize::MAX));
    if limit < needed {
        warn!(
            limit,
            needed,
            "fewer open files are allowed than limits.connections may need; raise LimitNOFILE= \
             in the unit, or ulimit -Hn"
        );
    }
}

/// Raises the soft limit on open files, usually 1024, to the hard one. Returns the limit in force.
fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_ok();
    (if raised { limit.maximum } else { limit.current }).unwrap_or(u64::MAX)
}

fn mode_name(mode: TlsMode) -> &'static str {
    match mode {
        TlsMode::Implicit => "implicit",
        TlsMode::Starttls => "starttls",
        TlsMode::Off => "off",
    }
}

fn reason(ended: Result<io::Result<()>, JoinError>) -> ListenerError {
    match ended {
        Ok(Ok(())) => ListenerError::Ended,
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let limit = raise_open_files();
        let in_force = getrlimit(Resource::Nofile);
        assert_eq!(in_force.current, in_force.maximum);
        assert_eq!(limit, in_force.maximum.unwrap_or(u64::MAX));
    }
}
