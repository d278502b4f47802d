//! The side of the commands.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

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
    /// When no server listens there, or when the socket may not be used.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(ClientError::NotAllowed { path: path.to_owned(), error })
            }
            Err(error) => Err(ClientError::NoServer { path: path.to_owned(), error }),
        }
    }

    /// Sends a request, and passes its answers to `each` as they come.
    ///
    /// # Errors
    /// When it is refused, when the connection fails, or the error of `each`.
    pub fn ask<E: From<ClientError>>(
        &mut self,
        request: &Request,
        mut each: impl FnMut(Answer) -> Result<(), E>,
    ) -> Result<(), E> {
        self.send(request)?;
        loop {
            match self.answer()? {
                Answer::Done {} => return Ok(()),
                Answer::Error(why) => return Err(ClientError::Refused(why).into()),
                answer @ (Answer::Status(_)
                | Answer::Connection(_)
                | Answer::Kicked(_)
                | Answer::Reloaded(_)) => each(answer)?,
            }
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(|error| self.unknown(error))?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(|error| self.lost(error))
    }

    fn answer(&mut self) -> Result<Answer, ClientError> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).map_err(|error| self.lost(error))?;
        if read == 0 {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed");
            return Err(self.lost(error));
        }
        serde_json::from_str(&line).map_err(|error| self.unknown(error))
    }

    fn lost(&self, error: io::Error) -> ClientError {
        ClientError::Lost { path: self.path.clone(), error }
    }

    fn unknown(&self, error: serde_json::Error) -> ClientError {
        ClientError::Unknown { path: self.path.clone(), error }
    }
}
