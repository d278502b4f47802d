//! One session with a client, which chooses each command by the replies so far.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::time::Instant;

use super::record::{Record, RecordedStream};
use super::scenario::{Action, Server};
use crate::config::{self, Config, FileSection, Guard};
use crate::credentials::FileStore;
use crate::login::{Authenticator, Rules};
use crate::mailbox::maildir::{MaildirStore, PathTemplate};
use crate::password::WeakSchemes;
use crate::session::{self, End, Env, Link, Policy, Security};

/// The environment that all sessions of a scenario share.
pub(super) type TestEnv = Env<MaildirStore, FileStore>;

/// The environment of a server with one user, whose Maildir is at `maildir`.
pub(super) fn test_env(maildir: &Path, users: &Path, server: Server) -> TestEnv {
    fs::write(users, "mrose:{PLAIN}tanstaaf\n").unwrap();
    let store = FileStore::open(&FileSection::from(users), WeakSchemes::Refused).unwrap();
    let authenticator = Authenticator::new(vec![store], Rules::default(), Arc::default()).unwrap();
    let policy = Policy {
        allow_cleartext: true,
        failure_delay: Duration::ZERO,
        ..Policy::new("pop.example.org")
    };
    let mut store = MaildirStore::new(PathTemplate::new(maildir));
    if server == Server::Dovecot {
        store = store.with_unique_ids(&from_dovecot(), &Guard::default()).unwrap();
    }
    Env::new(store, authenticator, policy)
}

/// The settings for mail that Dovecot has served.
fn from_dovecot() -> config::Maildir {
    let text = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = \"off\"\n\
                [auth]\nallow-cleartext = true\n\
                [[credentials]]\nkind = \"file\"\npath = \"users\"\n\
                [maildir]\npath = \"{user}\"\nuidl = [\"dovecot\", \"base-name\"]\n";
    Config::parse(text, Path::new("restante.toml")).unwrap().maildir
}

/// Runs a session whose client does `action`, and deletes the messages `to_delete`.
pub(super) async fn run_session(
    env: &TestEnv,
    action: Action,
    to_delete: &[String],
    record: &Record,
) -> End {
    let (near, far) = tokio::io::duplex(64 << 10);
    let session = async {
        let deadline = Instant::now() + Duration::from_secs(120);
        let security = Security::Cleartext { stls: false };
        let link = Link::alone(security, IpAddr::V4(Ipv4Addr::LOCALHOST), deadline);
        let mut stream = RecordedStream { stream: far, record: record.clone() };
        session::run(&mut stream, env, &link).await
    };
    let mut client = Client { stream: BufReader::new(near), record };
    let play = async {
        let done = client.play(action, to_delete).await;
        // After QUIT a client waits for the server to close.
        if done.is_some() && action != Action::Disconnect {
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
    /// `None` if the server closes the connection before the client is done.
    async fn play(&mut self, action: Action, to_delete: &[String]) -> Option<()> {
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
            let keep = !to_delete.iter().any(|other| other == unique_id);
            match action {
                Action::Poll => {}
                Action::Fetch => {
                    self.ask(&format!("RETR {number}")).await?;
                    self.ask(&format!("TOP {number} 2")).await?;
                }
                Action::Move => {
                    // A client deletes only the messages that it has retrieved.
                    if is_ok(&self.ask(&format!("RETR {number}")).await?) && !keep {
                        self.ask(&format!("DELE {number}")).await?;
                    }
                }
                Action::Delete | Action::Disconnect if keep => {}
                Action::Delete | Action::Disconnect => {
                    drop(self.ask(&format!("DELE {number}")).await?)
                }
            }
        }
        if action != Action::Disconnect {
            self.ask("QUIT").await?;
        }
        Some(())
    }

    /// Sends a command and reads the lines of its reply.
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

/// Whether a positive reply to a command has more than one line.
pub(super) fn is_multi_line(command: &str) -> bool {
    let verb = command.split(' ').next();
    command == "LIST" || command == "UIDL" || verb == Some("RETR") || verb == Some("TOP")
}

fn is_ok(reply: &[String]) -> bool {
    reply[0].starts_with("+OK")
}
