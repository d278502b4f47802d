//! The dialogue: capabilities, the login, listings, and the end.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Error, Login, MAX_CAPABILITIES, MAX_HEADER, MAX_MESSAGES, PATIENCE, Want};
use crate::cli::client::{self, Connection, MAX_COMMAND, MAX_LINE, Shown, Status};
use crate::cli::migrate::digest::{Digest, HeaderDigest};
use crate::cli::migrate::listing::{BadLine, Listing};
use crate::protocol::Secret;

/// A session, from the greeting on.
#[derive(Debug)]
pub(super) struct Session<S>(Connection<S>);

/// What the server says that it can do (RFC 2449 §5).
#[derive(Clone, Copy, Debug, Default)]
struct Capabilities {
    plain: bool,
    pipelining: bool,
}

/// Waits for the greeting.
pub(super) async fn greeted<S>(stream: S) -> Result<Session<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = Connection::new(stream, PATIENCE);
    match connection.status().await? {
        Status::Ok => Ok(Session(connection)),
        Status::Err(reply) => Err(Error::Refused { command: "the connection", reply }),
        Status::Continue => Err(not_pop3()),
    }
}

/// The session after STLS, which has no greeting.
pub(super) fn after_tls<S>(stream: S) -> Session<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Session(Connection::new(stream, PATIENCE))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Sends STLS and returns the stream for the handshake.
    pub(super) async fn start_tls(mut self) -> Result<S, Error> {
        self.command("STLS", b"STLS\r\n").await?;
        Ok(self.0.into_stream()?)
    }

    /// Logs in, asks for the listing, and ends the session.
    pub(super) async fn listing(&mut self, login: &Login, want: Want) -> Result<Listing, Error> {
        let before = self.capabilities().await?;
        self.log_in(login, before).await?;
        // A server may offer more after the login, or less.
        let pipelining = self.capabilities().await?.pipelining;
        let mut listing = Listing::default();
        if pipelining {
            self.0.send(b"UIDL\r\nLIST\r\n").await?;
        } else {
            self.0.send(b"UIDL\r\n").await?;
        }
        self.lines("UIDL", |line| listing.push_id(line)).await?;
        if !pipelining {
            self.0.send(b"LIST\r\n").await?;
        }
        self.lines("LIST", |line| listing.push_octets(line)).await?;
        if want == Want::Headers {
            self.headers(&mut listing, if pipelining { BATCH } else { 1 }).await?;
        }
        // The listing is complete, whatever happens now.
        self.command("QUIT", b"QUIT\r\n").await.ok();
        Ok(listing)
    }

    /// Asks for the headers of all messages, `batch` of them at a time.
    async fn headers(&mut self, listing: &mut Listing, batch: usize) -> Result<(), Error> {
        let numbers = (1..=listing.ids.len()).collect::<Vec<_>>();
        for numbers in numbers.chunks(batch) {
            let commands = numbers.iter().map(|number| format!("TOP {number} 0\r\n"));
            self.0.send(commands.collect::<String>().as_bytes()).await?;
            for _ in numbers {
                listing.digests.push(self.header().await?);
            }
        }
        Ok(())
    }

    /// Reads the reply to TOP; `None` if the message cannot be read.
    async fn header(&mut self) -> Result<Option<Digest>, Error> {
        match self.0.status().await? {
            Status::Ok => {}
            Status::Err(_) => return Ok(None),
            Status::Continue => return Err(not_pop3()),
        }
        let (mut digest, mut octets) = (HeaderDigest::default(), 0);
        while let Some(line) = self.0.next_line(MAX_HEADER).await? {
            octets += line.len() + 2;
            if octets > MAX_HEADER {
                return Err(Error::LongReply("TOP"));
            }
            digest.add(line);
        }
        Ok(digest.finish())
    }

    /// What the server offers; nothing if it does not know CAPA.
    async fn capabilities(&mut self) -> Result<Capabilities, Error> {
        let mut capabilities = Capabilities::default();
        self.0.send(b"CAPA\r\n").await?;
        if let Status::Err(_) | Status::Continue = self.0.status().await? {
            return Ok(capabilities);
        }
        let mut count = 0;
        while let Some(line) = self.0.next_line(MAX_LINE).await? {
            count += 1;
            if count > MAX_CAPABILITIES {
                return Err(Error::LongReply("CAPA"));
            }
            let line = line.to_ascii_uppercase();
            let mut words = line.split(|octet| *octet == b' ');
            match words.next() {
                Some(b"PIPELINING") => capabilities.pipelining = true,
                Some(b"SASL") => capabilities.plain = words.any(|word| word == b"PLAIN"),
                Some(_) | None => {}
            }
        }
        Ok(capabilities)
    }

    async fn log_in(&mut self, login: &Login, offered: Capabilities) -> Result<(), Error> {
        if offered.plain {
            return self.auth_plain(login).await;
        }
        let user = [b"USER ", login.name.as_bytes(), b"\r\n"].concat();
        self.command("USER", &user).await?;
        let password =
            Secret::new([b"PASS ", login.password.expose().as_slice(), b"\r\n"].concat());
        self.command("PASS", password.expose()).await
    }

    /// The name and the password in one response, which RFC 5034 §4 allows to send at once if the
    /// command is short enough.
    async fn auth_plain(&mut self, login: &Login) -> Result<(), Error> {
        let response = client::plain_response(login.name.as_bytes(), login.password.expose());
        let command = Secret::new(format!("AUTH PLAIN {}\r\n", response.expose()));
        let is_short = command.expose().len() <= MAX_COMMAND;
        self.0.send(if is_short { command.expose().as_bytes() } else { b"AUTH PLAIN\r\n" }).await?;
        let status = match self.0.status().await? {
            // Some servers ask again for what they have been sent.
            Status::Continue => {
                let response = Secret::new(format!("{}\r\n", response.expose()));
                self.0.send(response.expose().as_bytes()).await?;
                self.0.status().await?
            }
            status @ (Status::Ok | Status::Err(_)) => status,
        };
        accepted("AUTH", status)
    }

    /// Sends a command and expects a positive reply of one line.
    async fn command(&mut self, name: &'static str, line: &[u8]) -> Result<(), Error> {
        self.0.send(line).await?;
        accepted(name, self.0.status().await?)
    }

    /// Reads a listing.
    async fn lines(
        &mut self,
        command: &'static str,
        mut push: impl FnMut(&[u8]) -> Result<(), BadLine>,
    ) -> Result<(), Error> {
        accepted(command, self.0.status().await?)?;
        let mut count = 0;
        while let Some(line) = self.0.next_line(MAX_LINE).await? {
            count += 1;
            if count > MAX_MESSAGES {
                return Err(Error::TooMany);
            }
            push(line)?;
        }
        Ok(())
    }
}

fn not_pop3() -> Error {
    client::Error::NotPop3(Shown::new(b"+")).into()
}

fn accepted(command: &'static str, status: Status) -> Result<(), Error> {
    match status {
        Status::Ok => Ok(()),
        Status::Err(reply) => Err(Error::Refused { command, reply }),
        Status::Continue => Err(not_pop3()),
    }
}

/// How many headers are asked for at a time.
const BATCH: usize = 50;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::protocol::{ClaimedName, Username};

    /// What comes of these replies, and what the client sent.
    async fn asked(replies: &str, want: Want) -> (Result<Listing, Error>, String) {
        let (near, mut far) = tokio::io::duplex(4 << 20);
        far.write_all(replies.as_bytes()).await.unwrap();
        let login = Login {
            user: Username::try_from("mrose").unwrap(),
            name: ClaimedName::new(&b"MRose"[..]),
            password: Secret::new(b"tanstaaf".to_vec()),
        };
        let mut session = greeted(near).await.unwrap();
        let listing = session.listing(&login, want).await;
        drop(session);
        let mut sent = String::new();
        far.read_to_string(&mut sent).await.unwrap();
        (listing, sent)
    }

    const LOGIN: &str = "+OK\r\n-ERR\r\n+OK\r\n+OK\r\n-ERR\r\n";

    #[tokio::test]
    async fn nothing_on_the_server_changes() {
        let replies = format!("{LOGIN}+OK\r\n1 a\r\n.\r\n+OK\r\n1 7\r\n.\r\n+OK\r\n");
        let (listing, sent) = asked(&replies, Want::Listing).await;
        assert_eq!(listing.unwrap().ids, [b"a"]);
        let expected = "CAPA\r\nUSER MRose\r\nPASS tanstaaf\r\nCAPA\r\nUIDL\r\nLIST\r\nQUIT\r\n";
        assert_eq!(sent, expected);
    }

    #[tokio::test]
    async fn replies_are_bounded() {
        let capabilities = format!("+OK\r\n+OK\r\n{}.\r\n", "X\r\n".repeat(101));
        let line = format!("{LOGIN}+OK\r\n1 {}\r\n.\r\n", "a".repeat(1024));
        let header = format!("x: {}\r\n", "y".repeat(995)).repeat(1050);
        let top =
            format!("{LOGIN}+OK\r\n1 a\r\n.\r\n+OK\r\n1 7\r\n.\r\n+OK\r\n{header}\r\n.\r\n+OK\r\n");
        for (replies, expected) in [
            (capabilities, "the reply of the server to CAPA is too long"),
            (line, "a line of the server has more than 1024 octets"),
            (top, "the reply of the server to TOP is too long"),
        ] {
            let (listing, _) = asked(&replies, Want::Headers).await;
            assert_eq!(listing.unwrap_err().to_string(), expected);
        }
    }
}
