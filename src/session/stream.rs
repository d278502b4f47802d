//! The stream of a session.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

/// A socket, TLS over one, or a pipe in memory.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Acknowledges at once what has been read: the client may hold back the rest of its line until
    /// then. Called each time that a session waits in the middle of a line.
    fn acknowledge(&self);

    /// Sets how long the client may be silent before the system ends the connection: without
    /// acknowledging what was sent, or, if everything was acknowledged, without answering keep-alive
    /// probes. Without a limit the session checks what is [`taken`](Self::taken), and the system ends
    /// the connection only if a client that has everything does not answer for [`SILENCE`].
    fn limit_silence(&self, most: Option<Duration>);

    /// How much the client has taken of what was sent. In a pipe within this process, no octets are
    /// in transit.
    fn taken(&self) -> Taken {
        Taken { octets: 0, all: true }
    }
}

/// How long a client may be unreachable while the session waits for its next command.
pub const SILENCE: Duration = Duration::from_secs(120);

/// What the client's system has acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Taken {
    /// Octets since the connection began, approximately: only changes of it are meaningful.
    pub octets: u64,
    /// Whether no octets are in transit.
    pub all: bool,
}

impl Stream for DuplexStream {
    /// A pipe has no acknowledgements.
    fn acknowledge(&self) {}

    /// A pipe reports when its other end is gone.
    fn limit_silence(&self, _most: Option<Duration>) {}
}
