//! The control socket: its file, and a task for each client. docs/CONTROL.md is the reference.
//!
//! - It is bound before privileges are given up, so that its directory may belong to root.
//! - Its clients are root and the user of the server. They are bounded all the same: in number, in
//!   the length of a line, and in the time that they may take.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::lacks_directory;
use crate::config;
pub(super) use crate::control::Listener;
use crate::control::{Answer, LONGEST_REQUEST, Request};

mod answers;
mod throttle;
mod watch;

pub(super) use answers::Server;
#[cfg(feature = "metrics")]
pub(super) use answers::stores;

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
        self.path == Path::new(config::Control::PATH)
            && matches!(&self.why, Why::System(error) if lacks_directory(error))
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
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Err(Why::InUse),
        // It is a busy one.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Why::InUse),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(fs::remove_file(path)?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn accept(listener: UnixListener, server: Arc<Server>) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    let is_full = Sender::new(false);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                is_full.send_replace(places.available_permits() == 0);
                // Never closed.
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                is_full.send_replace(false);
                let (server, is_full) = (Arc::clone(&server), is_full.subscribe());
                tokio::spawn(async move {
                    serve(stream, &server, is_full).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!("the control socket accepts no client for now: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a client. `is_full` says whether another one waits for its place.
async fn serve(stream: UnixStream, server: &Server, mut is_full: Receiver<bool>) {
    let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
    let (reader, writer) = stream.into_split();
    let (mut reader, mut answers) = (BufReader::new(reader), Answers::new(writer));
    loop {
        let answered = match request(&mut reader, &mut is_full).await {
            Ok(Some(request)) => server.answer(request, uid, &mut reader, &mut answers).await,
            Ok(None) => return,
            Err(why) => {
                drop(answers.end(Answer::Error(why)).await);
                return;
            }
        };
        let ended = match answered {
            Ok(()) => answers.end(Answer::Done {}).await,
            Err(Unanswered::Refused(why)) => answers.end(Answer::Error(why)).await,
            Err(Unanswered::Gone(error)) => Err(error),
        };
        if let Err(error) = ended {
            debug!("a client of the control socket has gone: {error}");
            return;
        }
    }
}

/// The next request; `None` if the client sends no more, or has to leave its place to another. An error
/// is for the client.
async fn request(
    reader: &mut (impl AsyncBufRead + Unpin),
    is_full: &mut Receiver<bool>,
) -> Result<Option<Request>, String> {
    let mut line = Vec::new();
    let mut bounded = reader.take(LONGEST_REQUEST as u64);
    let read = tokio::select! {
        biased;
        read = timeout(IDLE, bounded.read_until(b'\n', &mut line)) => read,
        () = place_is_needed(is_full) => return Ok(None),
    };
    match read {
        Ok(Ok(read)) if read > 0 => {}
        Ok(Ok(_) | Err(_)) | Err(_) => return Ok(None),
    }
    match serde_json::from_slice::<Request>(&line) {
        Ok(request) if line.ends_with(b"\n") => Ok(Some(request)),
        Ok(_) if line.len() < LONGEST_REQUEST => Ok(None),
        Ok(_) => Err(format!("longer than {LONGEST_REQUEST} octets")),
        Err(error) => Err(format!("this is no request: {error}")),
    }
}

/// Waits until the place of a client that sends no request is needed for another one.
async fn place_is_needed(is_full: &mut Receiver<bool>) {
    sleep(GRACE).await;
    // An error: no client is accepted any more.
    drop(is_full.wait_for(|&is_full| is_full).await);
}

/// Answers on their way to a client. They are sent as they come, and never held whole.
struct Answers {
    writer: OwnedWriteHalf,
    lines: Vec<u8>,
}

/// Why a request has not been carried out.
enum Unanswered {
    /// The client is told.
    Refused(String),
    /// The client has gone, or does not read.
    Gone(io::Error),
}

impl From<io::Error> for Unanswered {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl Answers {
    fn new(writer: OwnedWriteHalf) -> Self {
        Self { writer, lines: Vec::new() }
    }

    async fn add(&mut self, answer: &Answer) -> io::Result<()> {
        self.put(answer)?;
        if self.is_full() { timeout(IDLE, self.flush()).await? } else { Ok(()) }
    }

    /// Adds the last answer, and sends all that is left.
    async fn end(&mut self, answer: Answer) -> io::Result<()> {
        self.put(&answer)?;
        timeout(IDLE, self.flush()).await?
    }

    /// Adds an answer, and sends nothing.
    fn put(&mut self, answer: &Answer) -> io::Result<()> {
        serde_json::to_writer(&mut self.lines, answer)?;
        self.lines.push(b'\n');
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= FULL
    }

    /// Sends all that has been added, however long the client takes. If the future is dropped, the next
    /// call sends the rest.
    async fn flush(&mut self) -> io::Result<()> {
        while !self.lines.is_empty() {
            let sent = self.writer.write(&self.lines).await?;
            self.lines.drain(..sent);
        }
        Ok(())
    }
}

/// The octets of answers that are sent at once.
const FULL: usize = 16 * 1024;

/// Clients at a time. More of them wait for a place.
const CLIENTS: usize = 16;
const BACKLOG: i32 = 16;

/// How long a client may send no request, and take no answer.
const IDLE: Duration = Duration::from_secs(60);
/// How long it may send no request while another one waits for its place.
const GRACE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(1);
