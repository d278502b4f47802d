//! Plays a transcript: a session on a pipe, a temporary Maildir, and a client that follows the script.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use restante::config::FileSection;
#[cfg(feature = "oauth2")]
use restante::config::{Asking, Oauth2Section, TokenTerms};
#[cfg(feature = "oauth2")]
use restante::credentials::Oauth2Provider;
use restante::credentials::{FileStore, Store, TokenProvider};
use restante::login::{Authenticator, Rules};
use restante::mailbox::maildir::{MaildirStore, PathTemplate};
use restante::password::WeakSchemes;
use restante::protocol::Username;
use restante::session::{self, End, Env, Link, Policy, Security};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::log::Log;
use super::script::{Script, Step, duration};
use crate::support::clock::paused_runtime;

/// Plays a transcript. Returns its text; with `bless`, with the lines of the server as it sent them.
///
/// The error begins with the number of the line that was wrong.
pub(crate) fn perform(script: &Script, log: &Log, bless: bool) -> Result<String, String> {
    log.clear();
    paused_runtime().block_on(async {
        let mut player = Player::build(script, log.clone());
        let mut text = String::new();
        for (at, (line, step)) in script.lines.iter().enumerate() {
            let said = player.play(step, bless, &mut text).await;
            let said = said.map_err(|why| format!("{}: {line}\n    {why}", at + 1))?;
            text.push_str(&said.unwrap_or_else(|| line.clone()));
            text.push('\n');
        }
        player.close().await.map_err(|why| format!("{}: {why}", script.lines.len()))?;
        Ok(text)
    })
}

struct Player {
    files: TempDir,
    log: Log,
    client: Option<DuplexStream>,
    received: Vec<u8>,
    ends: mpsc::UnboundedReceiver<String>,
    handshakes: mpsc::UnboundedSender<()>,
}

impl Player {
    fn build(script: &Script, log: Log) -> Self {
        let files = tempfile::tempdir().expect("a temporary directory");
        let mut users = String::new();
        let mut provider = None;
        let mut certificate = Vec::new();
        let mut fixture = "two-messages";
        let mut security = Security::Cleartext { stls: false };
        let mut policy = Policy {
            allow_cleartext: true,
            lock_wait: Duration::from_secs(1),
            ..Policy::new("pop.example.org")
        };
        let mut login = Duration::from_secs(120);
        for (line, step) in &script.lines {
            match step {
                Step::Maildir(name) => fixture = name,
                Step::User { name, password } => {
                    users.push_str(&format!("{name}:{{PLAIN}}{password}\n"));
                }
                Step::Provider(issuer) => provider = Some(issuer.clone()),
                Step::Certificate(name) => {
                    certificate.push(Username::try_from(name.as_str()).expect(line));
                }
                Step::Listener(kind) => match kind.as_str() {
                    "plain-cleartext" => {}
                    "starttls" => {
                        security = Security::Cleartext { stls: true };
                        policy.allow_cleartext = false;
                    }
                    "tls" => {
                        security = Security::ImplicitTls;
                        policy.allow_cleartext = false;
                    }
                    _ => panic!("{line}"),
                },
                Step::Policy { key, value } => {
                    let time = || duration(value).expect(line);
                    match key.as_str() {
                        "bad-commands" => policy.bad_commands = value.parse().expect(line),
                        "failed-logins" => policy.failed_logins = value.parse().expect(line),
                        "failure-delay" => policy.failure_delay = time(),
                        "idle" => policy.idle = time(),
                        "default-domain" => policy.default_domain = Some(value.as_str().into()),
                        "utf8" => policy.utf8 = value.parse().expect(line),
                        "login" => login = time(),
                        _ => panic!("{line}"),
                    }
                }
                _ => {}
            }
        }
        let password_file = files.path().join("users");
        fs::write(&password_file, users).expect("write the credential file");
        copy(&fixture_path(fixture), &files.path().join("Maildir"));

        let store = FileStore::open(&FileSection::from(&*password_file), WeakSchemes::Refused)
            .expect("a good credential file");
        #[cfg(feature = "oauth2")]
        let providers = provider.map(|issuer| tokens(issuer, files.path())).into_iter().collect();
        #[cfg(not(feature = "oauth2"))]
        let providers = {
            assert_eq!(provider, None, "the feature oauth2 is not built");
            Vec::<Box<dyn TokenProvider>>::new()
        };
        let template = PathTemplate::new(files.path().join("Maildir"));
        let stores = vec![Store::File(store)];
        let authenticator = Authenticator::new(stores, Rules::default(), Arc::default())
            .unwrap()
            .with_token_providers(providers);
        let env = Env::new(MaildirStore::new(template), authenticator, policy);
        let (client, mut server) = tokio::io::duplex(64 * 1024);
        let (ended, ends) = mpsc::unbounded_channel();
        let (handshakes, mut shaken) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let peer = Ipv4Addr::LOCALHOST.into();
            let link = Link::alone(security, peer, Instant::now() + login);
            let mut link = Link { certificate, ..link };
            loop {
                let end = session::run(&mut server, &env, &link).await;
                ended.send(end.to_string()).expect("the player is there");
                if !matches!(end, End::StartTls) || shaken.recv().await.is_none() {
                    return;
                }
                link.security = Security::UpgradedTls;
            }
        });
        Self { files, log, client: Some(client), received: Vec::new(), ends, handshakes }
    }

    /// Plays one step. With `bless`, lines of the server that are missing in the script go into
    /// `before`, and a line that differs is returned as it was sent.
    async fn play(
        &mut self,
        step: &Step,
        bless: bool,
        before: &mut String,
    ) -> Result<Option<String>, String> {
        let maildir = self.files.path().join("Maildir");
        match step {
            Step::Nothing
            | Step::Maildir(_)
            | Step::User { .. }
            | Step::Provider(_)
            | Step::Certificate(_)
            | Step::Listener(_)
            | Step::Policy { .. } => {}
            Step::Send(bytes) => {
                if bless {
                    while let Some(line) = self.line(Duration::from_millis(1)).await {
                        before.push_str(&format!("S: {line}\n"));
                    }
                }
                let client = self.client.as_mut().ok_or("the client is gone")?;
                // The script goes on after the server has closed; `closed` checks that.
                let _ = timeout(Duration::from_secs(1), client.write_all(bytes)).await;
            }
            Step::Expect(pattern) => {
                let line = self.line(Duration::from_secs(30)).await;
                let said = line.ok_or("the server said nothing")?;
                if !matches(pattern, &said) {
                    if bless {
                        return Ok(Some(format!("S: {said}")));
                    }
                    return Err(format!("the server said {said:?}"));
                }
            }
            Step::ExpectBytes(bytes) => {
                while self.received.len() < bytes.len() {
                    if !self.receive(Duration::from_secs(30)).await {
                        break;
                    }
                }
                let said: Vec<u8> =
                    self.received.drain(..bytes.len().min(self.received.len())).collect();
                if said != *bytes {
                    return Err(format!("the server said \"{}\"", said.escape_ascii()));
                }
            }
            Step::Starttls => {
                self.expect_end("starttls").await?;
                self.handshakes.send(()).map_err(|_gone| "the session is over")?;
            }
            Step::Wait(time) => tokio::time::sleep(*time).await,
            Step::Eof => {
                let client = self.client.as_mut().ok_or("the client is gone")?;
                client.shutdown().await.map_err(|error| error.to_string())?;
            }
            Step::Disconnect => {
                // A client that is gone receives no earlier output either.
                self.client = None;
                self.received.clear();
            }
            Step::Closed => {
                self.receive(Duration::from_millis(1)).await;
                if !self.received.is_empty() {
                    return Err(format!("the server said \"{}\"", self.received.escape_ascii()));
                }
                let client = self.client.as_mut().ok_or("the client is gone")?;
                match timeout(Duration::from_millis(1), client.read(&mut [0; 1])).await {
                    Ok(Ok(0)) => {}
                    _ => return Err("the server did not close".to_owned()),
                }
            }
            Step::Quiet => {
                self.receive(Duration::from_millis(1)).await;
                if !self.received.is_empty() {
                    return Err(format!("the server said \"{}\"", self.received.escape_ascii()));
                }
                if self.ends.try_recv().is_ok() {
                    return Err("the session is over".to_owned());
                }
            }
            Step::ExpectMaildir(name) => {
                let (is, wanted) = (contents(&maildir), contents(&fixture_path(name)));
                if is != wanted {
                    let names = |tree: &BTreeMap<PathBuf, Vec<u8>>| format!("{:?}", tree.keys());
                    return Err(format!("is {}, not {}", names(&is), names(&wanted)));
                }
            }
            Step::ExpectMessages(names) => {
                let mut is: Vec<String> = contents(&maildir)
                    .into_keys()
                    .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
                    .filter(|name| !name.starts_with('.'))
                    .collect();
                is.sort();
                let mut wanted = names.clone();
                wanted.sort();
                if is != wanted {
                    return Err(format!("the messages are {is:?}"));
                }
            }
            Step::ExpectLog(text) => {
                if !self.log.text().contains(text) {
                    return Err(format!("the log is:\n{}", self.log.text()));
                }
            }
            Step::ExpectNoLog(text) => {
                if self.log.text().contains(text) {
                    return Err(format!("the log is:\n{}", self.log.text()));
                }
            }
            Step::ExpectEnd(why) => self.expect_end(why).await?,
            Step::RemoveFile(name) => fs::remove_file(maildir.join(name)).map_err(said)?,
            Step::RemoveDirectory(name) => fs::remove_dir_all(maildir.join(name)).map_err(said)?,
            Step::RenameFile { from, to } => {
                fs::rename(maildir.join(from), maildir.join(to)).map_err(said)?;
            }
            Step::TruncateFile { name, octets } => {
                let file = fs::OpenOptions::new().write(true).open(maildir.join(name));
                file.and_then(|file| file.set_len(*octets)).map_err(said)?;
            }
        }
        Ok(None)
    }

    /// Ends the session, and checks that the server has sent no more lines than the script has.
    async fn close(mut self) -> Result<(), String> {
        if self.client.is_some() {
            self.receive(Duration::from_millis(1)).await;
        }
        if !self.received.is_empty() {
            return Err(format!("unexpected: \"{}\"", self.received.escape_ascii()));
        }
        self.client = None;
        drop(self.handshakes);
        // The channel is closed when the task has ended or panicked.
        let mut last = None;
        while let Some(end) = self.ends.recv().await {
            last = Some(end);
        }
        drop(last);
        Ok(())
    }

    async fn expect_end(&mut self, why: &str) -> Result<(), String> {
        match timeout(Duration::from_millis(1), self.ends.recv()).await {
            Ok(Some(end)) if end == why => Ok(()),
            Ok(Some(end)) => Err(format!("the session ended with {end}")),
            Ok(None) => Err("the session had ended before, or it panicked".to_owned()),
            Err(_) => Err("the session goes on".to_owned()),
        }
    }

    /// The next line of the server without its CRLF, with bytes beyond ASCII escaped.
    async fn line(&mut self, patience: Duration) -> Option<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                let line = &line[..end];
                return Some(match std::str::from_utf8(line) {
                    Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
                    _ => line.escape_ascii().to_string(),
                });
            }
            if !self.receive(patience).await {
                return None;
            }
        }
    }

    /// Reads what the server sends within a time of the paused clock.
    async fn receive(&mut self, patience: Duration) -> bool {
        let Some(client) = self.client.as_mut() else { return false };
        let before = self.received.len();
        let read = timeout(patience, client.read_buf(&mut self.received)).await;
        matches!(read, Ok(Ok(_))) && self.received.len() > before
    }
}

/// Whether a line matches the pattern, in which each `…` stands for any text.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|start| line.strip_prefix(start)) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        open = part.is_empty();
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    open || rest.is_empty()
}

/// A provider of tokens that does not answer: transcripts show what is refused without it.
#[cfg(feature = "oauth2")]
fn tokens(issuer: String, files: &Path) -> Box<dyn TokenProvider> {
    let trusted = rcgen::generate_simple_self_signed(["id.example.org".to_owned()]).unwrap();
    let ca = files.join("ca.pem");
    fs::write(&ca, trusted.cert.pem()).expect("write the certificates to trust");
    let provider = Oauth2Provider::open(&Oauth2Section {
        terms: TokenTerms {
            issuer,
            audience: "mail".to_owned(),
            scope: Some("pop".to_owned()),
            user_claim: "sub".to_owned(),
        },
        introspection: None,
        ca: Some(ca),
        asking: Asking { deadline: Duration::from_secs(1), at_once: std::num::NonZeroU32::MIN },
    });
    Box::new(provider.expect("a provider of tokens"))
}

fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/maildirs").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("create a directory");
    for entry in fs::read_dir(from).expect("a fixture") {
        let entry = entry.expect("a fixture");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy a fixture");
        }
    }
}

/// All files below a Maildir with their contents, except for the server's own files.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut tree = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a Maildir") {
            let path = entry.expect("a Maildir").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below the root").to_owned();
                if !name.to_string_lossy().starts_with("restante.") {
                    tree.insert(name, fs::read(&path).expect("a message"));
                }
            }
        }
    }
    tree
}

#[expect(clippy::needless_pass_by_value, reason = "a function for map_err")]
fn said(error: std::io::Error) -> String {
    error.to_string()
}
