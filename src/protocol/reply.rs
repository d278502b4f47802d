//! Status lines, the first line of every reply (RFC 1939 §3, RFC 2449 §3 and §8, RFC 3206).

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

/// The text of a reply: printable, short enough, and never mistaken for a response code.
///
/// Other characters are replaced and longer text is cut, so that encoding cannot fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyText(Cow<'static, str>);

impl ReplyText {
    /// The text for a reply to any client.
    ///
    /// - Characters outside 0x20 to 0x7E become `?`, as does a `[` at the start (RFC 2449 §3).
    /// - With status, response code and line end the line has at most 512 octets.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self::of(text.into(), |character| matches!(character, ' '..='~'))
    }

    /// Like [`new`](Self::new), for a client that has chosen a language and so reads UTF-8
    /// (RFC 6856 §3.2): characters outside ASCII stay, unless they are control characters.
    pub fn in_utf8(text: impl Into<Cow<'static, str>>) -> Self {
        Self::of(text.into(), |character| !character.is_control())
    }

    fn of(text: Cow<'static, str>, printable: impl Fn(char) -> bool) -> Self {
        let fits = text.len() <= Self::MAX_OCTETS
            && !text.starts_with('[')
            && text.chars().all(&printable);
        if fits {
            return Self(text);
        }
        let shown = |(at, character)| match character {
            '[' if at == 0 => '?',
            _ if printable(character) => character,
            _ => '?',
        };
        let mut text: String = text.char_indices().map(shown).collect();
        text.truncate(text.floor_char_boundary(Self::MAX_OCTETS));
        Self(text.into())
    }

    /// The status, the longest response code and the line end take less than the other 52 octets.
    const MAX_OCTETS: usize = 460;
}

impl fmt::Display for ReplyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reason for an `-ERR`, for the software of the client (RFC 2449 §8, RFC 3206).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseCode {
    /// The credentials are at fault: ask the user (RFC 3206 §5).
    Auth,
    /// Another session has the maildrop: try later (RFC 2449 §8.1.2).
    InUse,
    /// The server is at fault for a while: try later, without asking the user (RFC 3206 §4).
    SysTemp,
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auth => "[AUTH]",
            Self::InUse => "[IN-USE]",
            Self::SysTemp => "[SYS/TEMP]",
        })
    }
}

/// A status line: the whole reply, or the first line of a multi-line one.
///
/// ```abnf
/// single-line = status [SP text] CRLF       ; 512 octets maximum
/// status      = "+OK" / "-ERR"
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Ok(ReplyText),
    /// `-ERR`
    Err(Option<ResponseCode>, ReplyText),
}

impl Reply {
    /// Appends the line with its CRLF.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // Writing to a Vec does not fail.
        let _infallible = write!(out, "{self}\r\n");
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, code, text) = match self {
            Self::Ok(text) => ("+OK", None, text),
            Self::Err(code, text) => ("-ERR", *code, text),
        };
        f.write_str(status)?;
        if let Some(code) = code {
            write!(f, " {code}")?;
        }
        if text.0.is_empty() { Ok(()) } else { write!(f, " {text}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn status_lines() {
        for (reply, line) in [
            (Reply::Ok(ReplyText::new("2 320")), "+OK 2 320\r\n"),
            (Reply::Ok(ReplyText::new("")), "+OK\r\n"),
            (Reply::Err(None, ReplyText::new("no such message")), "-ERR no such message\r\n"),
            (
                Reply::Err(Some(ResponseCode::SysTemp), ReplyText::new("try again")),
                "-ERR [SYS/TEMP] try again\r\n",
            ),
        ] {
            assert_eq!(encoded(&reply), line);
        }
    }

    #[test]
    fn no_text_breaks_a_line_or_forges_a_response_code() {
        for (text, shown) in
            [("a\r\n+OK b", "a??+OK b"), ("[AUTH] no", "?AUTH] no"), ("caf\u{e9}\u{1b}", "caf??")]
        {
            assert_eq!(ReplyText::new(text).to_string(), shown);
        }
        assert_eq!(ReplyText::in_utf8("[caf\u{e9}\r\n\u{85}]").to_string(), "?caf\u{e9}???]");
        for text in [ReplyText::new("x".repeat(2000)), ReplyText::in_utf8("\u{e9}".repeat(2000))] {
            let longest = encoded(&Reply::Err(Some(ResponseCode::SysTemp), text));
            assert!((460..=512).contains(&longest.len()), "{}", longest.len());
        }
    }
}
