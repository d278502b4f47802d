//! From the start to the stop of a server: readiness, signals, and the order of the end.

use std::io;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::accept::Door;
use super::reload::Reload;
use super::{Error, House, Socket, Source, descriptors, tls};
use crate::config::{Config, TlsMode};

/// Opens the doors, obeys signals, and sees everyone out.
pub(super) async fn supervise(
    config: Config,
    sockets: Vec<Socket>,
    source: Source,
) -> Result<(), Error> {
    let mut signals = Signals::register().map_err(Error::Runtime)?;
    check_descriptors(&config);
    let house = Arc::new(House::new(&config)?);
    let mut doors = JoinSet::new();
    for socket in sockets {
        let (address, tls) = (socket.address(), mode_name(socket.tls));
        let door = Door::open(socket).map_err(Error::Runtime)?;
        doors.spawn(door.keep(Arc::clone(&house)));
        info!(%address, %tls, "listening");
    }
    let watch = house.tls.as_ref().map(|front| tokio::spawn(tls::watch(Arc::clone(front))));
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);

    let reload = Arc::new(Reload::new(Arc::clone(&house), config, source));
    let outcome = serve(&reload, &mut doors, &mut signals).await;
    if let Some(watch) = watch {
        watch.abort();
    }
    stop(&house, &mut doors, &mut signals).await;
    outcome
}

/// Serves until a signal says stop, or a door breaks.
async fn serve(
    reload: &Arc<Reload>,
    doors: &mut JoinSet<io::Result<()>>,
    signals: &mut Signals,
) -> Result<(), Error> {
    loop {
        tokio::select! {
            request = signals.next() => match request {
                Request::Stop(name) => {
                    info!("{name}: no more connections, the running ones may finish");
                    return Ok(());
                }
                Request::Reload => {
                    let reload = Arc::clone(reload);
                    // Not waited for: a file system that does not answer must not keep the
                    // server from stopping.
                    tokio::task::spawn_blocking(move || reload.run());
                }
            },
            Some(broken) = doors.join_next() => {
                let error = Error::Listener(reason(broken));
                error!("{error}; stopping");
                return Err(error);
            }
        }
    }
}

/// Lets running commands finish, cuts off the rest at the end of the grace time or at a second
/// signal, and waits for removals however long they take.
async fn stop<M, C>(
    house: &House<M, C>,
    doors: &mut JoinSet<io::Result<()>>,
    signals: &mut Signals,
) {
    tell(&[NotifyState::Stopping, NotifyState::Status("waiting for sessions to end")]);
    house.drain.cancel();
    let grace = sleep(house.current().timeouts.shutdown_grace);
    let cut_off = async {
        tokio::select! {
            () = grace => warn!("the grace time is over, the sessions that remain are cut off"),
            name = signals.stop() => warn!("{name} again: the sessions that remain are cut off"),
        }
        house.cut.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = async { while doors.join_next().await.is_some() {} } => {}
        () = cut_off => {}
    }
    house.removals.close();
    if !house.removals.is_empty() {
        tell(&[NotifyState::Status("waiting for removals to finish")]);
        info!(removals = house.removals.len(), "waiting for removals to finish");
    }
    house.removals.wait().await;
    info!("stopped");
}

/// The signals that the server obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Caught so that it does not kill: a file that cannot grow is an error where it is written.
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

    /// The next signal that says stop; others are passed over.
    async fn stop(&mut self) -> &'static str {
        loop {
            if let Request::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}

/// Tells the service manager, when there is one.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("the service manager was not told: {error}");
    }
}

fn check_descriptors(config: &Config) {
    let Some(limit) = descriptors::raise_limit() else { return };
    let needed = descriptors::needed(config.limits.connections.get());
    if limit < needed {
        warn!(
            limit,
            needed,
            "fewer open files are allowed than limits.connections may need; raise LimitNOFILE= \
             in the unit, or ulimit -Hn"
        );
    }
}

fn mode_name(mode: TlsMode) -> &'static str {
    match mode {
        TlsMode::Implicit => "implicit",
        TlsMode::Starttls => "starttls",
        TlsMode::Off => "off",
    }
}

fn reason(broken: Result<io::Result<()>, JoinError>) -> String {
    match broken {
        Ok(Ok(())) => "its loop ended".into(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    }
}
