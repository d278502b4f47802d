//! Commands: one line in, one [`Command`] or [`CommandError`] out (RFC 1939 §3, §5, §6, §7;
//! RFC 2449 §5; RFC 2595 §4; RFC 5034 §4; RFC 6856 §2, §3).

use super::sasl::Mechanism;
use super::{BodyLines, ClaimedName, LanguageRange, MessageNumber, NumberError, Secret};

/// A command that is well formed, whether or not a state accepts it.
///
/// ```abnf
/// command = keyword *( SP argument ) CRLF   ; 255 octets at most (RFC 2449 §4)
/// ```
///
/// - Keywords are not case-sensitive (RFC 1939 §3); blanks around arguments are ignored.
/// - The argument of PASS is everything after one blank, further blanks included.
#[derive(Debug)]
pub enum Command {
    /// USER name (RFC 1939 §7 USER).
    User(ClaimedName),
    /// PASS string (RFC 1939 §7 PASS).
    Pass(Secret<Vec<u8>>),
    /// AUTH without an argument: lists the mechanisms.
    AuthMechanisms,
    /// AUTH mechanism \[initial-response\] (RFC 5034 §4).
    Auth(Mechanism, InitialResponse),
    /// STLS (RFC 2595 §4).
    Stls,
    /// CAPA (RFC 2449 §5).
    Capa,
    /// UTF8 (RFC 6856 §2.1).
    Utf8,
    /// LANG \[range\] (RFC 6856 §3.2); without a range it lists the languages.
    Lang(Option<LanguageRange>),
    /// QUIT (RFC 1939 §4 QUIT, §6 QUIT).
    Quit,
    /// STAT (RFC 1939 §5 STAT).
    Stat,
    /// LIST \[msg\] (RFC 1939 §5 LIST).
    List(Option<MessageNumber>),
    /// UIDL \[msg\] (RFC 1939 §7 UIDL).
    Uidl(Option<MessageNumber>),
    /// RETR msg (RFC 1939 §5 RETR).
    Retr(MessageNumber),
    /// TOP msg n (RFC 1939 §7 TOP).
    Top(MessageNumber, BodyLines),
    /// DELE msg (RFC 1939 §5 DELE).
    Dele(MessageNumber),
    /// NOOP (RFC 1939 §5 NOOP).
    Noop,
    /// RSET (RFC 1939 §5 RSET).
    Rset,
}

/// The second argument of AUTH, still in base64 (RFC 5034 §4).
#[derive(Debug)]
pub enum InitialResponse {
    /// Not given: the server sends an empty challenge first.
    Absent,
    /// `=` for an empty response, else base64.
    Present(Secret<Vec<u8>>),
}

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The keyword is unknown.
    Unknown,
    /// The arguments are not what the command of this keyword takes.
    Arguments(&'static str, Takes),
    /// The message-number is larger than that of any message.
    NoSuchMessage,
    /// The mechanism is unknown.
    UnknownMechanism,
}

/// The arguments that a keyword takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// No argument.
    Nothing,
    /// A name without blanks.
    Name,
    /// A password.
    Password,
    /// A mechanism and optionally an initial response, or no argument.
    Mechanism,
    /// A language range, or no argument.
    Language,
    /// A message-number.
    Number,
    /// A message-number, or no argument.
    NumberOrNothing,
    /// A message-number and a number of lines.
    NumberAndLines,
}

impl Command {
    /// Reads one line, given without its end.
    ///
    /// # Errors
    /// [`CommandError`] if the line is not a command. It never contains text of the client.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let (keyword, rest) = match memchr::memchr(b' ', line) {
            Some(blank) => line.split_at_checked(blank).unwrap_or((line, b"")),
            None => (line, &b""[..]),
        };
        let mut upper = [0; 4];
        let keyword = match upper.get_mut(..keyword.len()) {
            Some(short) => {
                short.copy_from_slice(keyword);
                short.make_ascii_uppercase();
                &*short
            }
            None => return Err(CommandError::Unknown),
        };
        let arguments = Arguments(rest.trim_ascii());
        match keyword {
            b"USER" => {
                arguments.one("USER", Takes::Name).map(|name| Self::User(ClaimedName::new(name)))
            }
            b"PASS" => rest
                .strip_prefix(b" ")
                .map(|password| Self::Pass(Secret::new(password.to_vec())))
                .ok_or(CommandError::Arguments("PASS", Takes::Password)),
            b"AUTH" => arguments.auth(),
            b"STLS" => arguments.none(Self::Stls, "STLS"),
            b"CAPA" => arguments.none(Self::Capa, "CAPA"),
            b"UTF8" => arguments.none(Self::Utf8, "UTF8"),
            b"LANG" => arguments.language(),
            b"QUIT" => arguments.none(Self::Quit, "QUIT"),
            b"STAT" => arguments.none(Self::Stat, "STAT"),
            b"NOOP" => arguments.none(Self::Noop, "NOOP"),
            b"RSET" => arguments.none(Self::Rset, "RSET"),
            b"LIST" => arguments.number_or_none("LIST").map(Self::List),
            b"UIDL" => arguments.number_or_none("UIDL").map(Self::Uidl),
            b"RETR" => arguments.number("RETR", Takes::Number).map(Self::Retr),
            b"DELE" => arguments.number("DELE", Takes::Number).map(Self::Dele),
            b"TOP" => arguments.top(),
            _ => Err(CommandError::Unknown),
        }
    }
}

/// The text after the keyword, without blanks at either end.
#[derive(Clone, Copy)]
struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    fn none(self, command: Command, keyword: &'static str) -> Result<Command, CommandError> {
        if self.0.is_empty() {
            Ok(command)
        } else {
            Err(CommandError::Arguments(keyword, Takes::Nothing))
        }
    }

    fn one(self, keyword: &'static str, takes: Takes) -> Result<&'a [u8], CommandError> {
        if self.0.is_empty() || self.0.contains(&b' ') {
            return Err(CommandError::Arguments(keyword, takes));
        }
        Ok(self.0)
    }

    fn number(self, keyword: &'static str, takes: Takes) -> Result<MessageNumber, CommandError> {
        MessageNumber::try_from(self.0).map_err(|error| match error {
            NumberError::NotANumber => CommandError::Arguments(keyword, takes),
            NumberError::TooLarge => CommandError::NoSuchMessage,
        })
    }

    fn number_or_none(self, keyword: &'static str) -> Result<Option<MessageNumber>, CommandError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        self.number(keyword, Takes::NumberOrNothing).map(Some)
    }

    fn top(self) -> Result<Command, CommandError> {
        const FAULT: CommandError = CommandError::Arguments("TOP", Takes::NumberAndLines);
        let (number, lines) = self.split().ok_or(FAULT)?;
        let lines = BodyLines::parse(lines.0).ok_or(FAULT)?;
        Ok(Command::Top(number.number("TOP", Takes::NumberAndLines)?, lines))
    }

    fn language(self) -> Result<Command, CommandError> {
        if self.0.is_empty() {
            return Ok(Command::Lang(None));
        }
        let range =
            LanguageRange::parse(self.0).ok_or(CommandError::Arguments("LANG", Takes::Language))?;
        Ok(Command::Lang(Some(range)))
    }

    fn auth(self) -> Result<Command, CommandError> {
        if self.0.is_empty() {
            return Ok(Command::AuthMechanisms);
        }
        let (mechanism, response) = match self.split() {
            Some((mechanism, response)) => {
                let response = response.one("AUTH", Takes::Mechanism)?;
                (mechanism, InitialResponse::Present(Secret::new(response.to_vec())))
            }
            None => (self, InitialResponse::Absent),
        };
        let mechanism = Mechanism::parse(mechanism.0).ok_or(CommandError::UnknownMechanism)?;
        Ok(Command::Auth(mechanism, response))
    }

    /// The first argument and the rest, if there are two or more.
    fn split(self) -> Option<(Self, Self)> {
        let (first, rest) = self.0.split_at_checked(memchr::memchr(b' ', self.0)?)?;
        Some((Self(first), Self(rest.trim_ascii_start())))
    }
}

#[cfg(test)]
mod tests;
