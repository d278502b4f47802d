//! What a watch shows of a line.
//!
//! A line of a client is never shown as it came. What is shown is made of our own words, of numbers,
//! and of the few arguments that are not secret: a line that is no command may be a password, too.

use crate::protocol::{
    Command, CommandError, Extent, InitialResponse, LanguageRange, LineError, Reply, is_invisible,
};
use crate::session::state::Line;

/// A line of a client. A `response` is the answer to a challenge (RFC 5034 §4).
pub(in crate::session) fn from_client(line: &Line, is_response: bool) -> String {
    let octets = match line {
        Ok(octets) => octets.expose().as_slice(),
        Err(LineError::TooLong) => return "<a line that is too long>".to_owned(),
        Err(LineError::ForbiddenOctet) => return "<a line with NUL or CR>".to_owned(),
    };
    let length = octets.len();
    match (is_response, Command::parse(octets)) {
        (true, _) if octets == b"*" => "*".to_owned(),
        (true, _) => format!("<response, {length} octets>"),
        (false, Ok(command)) => shown(&command),
        (false, Err(CommandError::Arguments(keyword, _))) => {
            format!("{keyword} <{}>", rest(length, keyword))
        }
        (false, Err(CommandError::UnknownMechanism)) => {
            format!("AUTH <{}>", rest(length, "AUTH"))
        }
        (false, Err(CommandError::Unknown | CommandError::NoSuchMessage)) => {
            let is_word = |word: &&&str| {
                let own =
                    octets.get(..word.len()).filter(|_| octets.get(word.len()) == Some(&b' '));
                own.is_some_and(|own| own.eq_ignore_ascii_case(word.as_bytes()))
            };
            match KNOWN.iter().find(is_word) {
                Some(word) => format!("{word} <{}>", rest(length, word)),
                None => format!("<no command, {length} octets>"),
            }
        }
    }
}

/// Commands with arguments that this server does not have or that name no message.
const KNOWN: [&str; 9] = ["APOP", "DELE", "LAST", "LIST", "RETR", "RPOP", "TOP", "UIDL", "XTND"];

/// The octets after a keyword and a blank.
fn rest(length: usize, keyword: &str) -> String {
    format!("{} octets", length.saturating_sub(keyword.len() + 1))
}

fn shown(command: &Command) -> String {
    match command {
        Command::User(name) => format!("USER {name}"),
        Command::Pass(_) => "PASS <password>".to_owned(),
        Command::AuthMechanisms => "AUTH".to_owned(),
        Command::Auth(mechanism, InitialResponse::Absent) => format!("AUTH {mechanism}"),
        Command::Auth(mechanism, InitialResponse::Present(response)) => {
            format!("AUTH {mechanism} <response, {} octets>", response.expose().len())
        }
        Command::Stls => "STLS".to_owned(),
        Command::Capa => "CAPA".to_owned(),
        Command::Utf8 => "UTF8".to_owned(),
        Command::Lang(None) => "LANG".to_owned(),
        Command::Lang(Some(LanguageRange::Any)) => "LANG *".to_owned(),
        Command::Lang(Some(LanguageRange::Tag(tag))) => format!("LANG {tag}"),
        Command::Quit => "QUIT".to_owned(),
        Command::Stat => "STAT".to_owned(),
        Command::List(None) => "LIST".to_owned(),
        Command::List(Some(number)) => format!("LIST {number}"),
        Command::Uidl(None) => "UIDL".to_owned(),
        Command::Uidl(Some(number)) => format!("UIDL {number}"),
        Command::Retr(number) => format!("RETR {number}"),
        Command::Top(number, lines) => format!("TOP {number} {}", lines.0),
        Command::Dele(number) => format!("DELE {number}"),
        Command::Noop => "NOOP".to_owned(),
        Command::Rset => "RSET".to_owned(),
    }
}

/// A status line.
pub(in crate::session) fn reply(reply: &Reply) -> String {
    let mut octets = Vec::new();
    reply.encode(&mut octets);
    String::from_utf8_lossy(octets.trim_ascii_end()).into_owned()
}

/// A line of a multi-line reply.
pub(in crate::session) fn line(line: &impl crate::protocol::Line) -> String {
    let mut octets = Vec::new();
    line.encode(&mut octets);
    String::from_utf8_lossy(&octets).into_owned()
}

/// The line with a challenge, which may have the salt of a password or a proof in it.
pub(in crate::session) fn challenge(line: &str) -> String {
    match line.len().saturating_sub("+ ".len()) {
        0 => "+".to_owned(),
        octets => format!("+ <challenge, {octets} octets>"),
    }
}

/// The body of a reply with a message, or with its top.
pub(in crate::session) fn body(extent: Extent, octets: u64) -> String {
    match extent {
        Extent::Whole => format!("<message, {octets} octets>"),
        Extent::Top(_) => format!("<top of a message, {octets} octets>"),
    }
}

/// The text with an escape in place of each character that a terminal would obey or not show.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_invisible(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Secret;

    fn client(line: &[u8], is_response: bool) -> String {
        from_client(&Ok(Secret::new(line.to_vec())), is_response)
    }

    #[test]
    fn commands_are_shown_and_secrets_are_not() {
        for (line, expected) in [
            (&b"user mrose"[..], "USER mrose"),
            (b"USER m\xff\x1b[2Jrose", "USER m\\xff\\x1b[2Jrose"),
            (b"USER mrose PASS hunter2", "USER <18 octets>"),
            (b"PASS hunter2", "PASS <password>"),
            (b"pass  hunter2 ", "PASS <password>"),
            (b"PASS", "PASS <0 octets>"),
            (b"PASSS hunter2", "<no command, 13 octets>"),
            (b"PAS hunter2", "<no command, 11 octets>"),
            (b" PASS hunter2", "<no command, 13 octets>"),
            (b"hunter2", "<no command, 7 octets>"),
            (b"", "<no command, 0 octets>"),
            (b"AUTH PLAIN", "AUTH PLAIN"),
            (b"AUTH plain AHRpbQBodW50ZXIy", "AUTH PLAIN <response, 16 octets>"),
            (b"AUTH PLAIN =", "AUTH PLAIN <response, 1 octets>"),
            (b"AUTH PLAIN hunter2 hunter2", "AUTH <21 octets>"),
            (b"AUTH hunter2", "AUTH <7 octets>"),
            (b"APOP mrose c4c9334bac560ecc979e58001b3e22fb", "APOP <38 octets>"),
            (b"STAT hunter2", "STAT <7 octets>"),
            (b"RETR 7", "RETR 7"),
            (b"RETR hunter2", "RETR <7 octets>"),
            (b"RETR 99999999999999999999", "RETR <20 octets>"),
            (b"TOP 7 0", "TOP 7 0"),
            (b"LANG DE-at", "LANG de-at"),
            (b"GET / HTTP/1.1", "<no command, 14 octets>"),
        ] {
            assert_eq!(client(line, false), expected, "{}", line.escape_ascii());
        }
        for (line, expected) in [
            (&b"AHRpbQBodW50ZXIy"[..], "<response, 16 octets>"),
            (b"hunter2", "<response, 7 octets>"),
            (b"QUIT", "<response, 4 octets>"),
            (b"*", "*"),
        ] {
            assert_eq!(client(line, true), expected);
        }
        assert_eq!(from_client(&Err(LineError::TooLong), false), "<a line that is too long>");
    }

    #[test]
    fn challenges_and_bodies_are_counted() {
        assert_eq!(challenge("+ "), "+");
        assert_eq!(challenge("+ cj1mWTk="), "+ <challenge, 8 octets>");
        assert_eq!(body(Extent::Whole, 18211), "<message, 18211 octets>");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let text = crate::protocol::ReplyText::in_utf8("3 Nachrichten gelöscht");
        assert_eq!(reply(&Reply::Ok(text)), "+OK 3 Nachrichten gelöscht");
        assert_eq!(printable(&line(&"1 ä\u{1b}[2J\u{202e}")), "1 ä\\u{1b}[2J\\u{202e}");
    }

    proptest! {
        /// Of a line that is no USER and no LANG, no word of the client is shown.
        #[test]
        fn no_other_argument_is_shown(
            before in "[ -~]{0,12}",
            after in prop::collection::vec(any::<u8>(), 0..12),
            is_response in any::<bool>(),
        ) {
            let upper = before.trim_start().to_ascii_uppercase();
            prop_assume!(!upper.starts_with("USER") && !upper.starts_with("LANG"));
            let line = [before.as_bytes(), b"hunter2", &after].concat();
            prop_assert!(!client(&line, is_response).contains("hunter2"));
        }
    }
}
