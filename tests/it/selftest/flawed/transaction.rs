//! Its commands after login.

use std::io;

use super::{Connection, PASSWORD, Session};

impl Connection {
    /// Returns whether the connection stays open.
    pub(super) fn in_session(&mut self, keyword: &str, argument: &str) -> io::Result<bool> {
        let flaw = self.server.flaw;
        let Some(session) = &mut self.session else { return Ok(false) };
        let reply = match (keyword, argument) {
            ("NOOP", "") => noop(flaw),
            ("STAT", "") => session.stat(),
            ("LIST", "") => session.lines(|session, at| session.octets(at), "rfc1939-marked-list"),
            ("LIST", number) => {
                session.line(number, "rfc1939-list-absent", |session, at| match flaw {
                    "rfc1939-list-one" => "0".to_owned(),
                    _ => session.octets(at),
                })
            }
            ("UIDL", _) if flaw == "rfc2449-uidl" => None,
            ("UIDL", "") => session.lines(|session, at| session.id(at), "rfc1939-marked-uidl"),
            ("UIDL", number) => {
                session.line(number, "rfc1939-uidl-absent", |session, at| match flaw {
                    "rfc1939-uidl-one" => "other".to_owned(),
                    _ => session.id(at),
                })
            }
            ("RETR", number) => session.retr(number),
            ("TOP", arguments) => session.top(arguments),
            ("DELE", "0") if flaw == "rfc1939-dele-absent" => Some("+OK\r\n".to_owned()),
            ("DELE", number) => session.at(number).map(|at| {
                session.marks[at] = true;
                "+OK\r\n".to_owned()
            }),
            ("RSET", "") => {
                if flaw != "rfc1939-rset" {
                    session.marks.fill(false);
                }
                Some("+OK\r\n".to_owned())
            }
            ("USER", _) if flaw == "rfc1939-second-login" => Some("+OK\r\n".to_owned()),
            ("STLS", _) if flaw == "rfc2595-session-stls" => Some("+OK\r\n".to_owned()),
            ("AUTH", _) if flaw == "rfc5034-once" => Some("+ \r\n".to_owned()),
            ("QUIT", "") => {
                if flaw != "rfc1939-update" {
                    session.remove();
                }
                self.say("+OK bye")?;
                if flaw == "repeats-password" {
                    self.say(PASSWORD)?;
                }
                return Ok(false);
            }
            _ => None,
        };
        self.send(&reply.unwrap_or_else(|| "-ERR no\r\n".to_owned()))?;
        Ok(true)
    }
}

fn noop(flaw: &str) -> Option<String> {
    Some(match flaw {
        "rfc1939-noop" => return None,
        "rfc1939-status" => "+ok\r\n".to_owned(),
        "rfc1939-reply-crlf" => "+OK\n".to_owned(),
        "rfc2449-reply-length" => format!("+OK {}\r\n", "x".repeat(600)),
        _ => "+OK\r\n".to_owned(),
    })
}

impl Session {
    fn has(&self, flaw: &str) -> bool {
        self.server.flaw == flaw
    }

    /// The position of a message that is not marked.
    fn at(&self, number: &str) -> Option<usize> {
        let number = number.parse::<usize>().ok()?;
        let at = number.checked_sub(1)?;
        self.marks.get(at).filter(|is_marked| !**is_marked)?;
        Some(at)
    }

    fn octets(&self, at: usize) -> String {
        let more = self.has("rfc1939-retr-octets") || self.retrieved && self.has("rfc1939-numbers");
        (self.mail[at].1.len() + usize::from(more)).to_string()
    }

    fn id(&self, at: usize) -> String {
        let id = &self.mail[at].0;
        match self.server.flaw {
            "rfc1939-uidl-form" => format!("{id:x>71}"),
            "rfc1939-uidl-unique" => "id".to_owned(),
            "rfc1939-uidl-persistent" => format!("{id}-{}", self.number),
            _ => id.clone(),
        }
    }

    fn stat(&self) -> Option<String> {
        let counts = |at: &usize| !self.marks[*at] || self.has("rfc1939-marked-stat");
        let counted = (0..self.mail.len()).filter(counts).collect::<Vec<_>>();
        let octets = counted.iter().map(|at| self.octets(*at).parse::<usize>().unwrap());
        let octets = octets.sum::<usize>() + usize::from(self.has("rfc1939-totals"));
        let space = if self.has("rfc1939-stat") { "  " } else { " " };
        Some(format!("+OK{space}{}{space}{octets}\r\n", counted.len()))
    }

    /// A listing; with the flaw, marked messages are in it, or the others are renumbered.
    fn lines(&self, of: impl Fn(&Self, usize) -> String, flaw: &str) -> Option<String> {
        let mut text = "+OK\r\n".to_owned();
        let mut number = usize::from(self.has("rfc1939-list") && flaw == "rfc1939-marked-list");
        let last =
            self.mail.len() - usize::from(self.has("rfc1939-uidl") && flaw.ends_with("uidl"));
        for at in 0..last {
            if self.marks[at] {
                // Courier does not count it.
                number += usize::from(!self.has(flaw));
                continue;
            }
            number += 1;
            text += &format!("{number} {}\r\n", of(self, at));
        }
        Some(text + ".\r\n")
    }

    fn line(
        &self,
        number: &str,
        flaw: &str,
        of: impl Fn(&Self, usize) -> String,
    ) -> Option<String> {
        if number == "0" && self.has(flaw) {
            return Some("+OK 0 0\r\n".to_owned());
        }
        self.at(number).map(|at| format!("+OK {number} {}\r\n", of(self, at)))
    }

    fn retr(&mut self, number: &str) -> Option<String> {
        let mut number = number.to_owned();
        if self.has("rfc1939-retr-absent") && number == "4294967297" {
            number = "1".to_owned();
        }
        let at = match (self.at(&number), number.as_str()) {
            (None, "1") if self.has("rfc1939-dele") => 0,
            (at, _) => at?,
        };
        self.retrieved = true;
        Some(self.sent(&self.mail[at].1))
    }

    fn top(&self, arguments: &str) -> Option<String> {
        let lines = match arguments.split_once(' ') {
            Some((_, lines)) => lines.parse::<usize>().ok()?,
            None if self.has("rfc1939-top-arguments") => 0,
            None => return None,
        };
        let at = self.at(arguments.split(' ').next()?)?;
        if self.has("rfc2449-top") {
            return None;
        }
        let (header, body) = self.mail[at].1.split_once("\r\n\r\n").unwrap();
        let body = body.split_inclusive('\n').collect::<Vec<_>>();
        let lines = match (self.server.flaw, lines) {
            ("rfc1939-top-header", 0) => body.len(),
            ("rfc1939-top-lines", 1) => 2,
            ("rfc1939-top-whole", lines) if lines >= body.len() => body.len() - 1,
            (_, lines) => lines.min(body.len()),
        };
        Some(self.sent(&format!("{header}\r\n\r\n{}", body[..lines].concat())))
    }

    fn sent(&self, text: &str) -> String {
        let dot = if self.has("rfc1939-dots") { "\n." } else { "\n.." };
        let stuffed = text.replace("\n.", dot);
        let lines = if self.has("rfc1939-retr-lines") { "\n" } else { "\r\n" };
        format!("+OK\r\n{}.\r\n", stuffed.replace("\r\n", lines))
    }
}
