//! Reading passwords, from a prompt without echo or from standard input, and the scheme of new ones.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io::{self, Read};

use clap::ValueEnum;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;

use crate::cli::Failure;
use crate::password::{self, MAX_PASSWORD_OCTETS, NewPassword, NewScheme};
use crate::protocol::Secret;

/// The options for a new password.
#[derive(Debug, clap::Args)]
pub(super) struct PasswordArgs {
    #[command(flatten)]
    input: InputArgs,
    /// How to store the password.
    #[arg(long, value_enum, default_value_t, value_name = "SCHEME")]
    scheme: Scheme,
}

/// The options for reading a password.
#[derive(Debug, clap::Args)]
pub(super) struct InputArgs {
    /// Read the password from standard input, as a single line, instead of from a prompt.
    #[arg(long)]
    stdin: bool,
    /// Refused, with an explanation.
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "", value_parser = Refused)]
    password: Option<Infallible>,
}

/// Refuses a password on the command line, without repeating it.
#[derive(Clone, Copy, Debug)]
struct Refused;

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Scheme {
    /// The best protection if the file is stolen.
    #[default]
    Argon2id,
    /// For clients that log in with SCRAM-SHA-256, which does not send the password. Other clients can
    /// log in as well.
    #[value(name = "scram-sha-256")]
    ScramSha256,
}

impl PasswordArgs {
    /// Whether standard input is read.
    pub(super) fn is_stdin(&self) -> bool {
        self.input.stdin
    }

    /// The scheme of the new password.
    pub(super) fn scheme(&self) -> NewScheme {
        self.scheme.into()
    }

    /// Prompts for a new password twice, or reads it from standard input.
    pub(super) fn read(&self, suffix: &str) -> Result<NewPassword, Failure> {
        let password =
            if self.input.stdin { read_line(io::stdin().lock())? } else { ask_twice(suffix)? };
        NewPassword::try_from(password).map_err(|fault| Failure::new(fault.to_string()))
    }
}

impl From<Scheme> for NewScheme {
    fn from(scheme: Scheme) -> Self {
        match scheme {
            Scheme::Argon2id => Self::Argon2id,
            Scheme::ScramSha256 => Self::ScramSha256,
        }
    }
}

impl InputArgs {
    /// Prompts for an existing password, or reads it from standard input.
    pub(super) fn existing(&self, suffix: &str) -> Result<Secret<Vec<u8>>, Failure> {
        if self.stdin { read_line(io::stdin().lock()) } else { ask(format!("Password{suffix}: ")) }
    }
}

impl TypedValueParser for Refused {
    type Value = Infallible;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _option: Option<&clap::Arg>,
        _password: &OsStr,
    ) -> Result<Infallible, clap::Error> {
        let why = "passwords are not accepted on the command line, where other users can see them; \
                   use the prompt, or standard input with --stdin\n";
        Err(clap::Error::raw(ErrorKind::UnknownArgument, why).with_cmd(command))
    }
}

/// Reads an app password that another program has made from standard input.
pub(super) fn given_app_password() -> Result<NewPassword, Failure> {
    let given = NewPassword::try_from(read_line(io::stdin().lock())?).map_err(Failure::of)?;
    password::accept_given(given).map_err(Failure::of)
}

fn ask(words: String) -> Result<Secret<Vec<u8>>, Failure> {
    rpassword::prompt_password(words).map(|password| Secret::new(password.into_bytes())).map_err(
        |error| Failure::new(format!("cannot prompt for the password: {error}; use --stdin")),
    )
}

fn ask_twice(suffix: &str) -> Result<Secret<Vec<u8>>, Failure> {
    let first = ask(format!("New password{suffix}: "))?;
    let second = ask("Repeat it: ".to_owned())?;
    if first.expose() != second.expose() {
        return Err(Failure::new("the two passwords differ; try again (nothing was changed)"));
    }
    Ok(first)
}

/// Reads one line, without its line end.
fn read_line(input: impl Read) -> Result<Secret<Vec<u8>>, Failure> {
    // One octet more than the longest password and its line end, to detect one that is too long. The
    // buffer must not grow, since that would leave a copy of the password in memory.
    let most = MAX_PASSWORD_OCTETS + 3;
    let mut line = Vec::with_capacity(most + 1);
    let read = input.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut line);
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    let line = Secret::new(line);
    read.map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_stripped_and_no_more() {
        for (input, password) in [
            (&b"tanstaaf\n"[..], &b"tanstaaf"[..]),
            (b"tanstaaf\r\n", b"tanstaaf"),
            (b"tanstaaf", b"tanstaaf"),
            (b" tan staaf \n", b" tan staaf "),
            (b"\n", b""),
            (b"", b""),
            // The results of these are refused as passwords.
            (b"tanstaaf\n\n", b"tanstaaf\n"),
            (b"tanstaaf\r", b"tanstaaf\r"),
            (b"one\ntwo\n", b"one\ntwo"),
        ] {
            assert_eq!(read_line(input).unwrap().expose(), password, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn a_password_that_is_too_long_is_not_truncated() {
        for (octets, taken) in [(MAX_PASSWORD_OCTETS, true), (MAX_PASSWORD_OCTETS + 1, false)] {
            for end in ["", "\n", "\r\n"] {
                let input = "x".repeat(octets) + end;
                let password = NewPassword::try_from(read_line(input.as_bytes()).unwrap());
                assert_eq!(password.is_ok(), taken, "{octets} and {end:?}");
            }
        }
        let endless = read_line(io::repeat(b'x')).unwrap();
        assert!(NewPassword::try_from(endless).is_err());
    }
}
