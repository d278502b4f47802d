//! Reads the first octets of a TLS connection before the TLS library does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{hello, invalid_name};
use crate::protocol::WrongProtocol;

/// A connection whose first octets have been read, and are returned again to the next reader.
pub(in crate::server) struct PeekedStream {
    stream: TcpStream,
    first: Vec<u8>,
    /// How many octets of `first` have been read again.
    read: usize,
    /// How many more octets may arrive before the end of the handshake.
    left: usize,
}

impl PeekedStream {
    /// Waits for the first TLS record, or for the beginning of another protocol. The whole handshake
    /// may have `most` octets, since the TLS library might keep all of them.
    ///
    /// # Errors
    /// The error or the end of the connection.
    pub(in crate::server) async fn of(mut stream: TcpStream, most: usize) -> io::Result<Self> {
        let mut first = Vec::with_capacity(ENOUGH);
        while first.len() < hello::octets_needed(&first)
            || (WrongProtocol::may_follow(&first) && WrongProtocol::recognise(&first).is_none())
        {
            if stream.read_buf(&mut first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        invalid_name::mark(&mut first);
        let left = most.saturating_sub(first.len());
        Ok(Self { stream, first, read: 0, left })
    }

    /// The first octets.
    pub(in crate::server) fn first(&self) -> &[u8] {
        &self.first
    }

    /// Drops the first octets after the handshake.
    pub(in crate::server) fn forget(&mut self) {
        self.left = usize::MAX;
        // A completed handshake has read all of them.
        if self.read == self.first.len() {
            self.first = Vec::new();
            self.read = 0;
        }
    }

    /// The connection itself.
    pub(in crate::server) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The connection itself, for reading.
    pub(in crate::server) fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl PeekedStream {
    /// Reads at most as many octets as the handshake may still have.
    fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let too_long = "the handshake is too long";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, too_long)));
        }
        let mut octets = [0; 1024];
        let most = self.left.min(buf.remaining()).min(octets.len());
        let mut read = ReadBuf::new(octets.get_mut(..most).unwrap_or_default());
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut read);
        buf.put_slice(read.filled());
        self.left -= read.filled().len();
        polled
    }
}

/// A `ClientHello` is rarely longer, and the TLS library reads this many octets at once.
const ENOUGH: usize = 4096;

impl AsyncRead for PeekedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let unread = self.first.get(self.read..).unwrap_or_default();
        if unread.is_empty() {
            if self.left == usize::MAX {
                return Pin::new(&mut self.stream).poll_read(cx, buf);
            }
            return self.poll_handshake(cx, buf);
        }
        let count = unread.len().min(buf.remaining());
        buf.put_slice(unread.get(..count).unwrap_or_default());
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PeekedStream {
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::super::hello::tests::record;
    use super::*;

    #[tokio::test]
    async fn an_endless_handshake_is_aborted() {
        const MOST: usize = 16 * 1024;
        for over in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let first = record(&[]);
            client.write_all(&[&first[..], &vec![7; MOST]].concat()).await.unwrap();
            drop(client);
            let mut opening = PeekedStream::of(stream, MOST).await.unwrap();
            opening.read_exact(&mut vec![0; MOST - 1]).await.unwrap();
            if over {
                opening.forget();
            }
            let mut rest = Vec::new();
            let read = opening.read_to_end(&mut rest).await;
            let error = read.err().map(|error| error.kind());
            assert_eq!(error, (!over).then_some(io::ErrorKind::InvalidData));
            assert_eq!(rest.len(), if over { first.len() + 1 } else { 1 });
        }
    }
}
