//! Operations of the session on a socket, besides reading and writing.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, libc, sockopt_impl};
use socket2::SockRef;
use tokio::net::TcpStream;
use tracing::debug;

use crate::session::{Stream, Taken};

impl Stream for TcpStream {
    /// The system delays acknowledgements by 40 ms or more, to send them with a reply. A client with
    /// Nagle's algorithm sends the second part of a command only after the acknowledgement of the first.
    fn acknowledge(&self) {
        if let Err(error) = SockRef::from(self).set_tcp_quickack(true) {
            debug!("a socket option was not set: {error}");
        }
    }

    /// With a limit, the system does not count keep-alive probes (`listen`), but ends the connection at
    /// the first unanswered probe after this time. The limit also applies to unacknowledged data, so it
    /// must be suitable for both.
    fn limit_silence(&self, most: Option<Duration>) {
        if let Err(error) = SockRef::from(self).set_tcp_user_timeout(most) {
            // The client has disconnected, which the session will notice.
            debug!("a socket option was not set: {error}");
        }
    }

    fn taken(&self) -> Taken {
        match getsockopt(&self.as_fd(), Information) {
            Ok(info) => Taken {
                octets: info.acknowledged,
                all: info.unacknowledged == 0 && info.not_sent == 0,
            },
            Err(error) => {
                debug!("TCP_INFO cannot be read: {}", io::Error::from(error));
                Taken { octets: 0, all: true }
            }
        }
    }
}

sockopt_impl!(
    /// The part of `TCP_INFO` that is used here, which Linux has since 4.6.
    Information,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    TcpInfo
);

/// The beginning of Linux's `struct tcp_info`. It has only numbers, so any octets are valid.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[expect(unreachable_pub, reason = "the macro makes what it implements public")]
pub struct TcpInfo {
    _states_and_options: [u8; 8],
    _times_and_sizes: [u32; 4],
    /// Unacknowledged segments.
    unacknowledged: u32,
    _more: [u32; 19],
    _rates: [u64; 2],
    /// Octets.
    acknowledged: u64,
    _received: u64,
    _segments: [u32; 2],
    /// Octets that are not sent yet.
    not_sent: u32,
    _shortest_round_trip: u32,
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_the_client_has_taken_shows() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream).unwrap();
        let none = stream.taken();
        assert!(none.all);

        stream.writable().await.unwrap();
        let mut sent = 0;
        while let Ok(count) = stream.try_write(&[0; 64 << 10]) {
            sent += count;
        }
        assert!(sent > 64 << 10);
        assert!(!stream.taken().all, "the client does not read");

        client.read_exact(&mut vec![0; sent]).unwrap();
        // This segment also acknowledges everything that was read.
        client.write_all(b"x").unwrap();
        stream.read_u8().await.unwrap();
        let all = stream.taken();
        assert!(all.all);
        assert_eq!(all.octets - none.octets, u64::try_from(sent).unwrap());
    }
}
