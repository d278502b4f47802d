//! The first octets of a connection on which TLS is to begin: looked at before the TLS library has
//! them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{hello, nameless};
use crate::protocol::Stranger;

/// A connection whose first octets have been read, and are read again.
pub(in crate::server) struct Opening {
    stream: TcpStream,
    first: Vec<u8>,
    /// How many of `first` have been read again.
    read: usize,
}

impl Opening {
    /// Waits for the first record of TLS, or for what shows that it is something else.
    ///
    /// # Errors
    /// That of the connection, or its end.
    pub(in crate::server) async fn of(mut stream: TcpStream) -> io::Result<Self> {
        let mut first = Vec::with_capacity(ENOUGH);
        while first.len() < hello::octets_needed(&first)
            || (Stranger::may_follow(&first) && Stranger::recognise(&first).is_none())
        {
            if stream.read_buf(&mut first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        nameless::mark(&mut first);
        Ok(Self { stream, first, read: 0 })
    }

    /// What came first.
    pub(in crate::server) fn first(&self) -> &[u8] {
        &self.first
    }

    /// Forgets what came first, since the handshake is over.
    pub(in crate::server) fn forget(&mut self) {
        // TLS cannot be agreed without all of it.
        if self.read == self.first.len() {
            self.first = Vec::new();
            self.read = 0;
        }
    }

    /// The connection itself.
    pub(in crate::server) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The same, to be read from.
    pub(in crate::server) fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// A `ClientHello` is seldom longer, and the TLS library reads as much at once.
const ENOUGH: usize = 4096;

impl AsyncRead for Opening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let unread = self.first.get(self.read..).unwrap_or_default();
        if unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = unread.len().min(buf.remaining());
        buf.put_slice(unread.get(..count).unwrap_or_default());
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Opening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
