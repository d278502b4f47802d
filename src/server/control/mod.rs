//! The control socket: its file, and a task for each client. docs/CONTROL.md is the reference.
//!
//! - It is bound before privileges are given up, so that its directory may belong to root.
//! - Its clients are root and the user of the server. They are bounded all the same: in number, in
//!   the length of a line, and in the time that they may take.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::config;
pub(super) use crate::control::Listener;
use crate::control::{Answer, Filter, LONGEST_REQUEST, Request};

mod answers;

pub(super) use answers::Server;
#[cfg(feature = "metrics")]
pub(super) use answers::{certificates, stores};

/// The bound control socket.
#[derive(Debug)]
pub struct ControlSocket {
    listener: StdUnixListener,
    path: PathBuf,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
#[error("no control socket: {}: {why}", path.display())]
pub struct ControlError {
    path: PathBuf,
    why: Why,
}

/// What prevents it.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("another server listens there")]
    InUse,
    #[error("the file is not a socket; remove it, or write another control.path")]
    NotASocket,
    #[error("{0}")]
    System(#[from] io::Error),
}

impl ControlError {
    /// Whether that is usual where nothing is configured: the directory does not exist, or belongs to
    /// another user.
    pub fn is_expected(&self) -> bool {
        let is_usual = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        };
        self.path == Path::new(config::Control::PATH)
            && matches!(&self.why, Why::System(error) if is_usual(error))
    }
}

impl ControlSocket {
    /// Binds the socket of the configuration; `None` if it has none.
    ///
    /// # Errors
    /// [`ControlError`], without which the server works all the same.
    pub fn bind(control: &config::Control) -> Result<Option<Self>, ControlError> {
        if !control.enabled {
            return Ok(None);
        }
        let path = control.path.clone();
        match bind(&path) {
            Ok(listener) => Ok(Some(Self { listener, path })),
            Err(why) => Err(ControlError { path, why }),
        }
    }

    /// Serves clients. The future never ends.
    pub(super) fn serve(self, server: Server) -> io::Result<impl Future<Output = ()> + Send> {
        let listener = UnixListener::from_std(self.listener)?;
        info!(path = %self.path.display(), "the control socket is open");
        Ok(accept(listener, Arc::new(server)))
    }
}

fn bind(path: &Path) -> Result<StdUnixListener, Why> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    remove_stale(path)?;
    // The file gets the mode that the socket has. A change of the mode by its path could follow a link
    // that another user has put there.
    fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(io::Error::from)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // The sandbox allows it no more.
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(OwnedFd::from(socket).into())
}

/// Removes the socket of a server that does not run any more.
fn remove_stale(path: &Path) -> Result<(), Why> {
    use std::os::unix::fs::FileTypeExt as _;
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(Why::NotASocket);
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(Why::InUse),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(fs::remove_file(path)?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn accept(listener: UnixListener, server: Arc<Server>) {
    let permits = Arc::new(Semaphore::new(CLIENTS));
    loop {
        // Never closed.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    serve(stream, &server).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!("the control socket accepts no client for now: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, server: &Server) {
    let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(LONGEST_REQUEST as u64);
        match timeout(IDLE, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(read)) if read > 0 => {}
            Ok(Ok(_) | Err(_)) | Err(_) => return,
        }
        let request = match serde_json::from_slice::<Request>(&line) {
            Ok(request) if line.ends_with(b"\n") => request,
            Ok(_) if line.len() < LONGEST_REQUEST => return,
            Ok(_) => {
                return refuse(&mut writer, format!("longer than {LONGEST_REQUEST} octets")).await;
            }
            Err(error) => return refuse(&mut writer, format!("this is no request: {error}")).await,
        };
        match &request {
            Request::Status | Request::Sessions(_) => {}
            Request::Kick(Filter { user, address, id }) => {
                let address = address.map(|address| address.to_string());
                info!(uid, user, address, id, "the operator ends connections");
            }
            Request::Reload => info!(uid, "the operator reloads the configuration"),
        }
        let answers = server.answer(request).await;
        if let Err(error) = write(&mut writer, &answers).await {
            debug!("a client of the control socket has gone: {error}");
            return;
        }
    }
}

async fn refuse(writer: &mut (impl AsyncWriteExt + Unpin), why: String) {
    drop(write(writer, &[Answer::Error(why)]).await);
}

async fn write(writer: &mut (impl AsyncWriteExt + Unpin), answers: &[Answer]) -> io::Result<()> {
    let mut lines = Vec::new();
    for answer in answers {
        serde_json::to_writer(&mut lines, answer)?;
        lines.push(b'\n');
    }
    timeout(IDLE, writer.write_all(&lines)).await?
}

/// Clients at a time. More of them wait.
const CLIENTS: usize = 16;
const BACKLOG: i32 = 16;

/// How long a client may send no request, and take no answer.
const IDLE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);
