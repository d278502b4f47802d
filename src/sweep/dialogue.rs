//! A session and its client, which does one thing after the other as its replies are.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::time::Instant;

use super::record::{Record, Recorded};
use super::scenario::Deed;
use crate::config::FileSection;
use crate::credentials::FileStore;
use crate::login::{Authenticator, Rules};
use crate::mailbox::maildir::{MaildirStore, PathTemplate};
use crate::password::WeakSchemes;
use crate::session::{self, End, Env, Link, Policy, Security, Summary};

/// What the sessions of a scenario share.
pub(super) type World = Env<MaildirStore, FileStore>;

/// A server of one user, whose Maildir is at `maildir`.
pub(super) fn world(maildir: &Path, users: &Path) -> World {
    fs::write(users, "mrose:{PLAIN}tanstaaf\n").unwrap();
    let store = FileStore::open(&FileSection::from(users), WeakSchemes::Refused).unwrap();
    let authenticator = Authenticator::new(vec![store], Rules::default(), Arc::default()).unwrap();
    let policy = Policy {
        allow_cleartext: true,
        failure_delay: Duration::ZERO,
        ..Policy::new("pop.example.org")
    };
    Env::new(MaildirStore::new(PathTemplate::new(maildir)), authenticator, policy)
}

/// Has a client do `deed`, with these unique-ids to be deleted.
pub(super) async fn converse(
    world: &World,
    deed: Deed,
    unwanted: &[String],
    record: &Record,
) -> End {
    let (near, far) = tokio::io::duplex(64 << 10);
    let session = async {
        let deadline = Instant::now() + Duration::from_secs(120);
        let security = Security::Cleartext { stls: false };
        let link = Link::new(security, IpAddr::V4(Ipv4Addr::LOCALHOST), deadline);
        let mut stream = Recorded { stream: far, record: record.clone() };
        let mut summary = Summary::default();
        session::run(&mut stream, world, &link, &mut summary).await
    };
    let mut client = Client { stream: BufReader::new(near), record };
    let play = async {
        let done = client.play(deed, unwanted).await;
        // Who has said QUIT waits for the server to close.
        if done.is_some() && deed != Deed::Leave {
            client.line().await;
        }
        drop(client);
    };
    let (end, ()) = tokio::join!(session, play);
    end
}

struct Client<'r> {
    stream: BufReader<DuplexStream>,
    record: &'r Record,
}

impl Client<'_> {
    /// Nothing when the server closes the connection before the client is done.
    async fn play(&mut self, deed: Deed, unwanted: &[String]) -> Option<()> {
        self.line().await?;
        self.ask("USER mrose").await?;
        if !is_ok(&self.ask("PASS tanstaaf").await?) {
            self.ask("QUIT").await?;
            return Some(());
        }
        self.ask("STAT").await?;
        self.ask("LIST").await?;
        let listing = self.ask("UIDL").await?;
        let numbers = listing.iter().skip(1).filter_map(|line| line.split_once(' '));
        for (number, unique_id) in numbers {
            let wanted = !unwanted.iter().any(|other| other == unique_id);
            match deed {
                Deed::Poll => {}
                Deed::Fetch => {
                    self.ask(&format!("RETR {number}")).await?;
                    self.ask(&format!("TOP {number} 2")).await?;
                }
                Deed::Move => {
                    // A client deletes what it has, and nothing else.
                    if is_ok(&self.ask(&format!("RETR {number}")).await?) && !wanted {
                        self.ask(&format!("DELE {number}")).await?;
                    }
                }
                Deed::Delete | Deed::Leave if wanted => {}
                Deed::Delete | Deed::Leave => drop(self.ask(&format!("DELE {number}")).await?),
            }
        }
        if deed != Deed::Leave {
            self.ask("QUIT").await?;
        }
        Some(())
    }

    /// Sends a command and takes the lines of its reply.
    async fn ask(&mut self, command: &str) -> Option<Vec<String>> {
        self.record.command(command);
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
        let mut lines = vec![self.line().await?];
        if is_multi_line(command) && is_ok(&lines) {
            loop {
                let line = self.line().await?;
                if line == "." {
                    break;
                }
                lines.push(line);
            }
        }
        Some(lines)
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.strip_suffix("\r\n").map(str::to_owned)
    }
}

/// Whether the reply to a command has more than one line when it is `+OK`.
pub(super) fn is_multi_line(command: &str) -> bool {
    let verb = command.split(' ').next();
    command == "LIST" || command == "UIDL" || verb == Some("RETR") || verb == Some("TOP")
}

fn is_ok(reply: &[String]) -> bool {
    reply[0].starts_with("+OK")
}
