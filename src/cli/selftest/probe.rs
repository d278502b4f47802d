//! The server under test: connections to it, one at a time where the rule permits, and logins.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::capabilities::Capabilities;
use super::dialogue::{Dialogue, Reply};
use super::login::{Login, Way};
use super::record::Record;
use super::rule::Finding;
use super::target::{Target, Tls};
use crate::cli::client::{self, Connector};

/// The server, and what is known of it.
pub(super) struct Probe {
    pub(super) target: Target,
    pub(super) record: Rc<RefCell<Record>>,
    pub(super) login: Option<Login>,
    runtime: Rc<Runtime>,
    connector: Connector,
    patience: Duration,
    /// A connection before login that a test has left as it was.
    idle: Option<Dialogue>,
    /// A session that a test has left as it was.
    session: Option<Dialogue>,
    /// Whether the wrong password has been tried; it is sent once, since servers ban whom they take
    /// for an attacker.
    has_tried_wrong_password: bool,
    /// The reply to it.
    wrong_password: Option<Reply>,
    /// The reply to a login while there was a session, for which a server may let a client wait.
    second_login: Option<Reply>,
    /// Why the first login was refused, or got no reply.
    refused: Option<String>,
    /// That of the first login.
    way: Option<Way>,
}

impl Probe {
    pub(super) fn new(
        target: Target,
        connector: Connector,
        login: Option<Login>,
        patience: Duration,
        runtime: Runtime,
    ) -> Self {
        let mut record = Record::default();
        for secret in login.iter().flat_map(Login::secrets) {
            record.hide(secret);
        }
        Self {
            target,
            record: Rc::new(RefCell::new(record)),
            login,
            runtime: Rc::new(runtime),
            connector,
            patience,
            idle: None,
            session: None,
            has_tried_wrong_password: false,
            wrong_password: None,
            second_login: None,
            refused: None,
            way: None,
        }
    }

    /// A TCP connection before its greeting.
    pub(super) fn connect(&mut self) -> Result<TcpStream, client::Error> {
        self.idle = None;
        let Target { host, port, .. } = &self.target;
        self.runtime.block_on(client::connect(host, *port, self.patience))
    }

    /// A new connection as it is before STLS, with its greeting.
    pub(super) fn plain(&mut self) -> Result<(Dialogue, Reply), Finding> {
        let stream = self.connect()?;
        let dialogue = Dialogue::plain(&self.runtime, &self.record, stream, self.patience);
        greeted(dialogue)
    }

    /// A new connection with TLS from the start, with its greeting.
    fn implicit(&mut self) -> Result<(Dialogue, Reply), Finding> {
        let stream = self.connect()?;
        greeted(self.handshake(stream)?)
    }

    /// The TLS handshake.
    pub(super) fn handshake(&self, stream: TcpStream) -> Result<Dialogue, client::Error> {
        let stream = self.connector.secure(&self.target.host, stream, self.patience);
        let stream = self.runtime.block_on(stream)?;
        if let Some(version) = stream.get_ref().1.protocol_version() {
            self.record.borrow_mut().note(&format!("TLS: {version:?}"));
        }
        Ok(Dialogue::secure(&self.runtime, &self.record, stream, self.patience))
    }

    /// A new connection with its greeting, before STLS.
    pub(super) fn greeting(&mut self) -> Result<(Dialogue, Reply), Finding> {
        match self.target.tls {
            Tls::Implicit => self.implicit(),
            Tls::Starttls | Tls::Off => self.plain(),
        }
    }

    /// A new connection that is ready for a login.
    pub(super) fn fresh(&mut self) -> Result<Dialogue, Finding> {
        let (mut dialogue, _) = self.greeting()?;
        if self.target.tls == Tls::Starttls {
            dialogue.accepts("STLS")?;
            return Ok(self.handshake(dialogue.into_stream()?)?);
        }
        Ok(dialogue)
    }

    /// A connection that is ready for a login, perhaps one that has been used.
    pub(super) fn before_login(&mut self) -> Result<Dialogue, Finding> {
        match self.idle.take() {
            Some(dialogue) => Ok(dialogue),
            None => self.fresh(),
        }
    }

    /// Gives back a connection whose last reply has been read.
    pub(super) fn keep(&mut self, dialogue: Dialogue) {
        self.idle = Some(dialogue);
    }

    /// The result of an operation on a stream of its own.
    pub(super) fn in_time<T>(
        &self,
        operation: impl Future<Output = T>,
    ) -> Result<T, client::Error> {
        self.runtime.block_on(client::within(self.patience, operation))
    }

    /// Text of the server as it is shown.
    pub(super) fn shown(&self, text: &str) -> String {
        self.record.borrow().shown(text.as_bytes())
    }

    /// Why the first login was refused, if it was.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// What the server offers before login.
    pub(super) fn capabilities(&mut self) -> Result<Capabilities, Finding> {
        let mut dialogue = self.before_login()?;
        let capabilities = Capabilities::ask(&mut dialogue)?;
        self.keep(dialogue);
        Ok(capabilities)
    }

    /// A session, perhaps one that has been used. It has no marks.
    pub(super) fn session(&mut self) -> Result<Dialogue, Finding> {
        match self.session.take() {
            Some(dialogue) => Ok(dialogue),
            None => self.new_session(),
        }
    }

    /// Gives back a session without marks, whose last reply has been read.
    pub(super) fn keep_session(&mut self, dialogue: Dialogue) {
        self.session = Some(dialogue);
    }

    /// Ends the kept session without QUIT, since some servers remove what has been retrieved.
    pub(super) fn end_session(&mut self) {
        self.session = None;
    }

    /// Makes sure that the password is right, for which there must have been a login.
    pub(super) fn admitted(&mut self) -> Result<(), Finding> {
        self.not_refused()?;
        if self.way.is_none() {
            let session = self.new_session()?;
            self.keep_session(session);
        }
        Ok(())
    }

    /// A new session; the kept one ends before.
    pub(super) fn new_session(&mut self) -> Result<Dialogue, Finding> {
        self.not_refused()?;
        let (dialogue, reply) = match self.way {
            Some(way) => self.attempt(way)?,
            None => self.first_login()?,
        };
        match reply.is_ok() {
            true => Ok(dialogue),
            false => Err(refused(self.refused.insert(reply.text().to_owned()))),
        }
    }

    /// A refused password is not sent again and again.
    fn not_refused(&self) -> Result<(), Finding> {
        self.refused.as_deref().map_or(Ok(()), |why| Err(refused(why)))
    }

    /// The first login, by PASS or AUTH PLAIN: the one that works is that of all sessions.
    fn first_login(&mut self) -> Result<(Dialogue, Reply), Finding> {
        let capabilities = self.capabilities()?;
        let has_plain = capabilities.mechanisms().any(|name| name == "PLAIN");
        if capabilities.has("USER") || !has_plain {
            let (dialogue, reply) = self.attempt(Way::UserPass)?;
            if reply.is_ok() || !has_plain {
                self.way = Some(Way::UserPass);
                return Ok((dialogue, reply));
            }
        }
        let attempted = self.attempt(Way::Plain)?;
        self.way = Some(Way::Plain);
        Ok(attempted)
    }

    /// A login in this way on a new connection, after the kept session has ended.
    pub(super) fn attempt(&mut self, way: Way) -> Result<(Dialogue, Reply), Finding> {
        self.end_session();
        let mut tries = 0..TRIES;
        loop {
            let mut dialogue = self.fresh()?;
            let reply = match self.needed_login()?.log_in(way, &mut dialogue) {
                // Some servers refuse a wrong password by closing the connection.
                Err(Finding::Broken(why)) if self.way.is_none() => {
                    return Err(refused(self.refused.insert(why)));
                }
                reply => reply?,
            };
            // The server may not have noticed the end of the last session, or wants fewer logins.
            let is_early = reply.has_code("IN-USE") || reply.has_code("LOGIN-DELAY");
            if !is_early || tries.next().is_none() {
                return Ok((dialogue, reply));
            }
            dialogue.note("another try in 10 s");
            drop(dialogue);
            self.runtime.block_on(async { tokio::time::sleep(RETRY).await });
        }
    }

    /// The reply to a login while there is a session, which goes on.
    pub(super) fn second_login(&mut self) -> Result<&Reply, Finding> {
        let reply = match self.second_login.take() {
            Some(reply) => reply,
            None => self.send_second_login()?,
        };
        Ok(self.second_login.insert(reply))
    }

    fn send_second_login(&mut self) -> Result<Reply, Finding> {
        let mut session = self.session()?;
        let mut second = self.fresh()?;
        let way = self.way.unwrap_or(Way::UserPass);
        let reply = self.needed_login()?.log_in(way, &mut second)?;
        session.accepts("NOOP")?;
        drop(second);
        self.keep_session(session);
        match reply.has_code("LOGIN-DELAY") {
            true => Err(refused(reply.text())),
            false => Ok(reply),
        }
    }

    /// The reply to a wrong password of the user, which is sent once.
    pub(super) fn wrong_password(&mut self) -> Result<&Reply, Finding> {
        let reply = match self.wrong_password.take() {
            Some(reply) => reply,
            None => self.send_wrong_password()?,
        };
        Ok(self.wrong_password.insert(reply))
    }

    fn send_wrong_password(&mut self) -> Result<Reply, Finding> {
        if self.has_tried_wrong_password {
            return Err(Finding::not_tested("the wrong password has been tried, without a result"));
        }
        self.end_session();
        let mut dialogue = self.fresh()?;
        self.has_tried_wrong_password = true;
        dialogue.note("the password is wrong on purpose");
        let user = self.needed_login()?.user.clone();
        let reply = dialogue.ask(&format!("USER {user}"))?;
        let reply = match reply.is_ok() {
            true => dialogue.ask(&format!("PASS {WRONG_PASSWORD}"))?,
            false if Capabilities::ask(&mut dialogue)?.has("USER") => reply,
            false => {
                let wrong = client::plain_response(user.as_bytes(), WRONG_PASSWORD.as_bytes());
                dialogue.ask(&format!("AUTH PLAIN {}", wrong.expose()))?
            }
        };
        if reply.is_err() {
            // RFC 1939 §4: the server may close the connection after a login that it refuses.
            dialogue.refuses_or_closes("STAT", "STAT does not get -ERR")?;
        }
        Ok(reply)
    }

    /// The login, without which a rule cannot be tested.
    pub(super) fn needed_login(&self) -> Result<&Login, Finding> {
        self.login.as_ref().ok_or_else(|| Finding::not_tested("it needs a login: --user"))
    }
}

fn refused(why: &str) -> Finding {
    Finding::not_tested(format!("the login is refused: {why}"))
}

fn greeted(mut dialogue: Dialogue) -> Result<(Dialogue, Reply), Finding> {
    let greeting = dialogue.reply()?;
    let why = format!("the greeting is {}", greeting.text());
    match (greeting.is_ok(), greeting.is_err()) {
        (true, _) => Ok((dialogue, greeting)),
        // There may be too many connections.
        (false, true) => Err(Finding::NotTested(why)),
        (false, false) => Err(Finding::Broken(why)),
    }
}

/// The password of the test that sends a wrong one.
const WRONG_PASSWORD: &str = "restante-selftest-wrong-password";

/// How often a login is tried again that came too early, and after what time.
const TRIES: u32 = 6;
const RETRY: Duration = Duration::from_secs(10);
