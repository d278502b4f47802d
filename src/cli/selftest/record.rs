//! What was sent and what came, without passwords, and what can be seen in every reply.

use std::cmp::Reverse;

use crate::protocol::Secret;

/// The exchange of the current test, and observations on all replies.
#[derive(Debug, Default)]
pub(super) struct Record {
    lines: Vec<String>,
    left_out: usize,
    secrets: Vec<Secret<Vec<u8>>>,
    pub(super) observed: Observed,
}

/// The first reply that broke a rule about replies.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// More than 512 octets.
    pub(super) too_long: Option<String>,
    /// No CRLF at its end.
    pub(super) no_crlf: Option<String>,
    /// Neither `+OK` nor `-ERR`, in capitals.
    pub(super) no_status: Option<String>,
    /// Text in brackets that is no response code.
    pub(super) bad_code: Option<String>,
}

impl Record {
    /// Never shows this text.
    pub(super) fn hide(&mut self, secret: Secret<Vec<u8>>) {
        if !secret.expose().is_empty() {
            self.secrets.push(secret);
            // A short one may be a part of a long one.
            self.secrets.sort_by_key(|secret| Reverse(secret.expose().len()));
        }
    }

    /// Begins the exchange of another test.
    pub(super) fn restart(&mut self) {
        self.lines.clear();
        self.left_out = 0;
    }

    /// The exchange of the current test.
    pub(super) fn take(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.lines);
        if self.left_out > 0 {
            lines.push(format!("… {} more", self.left_out));
        }
        self.restart();
        lines
    }

    /// Commands that were sent, each with its CRLF.
    pub(super) fn sent(&mut self, commands: &[u8]) {
        self.octets("C", commands);
    }

    /// A line that came.
    pub(super) fn received(&mut self, line: &[u8]) {
        self.octets("S", line);
    }

    /// What happened otherwise.
    pub(super) fn note(&mut self, what: &str) {
        if self.lines.len() < MOST_LINES {
            self.lines.push(format!("({what})"));
        } else {
            self.left_out += 1;
        }
    }

    /// Looks at the first line of a reply, with its line ending. Returns it as it is shown.
    pub(super) fn observe(&mut self, line: &[u8]) -> String {
        let shown = self.shown(line);
        let observed = &mut self.observed;
        let note = |place: &mut Option<String>, breaks: bool| {
            if breaks && place.is_none() {
                *place = Some(shown.clone());
            }
        };
        note(&mut observed.too_long, line.len() > MAX_REPLY);
        note(&mut observed.no_crlf, !line.ends_with(b"\r\n"));
        let text = line.trim_ascii_end();
        let word = |word: &[u8]| {
            text.strip_prefix(word).filter(|rest| rest.is_empty() || rest.starts_with(b" "))
        };
        let challenge = text == b"+" || text.starts_with(b"+ ");
        let status = word(b"+OK").or(word(b"-ERR"));
        note(&mut observed.no_status, status.is_none() && !challenge);
        let coded = status.and_then(|rest| rest.strip_prefix(b" ["));
        note(&mut observed.bad_code, coded.is_some_and(|code| !begins_with_code(code)));
        shown
    }

    fn octets(&mut self, who: &str, octets: &[u8]) {
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            if self.lines.len() < MOST_LINES {
                let shown = self.shown(line);
                self.lines.push(format!("{who}: {shown}"));
            } else {
                self.left_out += 1;
            }
        }
    }

    /// The line, escaped, without its CRLF and without secrets.
    pub(super) fn shown(&self, line: &[u8]) -> String {
        let mut line = line.strip_suffix(b"\r\n").unwrap_or(line).to_vec();
        for secret in &self.secrets {
            line = without(&line, secret.expose());
        }
        let beginning = line.get(..MOST_OCTETS);
        let text = beginning.unwrap_or(&line).utf8_chunks().fold(String::new(), |text, chunk| {
            let valid = chunk.valid().chars();
            let valid = valid.map(|c| match c.is_control() {
                true => c.escape_default().to_string(),
                false => c.to_string(),
            });
            text + &valid.collect::<String>() + &chunk.invalid().escape_ascii().to_string()
        });
        match beginning {
            Some(beginning) => format!("{text}… ({} octets more)", line.len() - beginning.len()),
            None => text,
        }
    }
}

/// Whether the text after a `[` is a response code and its `]` (RFC 2449 §8).
fn begins_with_code(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|octet| *octet == b']') else { return false };
    let code = text.get(..end).unwrap_or_default();
    let level = |level: &[u8]| !level.is_empty() && level.iter().all(|octet| is_in_code(*octet));
    code.split(|octet| *octet == b'/').all(level)
}

/// RFC 2449 §3: `rchar`, the octets of a response code without `/`, `[` and `]`.
fn is_in_code(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'/' | b'[' | b']')
}

/// The text with `***` in place of each `secret`.
fn without(text: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, secret) {
        let (before, found) = rest.split_at(at);
        shown.extend_from_slice(before);
        shown.extend_from_slice(b"***");
        rest = found.get(secret.len()..).unwrap_or_default();
    }
    shown.extend_from_slice(rest);
    shown
}

/// RFC 2449 §4: the longest first line of a reply, with its CRLF.
const MAX_REPLY: usize = 512;

/// The lines of an exchange that are shown.
const MOST_LINES: usize = 40;

/// The octets of a line that are shown.
const MOST_OCTETS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        let mut record = Record::default();
        record.hide(Secret::new(b"tanstaaf".to_vec()));
        record.hide(Secret::new(Vec::new()));
        record.sent(b"PASS tanstaaf\r\n");
        record.received(b"-ERR tanstaaf is wrong, tanstaaf!\r\n");
        assert_eq!(record.take(), ["C: PASS ***", "S: -ERR *** is wrong, ***!"]);
        assert_eq!(record.observe(b"-ERR tanstaaf\r\n"), "-ERR ***");
    }

    #[test]
    fn a_password_that_is_a_part_of_its_encoded_form() {
        let mut record = Record::default();
        record.hide(Secret::new(b"AG1y".to_vec()));
        record.hide(Secret::new(b"AG1yb3NlAEFHMXk=".to_vec()));
        record.sent(b"AUTH PLAIN AG1yb3NlAEFHMXk=\r\n");
        assert_eq!(record.take(), ["C: AUTH PLAIN ***"]);
    }

    #[test]
    fn exchanges_are_bounded_and_escaped() {
        let mut record = Record::default();
        record.received(b"+OK a\x1b[31m\xff \xc3\xa4\n");
        record.sent(&[b'x'; 400]);
        record.sent("NOOP\r\n".repeat(50).as_bytes());
        let lines = record.take();
        assert_eq!(lines[0], "S: +OK a\\u{1b}[31m\\xff ä\\n");
        assert!(lines[1].ends_with("x… (100 octets more)"), "{}", lines[1]);
        assert_eq!(lines.last().unwrap(), "… 12 more");
        assert_eq!(lines.len(), MOST_LINES + 1);
    }

    #[test]
    fn replies_are_observed() {
        let seen = |line: &[u8]| {
            let mut record = Record::default();
            record.observe(line);
            let Observed { too_long, no_crlf, no_status, bad_code } = record.observed;
            [too_long, no_crlf, no_status, bad_code].map(|seen| seen.is_some())
        };
        let long = [b"+OK ".as_slice(), &[b'x'; 507], b"\r\n"].concat();
        for (line, expected) in [
            (&b"+OK\r\n"[..], [false; 4]),
            (b"-ERR [SYS/TEMP] later\r\n", [false; 4]),
            (b"+ \r\n", [false; 4]),
            (&long, [true, false, false, false]),
            (b"+OK\n", [false, true, false, false]),
            (b"+ok\r\n", [false, false, true, false]),
            (b"+OKAY\r\n", [false, false, true, false]),
            (b"-ERR [in use\r\n", [false, false, false, true]),
            (b"-ERR [a b] c\r\n", [false, false, false, true]),
            (b"-ERR [A//B] c\r\n", [false, false, false, true]),
        ] {
            assert_eq!(seen(line), expected, "{}", line.escape_ascii());
        }
    }
}
