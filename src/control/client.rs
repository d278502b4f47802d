//! The side of the commands.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::Instant;

use super::{Answer, Request};

/// A connection to the control socket of a server.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no server, or it has no such socket.
    #[error(
        "cannot connect to {}: {error}; is the server running, is its control.path this file, and was \
         the directory there when it started?",
        path.display()
    )]
    NoServer {
        /// The socket.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file permissions of the socket.
    #[error(
        "cannot connect to {}: {error}; run this as root, or as the user of the server",
        path.display()
    )]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// As many clients as the server has room for are connected, or it hangs.
    #[error("{}: the server does not accept the connection; end other commands, or try again", path.display())]
    Busy {
        /// The socket.
        path: PathBuf,
    },
    /// The connection has failed or ended.
    #[error("{}: {error}; see the log of the server", path.display())]
    Lost {
        /// The socket.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// Another program, or another version of this one, has answered.
    #[error(
        "{}: an answer cannot be understood; does the server have another version? {error}",
        path.display()
    )]
    Unknown {
        /// The socket.
        path: PathBuf,
        /// The error of the parser.
        error: serde_json::Error,
    },
    /// The server has refused it.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    /// Connects to a socket.
    ///
    /// # Errors
    /// When no server listens there, when the socket may not be used, or when the server does not
    /// accept the connection within 10 seconds.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        match connect(path, PATIENCE) {
            Ok(stream) => Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(ClientError::Busy { path: path.to_owned() })
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(ClientError::NotAllowed { path: path.to_owned(), error })
            }
            Err(error) => Err(ClientError::NoServer { path: path.to_owned(), error }),
        }
    }

    /// Sends a request, and passes its answers to `each` as they come, for this time at `most`.
    ///
    /// # Errors
    /// When it is refused, when the connection fails, or the error of `each`.
    pub fn ask<E: From<ClientError>>(
        &mut self,
        request: &Request,
        most: Option<Duration>,
        mut each: impl FnMut(Answer) -> Result<(), E>,
    ) -> Result<(), E> {
        let until = most.and_then(|most| Instant::now().checked_add(most));
        self.send(request)?;
        loop {
            let Some(answer) = self.answer(until)? else { return Ok(()) };
            match answer {
                Answer::Done {} => return Ok(()),
                Answer::Error(why) => return Err(ClientError::Refused(why).into()),
                answer @ (Answer::Status(_)
                | Answer::Connection(_)
                | Answer::Kicked(_)
                | Answer::Reloaded(_)
                | Answer::Delay(_)
                | Answer::Line(_)
                | Answer::LeftOut(_)) => each(answer)?,
            }
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(|error| self.unknown(error))?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(|error| self.lost(error))
    }

    /// The next answer; `None` if it does not come in time.
    fn answer(&mut self, until: Option<Instant>) -> Result<Option<Answer>, ClientError> {
        let mut line = String::new();
        let read = match self.read(&mut line, until) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            read => read.map_err(|error| self.lost(error))?,
        };
        if read == 0 {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed");
            return Err(self.lost(error));
        }
        Ok(Some(serde_json::from_str(&line).map_err(|error| self.unknown(error))?))
    }

    fn read(&mut self, line: &mut String, until: Option<Instant>) -> io::Result<usize> {
        if let Some(until) = until {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.stream.get_ref().set_read_timeout(Some(left))?;
        }
        self.stream.read_line(line)
    }

    fn lost(&self, error: io::Error) -> ClientError {
        ClientError::Lost { path: self.path.clone(), error }
    }

    fn unknown(&self, error: serde_json::Error) -> ClientError {
        ClientError::Unknown { path: self.path.clone(), error }
    }
}

/// Connects, and waits at most this long while the queue of the socket is full.
fn connect(path: &Path, most: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(most))?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.set_write_timeout(None)?;
    Ok(OwnedFd::from(socket).into())
}

/// How long a server may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(10);
