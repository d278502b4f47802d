//! What a session runs on, as far as it has to know.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

/// A socket, TLS over one, or a pipe in memory.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Acknowledges at once what has been read: the client may be holding back the rest of its line
    /// until then. Called each time that a session waits in the middle of a line.
    fn acknowledge(&self);

    /// Has the system end the connection when what was sent is not acknowledged for so long, or when
    /// nothing was sent and the client has been gone for so long. Without a limit the session itself
    /// looks at what is [`taken`](Self::taken), and the system ends the connection only when a client
    /// that has been sent everything has been gone for [`SILENCE`].
    fn limit_silence(&self, most: Option<Duration>);

    /// How much the client has taken of what was sent. A pipe, whose other end is in this process,
    /// has nothing under way.
    fn taken(&self) -> Taken {
        Taken { octets: 0, all: true }
    }
}

/// How long a client may be gone without a trace while the session waits for its next command.
pub const SILENCE: Duration = Duration::from_secs(120);

/// What the client's system has acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Taken {
    /// Octets since the connection began, more or less: only that they change means something.
    pub octets: u64,
    /// Whether nothing is under way.
    pub all: bool,
}

impl Stream for DuplexStream {
    /// Nobody waits for that.
    fn acknowledge(&self) {}

    /// A pipe does not break in silence.
    fn limit_silence(&self, _most: Option<Duration>) {}
}
