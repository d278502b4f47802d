//! A small POP3 server with STLS that breaks one rule, or none.
//!
//! The flaw has the name of the rule in `restante selftest`, or is one of these, which break none but
//! what their names say:
//!
//! - `closes-after-wrong-password`, which RFC 1939 §4 allows
//! - `ignores-wrong-password`: it closes the connection without a reply
//! - `repeats-password`: in its reply to a wrong one, and after QUIT

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(super) const PASSWORD: &str = "tan staaf";

/// What all connections share.
pub(super) struct Flawed {
    flaw: &'static str,
    tls: Arc<ServerConfig>,
    mail: Mutex<Vec<(String, String)>>,
    is_locked: Mutex<bool>,
    unlocked: Condvar,
    connections: AtomicUsize,
    sessions: AtomicUsize,
}

impl Flawed {
    /// Serves with this flaw for as long as the process lives.
    pub(super) fn serve(flaw: &'static str) -> SocketAddr {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let tls = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let message = |n| format!("Subject: {n}\r\n\r\none\r\n.two\r\nthree\r\n");
        let server = Arc::new(Self {
            flaw,
            tls: Arc::new(tls),
            mail: Mutex::new((1..4).map(|n| (format!("id{n}"), message(n))).collect()),
            is_locked: Mutex::new(false),
            unlocked: Condvar::new(),
            connections: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (server, stream) = (Arc::clone(&server), stream.unwrap());
                thread::spawn(move || {
                    // The client may go at any time.
                    Connection::new(server, stream).run().ok();
                });
            }
        });
        address
    }

    /// Waits a moment for the end of another session.
    fn lock(&self) -> bool {
        let is_locked = self.is_locked.lock().unwrap();
        let moment = Duration::from_millis(500);
        let waited = self.unlocked.wait_timeout_while(is_locked, moment, |is_locked| *is_locked);
        let mut is_locked = waited.unwrap().0;
        !std::mem::replace(&mut *is_locked, true)
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

struct Connection {
    server: Arc<Flawed>,
    number: usize,
    stream: Stream,
    unread: Vec<u8>,
    user: bool,
    session: Option<Session>,
}

/// A session with its copy of the mail.
struct Session {
    server: Arc<Flawed>,
    number: usize,
    mail: Vec<(String, String)>,
    marks: Vec<bool>,
    retrieved: bool,
    holds_lock: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.server.flaw == "rfc1939-disconnect" {
            self.remove();
        }
        if self.holds_lock {
            *self.server.is_locked.lock().unwrap() = false;
            self.server.unlocked.notify_all();
        }
    }
}

impl Session {
    fn remove(&mut self) {
        let marked = self.mail.iter().zip(&self.marks).filter(|(_, is_marked)| **is_marked);
        let ids = marked.map(|((id, _), _)| id.clone()).collect::<Vec<_>>();
        self.server.mail.lock().unwrap().retain(|(id, _)| !ids.contains(id));
    }
}

impl Connection {
    fn new(server: Arc<Flawed>, stream: TcpStream) -> Self {
        let number = server.connections.fetch_add(1, Ordering::SeqCst);
        let (stream, unread) = (Stream::Plain(stream), Vec::new());
        Self { server, number, stream, unread, user: false, session: None }
    }

    fn has(&self, flaw: &str) -> bool {
        self.server.flaw == flaw
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    fn run(mut self) -> io::Result<()> {
        let later = self.number > 0;
        self.say(if later && self.has("rfc1939-greeting") { "HELLO" } else { "+OK ready" })?;
        loop {
            let line = self.line()?;
            if !self.handle(&line)? {
                return Ok(());
            }
            let in_session = self.session.is_some();
            if self.has("rfc2449-pipelining") && !in_session
                || self.has("rfc2449-session-pipelining") && in_session
            {
                self.unread.clear();
            }
        }
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.send(&format!("{line}\r\n"))
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(text.as_bytes()),
            Stream::Tls(stream) => stream.write_all(text.as_bytes()).and_then(|()| stream.flush()),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            let end = self.unread.iter().position(|octet| *octet == b'\n').map(|at| at + 1);
            let end = match self.unread.len() {
                0 => None,
                all if self.has("rfc1939-split-command") => Some(end.unwrap_or(all)),
                _ => end,
            };
            if let Some(end) = end {
                let line = self.unread.drain(..end).collect::<Vec<_>>();
                let line = String::from_utf8_lossy(&line).into_owned();
                return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            let mut chunk = [0; 4096];
            let read = match &mut self.stream {
                Stream::Plain(stream) => stream.read(&mut chunk)?,
                Stream::Tls(stream) => stream.read(&mut chunk)?,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread.extend_from_slice(&chunk[..read]);
        }
    }

    /// Returns whether the connection stays open.
    fn handle(&mut self, line: &str) -> io::Result<bool> {
        let stripped = line.replace('\0', "");
        let line = if self.has("rfc1939-printable") { &stripped } else { line };
        if line.len() > 200 && self.has("rfc2449-command-length") {
            return Ok(false);
        }
        let (keyword, argument) = line.split_once(' ').unwrap_or((line, ""));
        let case_flaw = match self.session {
            None => "rfc1939-keyword-case",
            Some(_) => "rfc1939-session-keywords",
        };
        let upper = keyword.to_ascii_uppercase();
        let keyword = if self.has(case_flaw) { keyword } else { &upper };
        match keyword {
            "CAPA" => self.capa()?,
            "XYZZY" if self.session.is_none() && self.has("rfc1939-unknown-command") => {
                self.say("+OK")?;
            }
            "XYZZY" if self.session.is_some() && self.has("rfc1939-session-unknown") => {
                return Ok(false);
            }
            "XYZZY" if self.has("rfc2449-codes") => self.say("-ERR [bad code] what?")?,
            _ if self.session.is_some() => return self.in_session(keyword, argument),
            _ => return self.before_login(keyword, argument),
        }
        Ok(true)
    }

    fn capa(&mut self) -> io::Result<()> {
        let mut lines = vec!["TOP", "UIDL", "PIPELINING", "LANG", "UTF8"];
        let or = |flaw: &str, bad: &'static str, good| if self.has(flaw) { bad } else { good };
        lines.push(or("rfc2449-capa", "TOP", "X-NOTHING"));
        lines.push(or("rfc2449-resp-codes", "X-NOTHING-ELSE", "RESP-CODES"));
        lines.push("AUTH-RESP-CODE");
        lines.push(or("rfc2449-login-delay", "LOGIN-DELAY soon", "LOGIN-DELAY 0"));
        lines.push(or("rfc2449-expire", "EXPIRE later", "EXPIRE NEVER"));
        lines.push(or("rfc2449-implementation", "IMPLEMENTATION", "IMPLEMENTATION Flawed"));
        if self.is_tls() || self.has("rfc8314-no-cleartext") {
            lines.push("USER");
            lines.push(or("rfc5034-sasl", "SASL plain", "SASL PLAIN"));
        }
        if !self.is_tls() || self.has("rfc2595-listed") {
            lines.push("STLS");
        }
        if self.session.is_some() && self.has("rfc2449-capa-after-login") {
            lines.truncate(1);
        }
        self.listing(&lines.join("\r\n"))
    }

    fn listing(&mut self, lines: &str) -> io::Result<()> {
        let end = if lines.is_empty() { "" } else { "\r\n" };
        self.send(&format!("+OK\r\n{lines}{end}.\r\n"))
    }

    fn before_login(&mut self, keyword: &str, argument: &str) -> io::Result<bool> {
        match keyword {
            "QUIT" if argument.is_empty() => {
                self.say("+OK bye")?;
                return Ok(self.has("rfc1939-quit"));
            }
            "STLS" if !self.is_tls() => {
                if self.has("rfc2595-stls") && self.number > 0 {
                    self.say("-ERR no")?;
                    return Ok(true);
                }
                self.say("+OK begin")?;
                return self.begin_tls();
            }
            "STAT" if self.has("rfc1939-wrong-state") => self.say("+OK 0 0")?,
            "USER" if self.has("rfc2449-user") => self.say("-ERR no")?,
            "USER" if self.is_tls() || self.has("rfc8314-no-cleartext") => {
                self.user = true;
                self.say("+OK")?;
            }
            "PASS" if self.user && !self.has("rfc1939-user-pass") => self.log_in(argument)?,
            "PASS" if !self.user && self.has("rfc1939-pass-without-user") => self.say("+OK")?,
            "AUTH" if self.is_tls() => return self.auth(argument),
            "UTF8" if argument.is_empty() && !self.has("rfc6856-utf8") => self.say("+OK")?,
            "LANG" if argument.is_empty() && self.has("rfc6856-lang-list") => self.listing("en")?,
            "LANG" if argument.is_empty() => self.listing("en English")?,
            "LANG" if argument == "*" || self.has("rfc6856-lang-choice") => {
                self.say("+OK en yes")?
            }
            _ => self.say("-ERR no")?,
        }
        Ok(true)
    }

    fn begin_tls(&mut self) -> io::Result<bool> {
        if !self.has("rfc2595-discard") {
            self.unread.clear();
        }
        let Stream::Plain(stream) = &self.stream else { return Ok(false) };
        let stream = stream.try_clone()?;
        if self.has("rfc8996-old-versions") {
            let mut start = [0; 11];
            while stream.peek(&mut start)? < start.len() {}
            if start[10] < 3 {
                (&stream).write_all(&[22, 3, 1, 0, 4, 2, 0, 0, 0])?;
                return Ok(false);
            }
        }
        let connection = ServerConnection::new(Arc::clone(&self.server.tls)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        self.stream = Stream::Tls(Box::new(stream));
        if self.has("rfc2595-no-second-greeting") {
            self.say("+OK ready again")?;
        }
        Ok(true)
    }

    fn auth(&mut self, argument: &str) -> io::Result<bool> {
        let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        if mechanism != "PLAIN" && !self.has("rfc5034-unknown-mechanism") {
            self.say("-ERR no")?;
            return Ok(true);
        }
        let flaw = if initial.is_empty() { "rfc5034-response" } else { "rfc5034-initial-response" };
        let mut response = initial.to_owned();
        if initial.is_empty() {
            self.say(if self.has("rfc5034-challenge") { "+ Zm9v" } else { "+ " })?;
            response = self.line()?;
        }
        let decoded = STANDARD.decode(&response).ok();
        let words = decoded.map(|text| String::from_utf8_lossy(&text).into_owned());
        match words.as_ref().and_then(|text| text.rsplit_once('\0')) {
            Some((_, password)) if !self.has(flaw) => self.log_in(password)?,
            None if response == "*" && self.has("rfc5034-cancel") => self.say("+OK")?,
            None if response != "*" && self.has("rfc5034-base64") => return Ok(false),
            _ => self.say("-ERR no")?,
        }
        Ok(true)
    }

    fn log_in(&mut self, password: &str) -> io::Result<()> {
        if password != PASSWORD && !self.has("rfc1939-wrong-password") {
            return self.refuse(password);
        }
        let holds_lock = self.server.lock();
        if !holds_lock && !self.has("rfc1939-lock") {
            let codeless = self.has("rfc2449-in-use");
            return self.say(if codeless { "-ERR busy" } else { "-ERR [IN-USE] busy" });
        }
        let mail = self.server.mail.lock().unwrap().clone();
        self.session = Some(Session {
            server: Arc::clone(&self.server),
            number: self.server.sessions.fetch_add(1, Ordering::SeqCst),
            marks: vec![false; mail.len()],
            mail,
            retrieved: false,
            holds_lock,
        });
        self.say("+OK welcome")
    }

    fn refuse(&mut self, password: &str) -> io::Result<()> {
        let closed = || Err(io::ErrorKind::ConnectionAborted.into());
        match self.server.flaw {
            "ignores-wrong-password" => return closed(),
            "repeats-password" => self.say(&format!("-ERR [AUTH] {password} is wrong"))?,
            "rfc3206-auth" => self.say("-ERR wrong")?,
            _ => self.say("-ERR [AUTH] wrong")?,
        }
        if self.has("closes-after-wrong-password") { closed() } else { Ok(()) }
    }
}

mod transaction;
