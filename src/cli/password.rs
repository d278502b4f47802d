//! Where a command gets a new password from, a prompt without echo or standard input, and what it
//! is kept as.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io::{self, Read};

use clap::ValueEnum;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;

use crate::cli::Failure;
use crate::password::{MAX_PASSWORD_OCTETS, NewPassword, NewScheme};
use crate::protocol::Secret;

/// The options that say where the password comes from and what it is kept as.
#[derive(Debug, clap::Args)]
pub(super) struct PasswordArgs {
    #[command(flatten)]
    input: InputArgs,
    /// What the password is kept as.
    #[arg(long, value_enum, default_value_t, value_name = "SCHEME")]
    scheme: Scheme,
}

/// The options that say where a password comes from.
#[derive(Debug, clap::Args)]
pub(super) struct InputArgs {
    /// Read the password from standard input, a single line, instead of asking for it.
    #[arg(long)]
    stdin: bool,
    /// Expected by many, and refused.
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "", value_parser = Refused)]
    password: Option<Infallible>,
}

/// Refuses a password on the command line, without repeating it.
#[derive(Clone, Copy, Debug)]
struct Refused;

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Scheme {
    /// The hardest to guess for whoever gets hold of the file.
    #[default]
    Argon2id,
    /// For clients that log in with SCRAM-SHA-256, which does not send the password; others can
    /// log in as well.
    #[value(name = "scram-sha-256")]
    ScramSha256,
}

impl PasswordArgs {
    /// What the password is to be kept as.
    pub(super) fn scheme(&self) -> NewScheme {
        self.scheme.into()
    }

    /// Asks for the password of `whom`, twice, or reads it.
    pub(super) fn read(&self, whom: &str) -> Result<NewPassword, Failure> {
        let password = if self.input.stdin { from(io::stdin().lock())? } else { ask_twice(whom)? };
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
    /// Asks for a password that exists, or reads it.
    pub(super) fn existing(&self, whom: &str) -> Result<Secret<Vec<u8>>, Failure> {
        if self.stdin { from(io::stdin().lock()) } else { ask(format!("Password{whom}: ")) }
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
        let why = "passwords come from a prompt, or from standard input with --stdin; others on \
                   this machine could read them on the command line\n";
        Err(clap::Error::raw(ErrorKind::UnknownArgument, why).with_cmd(command))
    }
}

fn ask(words: String) -> Result<Secret<Vec<u8>>, Failure> {
    rpassword::prompt_password(words).map(|password| Secret::new(password.into_bytes())).map_err(
        |error| Failure::new(format!("no password could be asked for ({error}); use --stdin")),
    )
}

fn ask_twice(whom: &str) -> Result<Secret<Vec<u8>>, Failure> {
    let first = ask(format!("New password{whom}: "))?;
    let second = ask("The same again: ".to_owned())?;
    if first.expose() != second.expose() {
        return Err(Failure::new("the two passwords differ; nothing has been changed"));
    }
    Ok(first)
}

/// One line, the end of which does not belong to the password.
fn from(input: impl Read) -> Result<Secret<Vec<u8>>, Failure> {
    // One octet more than any password and its line end, to notice one that is too long. The
    // buffer does not grow: that would leave a part of the password in the memory it left.
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
            // What is left of these is refused as a password.
            (b"tanstaaf\n\n", b"tanstaaf\n"),
            (b"tanstaaf\r", b"tanstaaf\r"),
            (b"one\ntwo\n", b"one\ntwo"),
        ] {
            assert_eq!(from(input).unwrap().expose(), password, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn a_password_that_is_too_long_is_not_cut_to_size() {
        for (octets, taken) in [(MAX_PASSWORD_OCTETS, true), (MAX_PASSWORD_OCTETS + 1, false)] {
            for end in ["", "\n", "\r\n"] {
                let input = "x".repeat(octets) + end;
                let password = NewPassword::try_from(from(input.as_bytes()).unwrap());
                assert_eq!(password.is_ok(), taken, "{octets} and {end:?}");
            }
        }
        let endless = from(io::repeat(b'x')).unwrap();
        assert!(NewPassword::try_from(endless).is_err());
    }
}
