//! The grammar of a transcript: one step a line. docs/CONTRIBUTING.md describes it.

use std::time::Duration;

/// A transcript: its lines, and a step for each line that has one.
pub(crate) struct Script {
    pub(crate) lines: Vec<(String, Step)>,
}

pub(crate) enum Step {
    /// A comment or a blank line.
    Nothing,
    /// `maildir two-messages`
    Maildir(String),
    /// `user mrose tanstaaf`
    User {
        name: String,
        password: String,
    },
    /// `provider https://id.example.org`
    Provider(String),
    /// `certificate mrose`
    Certificate(String),
    /// `listener starttls`
    Listener(String),
    /// `policy idle 10m`
    Policy {
        key: String,
        value: String,
    },
    /// `C: STAT`, `C> "raw"`, `C* 3 "raw"`
    Send(Vec<u8>),
    /// `S: +OK …`
    Expect(String),
    /// `S> "raw"`
    ExpectBytes(Vec<u8>),
    Starttls,
    Wait(Duration),
    /// The client closes its side, and may still read.
    Eof,
    /// The client is gone.
    Disconnect,
    /// The server closes the connection and sends no more.
    Closed,
    /// The server sends no line, and the connection stays open.
    Quiet,
    ExpectMaildir(String),
    ExpectMessages(Vec<String>),
    ExpectLog(String),
    ExpectNoLog(String),
    ExpectEnd(String),
    RemoveFile(String),
    RemoveDirectory(String),
    RenameFile {
        from: String,
        to: String,
    },
    TruncateFile {
        name: String,
        octets: u64,
    },
}

/// Parses a transcript. The error names the line that is wrong.
pub(crate) fn parse(text: &str) -> Result<Script, String> {
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let step = step(line).ok_or_else(|| format!("{}: cannot read {line:?}", at + 1))?;
        lines.push((line.to_owned(), step));
    }
    Ok(Script { lines })
}

fn step(line: &str) -> Option<Step> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Some(Step::Nothing);
    }
    if line == "C:" || line == "S:" {
        let empty =
            if line == "C:" { Step::Send(b"\r\n".to_vec()) } else { Step::Expect(String::new()) };
        return Some(empty);
    }
    if let Some(text) = line.strip_prefix("C: ") {
        return Some(Step::Send(format!("{text}\r\n").into_bytes()));
    }
    if let Some(text) = line.strip_prefix("S: ") {
        return Some(Step::Expect(text.to_owned()));
    }
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    Some(match verb {
        "maildir" => Step::Maildir(rest.to_owned()),
        "user" => {
            let (name, password) = rest.split_once(' ')?;
            Step::User { name: name.to_owned(), password: password.to_owned() }
        }
        "provider" => Step::Provider(rest.to_owned()),
        "certificate" => Step::Certificate(rest.to_owned()),
        "listener" => Step::Listener(rest.to_owned()),
        "policy" => {
            let (key, value) = rest.split_once(' ')?;
            Step::Policy { key: key.to_owned(), value: value.trim().to_owned() }
        }
        "C>" => Step::Send(raw(rest)?),
        "C*" => {
            let (times, text) = rest.split_once(' ')?;
            Step::Send(raw(text.trim())?.repeat(times.parse().ok()?))
        }
        "S>" => Step::ExpectBytes(raw(rest)?),
        "starttls" => Step::Starttls,
        "wait" => Step::Wait(duration(rest)?),
        "eof" => Step::Eof,
        "disconnect" => Step::Disconnect,
        "closed" => Step::Closed,
        "quiet" => Step::Quiet,
        "expect-maildir" => Step::ExpectMaildir(rest.to_owned()),
        "expect-messages" => {
            Step::ExpectMessages(rest.split_whitespace().map(str::to_owned).collect())
        }
        "expect-log" => Step::ExpectLog(rest.to_owned()),
        "expect-no-log" => Step::ExpectNoLog(rest.to_owned()),
        "expect-end" => Step::ExpectEnd(rest.to_owned()),
        "remove-file" => Step::RemoveFile(rest.to_owned()),
        "remove-dir" => Step::RemoveDirectory(rest.to_owned()),
        "rename-file" => {
            let (from, to) = rest.split_once(' ')?;
            Step::RenameFile { from: from.to_owned(), to: to.trim().to_owned() }
        }
        "truncate-file" => {
            let (name, octets) = rest.split_once(' ')?;
            Step::TruncateFile { name: name.to_owned(), octets: octets.trim().parse().ok()? }
        }
        _ => return None,
    })
}

/// `10m`, `2s`, `500ms`
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    Some(match text.strip_prefix(digits)? {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(60 * number),
        "h" => Duration::from_secs(3600 * number),
        _ => return None,
    })
}

/// A quoted string with `\r \n \t \0 \xNN \\ \"`.
fn raw(text: &str) -> Option<Vec<u8>> {
    let mut characters = text.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut bytes = Vec::new();
    while let Some(character) = characters.next() {
        if character != '\\' {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match characters.next()? {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            '0' => 0,
            '\\' => b'\\',
            '"' => b'"',
            'x' => {
                let high = characters.next()?.to_digit(16)?;
                let low = characters.next()?.to_digit(16)?;
                u8::try_from(16 * high + low).ok()?
            }
            _ => return None,
        });
    }
    Some(bytes)
}
