//! The login of the tests: its commands, in each way to send the password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::dialogue::{Dialogue, Reply};
use super::rule::Finding;
use crate::cli::client::{self, MAX_COMMAND};
use crate::protocol::Secret;

/// The user of the tests.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret<Vec<u8>>,
}

/// How to log in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// USER and PASS.
    UserPass,
    /// AUTH PLAIN with an initial response.
    Plain,
    /// AUTH PLAIN, and the response to the challenge.
    PlainInTwo,
}

impl Login {
    /// The password as it is sent: in the clear, and in base64.
    pub(super) fn secrets(&self) -> [Secret<Vec<u8>>; 3] {
        [
            Secret::new(self.password.expose().clone()),
            Secret::new(STANDARD.encode(self.password.expose()).into_bytes()),
            Secret::new(self.plain().expose().clone().into_bytes()),
        ]
    }

    /// The reply to a login in this way.
    pub(super) fn log_in(&self, way: Way, dialogue: &mut Dialogue) -> Result<Reply, Finding> {
        match way {
            Way::UserPass => self.user_pass(dialogue),
            Way::Plain => self.auth_plain(dialogue),
            Way::PlainInTwo => self.auth_plain_in_two(dialogue),
        }
    }

    fn user_pass(&self, dialogue: &mut Dialogue) -> Result<Reply, Finding> {
        let reply = dialogue.ask(&format!("USER {}", self.user))?;
        if !reply.is_ok() {
            return Ok(reply);
        }
        let password = self.password.expose().as_slice();
        let command = Secret::new([b"PASS ", password, b"\r\n"].concat());
        dialogue.send(command.expose())?;
        dialogue.reply()
    }

    fn auth_plain(&self, dialogue: &mut Dialogue) -> Result<Reply, Finding> {
        let plain = self.plain();
        let command = Secret::new(format!("AUTH PLAIN {}\r\n", plain.expose()));
        if command.expose().len() > MAX_COMMAND {
            return self.auth_plain_in_two(dialogue);
        }
        dialogue.send(command.expose().as_bytes())?;
        dialogue.reply()
    }

    fn auth_plain_in_two(&self, dialogue: &mut Dialogue) -> Result<Reply, Finding> {
        let plain = self.plain();
        let reply = dialogue.ask("AUTH PLAIN")?;
        if !reply.is_challenge() {
            return Ok(reply);
        }
        let response = Secret::new(format!("{}\r\n", plain.expose()));
        dialogue.send(response.expose().as_bytes())?;
        dialogue.reply()
    }

    /// The response of PLAIN.
    fn plain(&self) -> Secret<String> {
        client::plain_response(self.user.as_bytes(), self.password.expose())
    }
}
