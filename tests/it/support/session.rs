//! One session in memory, from the octets that a client sends to those that it receives, and the
//! check of its replies. `fuzz` includes this file, too.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use restante::credentials::CredentialStore;
use restante::mailbox::Mailbox;
use restante::session::{self, End, Env, Link, Security, Summary};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

/// The address of the client.
pub const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Stored messages whose contents look like parts of replies.
pub const MESSAGES: [&str; 3] = [
    "Subject: one\n\n.dots\n..\n.\n",
    "Subject: only a header, without an end",
    "Subject: three\r\n\r\nline\r\nline\r\n+OK not a reply\r\n-ERR nor this",
];

/// A new connection from [`PEER`].
pub fn link(security: Security) -> Link {
    Link::alone(security, PEER, Instant::now() + Duration::from_secs(120))
}

/// Runs a session whose client sends `input`, in pieces of at most `piece` octets, and then closes
/// its side. Returns what the client received, and how the session ended.
pub async fn converse<M: Mailbox, C: CredentialStore>(
    env: &Env<M, C>,
    security: Security,
    input: &[u8],
    piece: usize,
) -> (Vec<u8>, End, Summary) {
    let (client, mut server) = tokio::io::duplex(piece.max(1));
    let (mut reader, mut writer) = tokio::io::split(client);
    let session = async {
        let link = link(security);
        let end = session::run(&mut server, env, &link).await;
        drop(server);
        (end, link.connection.handle().activity().summary)
    };
    let send = async {
        // The session may end before it has read everything.
        writer.write_all(input).await.ok();
        writer.shutdown().await.ok();
    };
    let mut output = Vec::new();
    let ((end, summary), (), read) = tokio::join!(session, send, reader.read_to_end(&mut output));
    read.expect("memory can be read");
    (output, end, summary)
}

/// Checks that each line of `input` has exactly one reply in `output`, until the session ended.
/// Returns the number of lines that were answered.
///
/// # Panics
/// At an octet that is not part of a reply.
pub fn count_replies(input: &[u8], output: &[u8]) -> usize {
    let mut replies = output.split_inclusive(|octet| *octet == b'\n');
    let mut next = || {
        let line = replies.next()?;
        let text = line.strip_suffix(b"\r\n");
        Some(text.unwrap_or_else(|| panic!("no CRLF: {}", line.escape_ascii())))
    };
    assert!(next().expect("a greeting").starts_with(b"+OK"), "the greeting");
    let (mut in_exchange, mut answered) = (false, 0);
    for line in input.split_inclusive(|octet| *octet == b'\n') {
        let Some(reply) = next() else { break };
        answered += 1;
        let was_in_exchange = std::mem::replace(&mut in_exchange, reply.starts_with(b"+ "));
        if in_exchange {
            continue;
        }
        let shown = reply.escape_ascii();
        assert!(reply.starts_with(b"+OK") || reply.starts_with(b"-ERR"), "{shown}");
        assert!(reply.len() <= 510, "{shown}");
        if reply.starts_with(b"+OK") && !was_in_exchange && has_many_lines(line) {
            while next().expect("a final dot") != b"." {}
        }
    }
    assert_eq!(next(), None, "a line after the last reply");
    answered
}

/// Whether a positive reply to a command has many lines.
fn has_many_lines(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line).trim().to_ascii_uppercase();
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    matches!(
        (words.next().unwrap_or_default(), words.next()),
        ("RETR" | "TOP" | "CAPA", _) | ("LIST" | "UIDL" | "AUTH" | "LANG", None)
    )
}
