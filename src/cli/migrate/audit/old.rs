//! Asking the other server, for several users at a time.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::cli::Failure;
use crate::cli::client::Connector;
use crate::cli::migrate::client::{Error, Login, Server, ServerUrl, Want};
use crate::cli::migrate::listing::Listing;
use crate::protocol::{ClaimedName, Secret, Username};

/// The options for asking another server.
#[derive(Debug, clap::Args)]
pub(in super::super) struct ServerArgs {
    /// A file with the users of --old: on each line a name, a TAB, and the password there.
    #[arg(long, value_name = "FILE", requires = "old")]
    users: Option<PathBuf>,
    /// Accept any certificate of the other server.
    #[arg(long, requires = "old")]
    insecure: bool,
    /// Send passwords to a server at pop3:// without TLS.
    #[arg(long, requires = "old")]
    cleartext: bool,
    /// How many users to ask for at a time.
    #[arg(long, value_name = "N", default_value = "8", requires = "old")]
    parallel: NonZeroUsize,
}

impl ServerArgs {
    /// The file with the users of the other server.
    pub(super) fn users(&self) -> Option<&Path> {
        self.users.as_deref()
    }

    /// The users of the other server.
    pub(in super::super) fn logins(&self) -> Result<Vec<Login>, Failure> {
        let Some(path) = &self.users else {
            return Err(Failure::new("the users of --old are missing; name a file with --users"));
        };
        read_logins(path)
    }

    /// The other server.
    pub(in super::super) fn server(&self, url: ServerUrl, want: Want) -> Result<Server, Failure> {
        let connector =
            if self.insecure { Connector::accepting_any() } else { Connector::verifying() };
        let connector = connector.map_err(Failure::of)?;
        Ok(Server { url, cleartext: self.cleartext, connector, want })
    }

    /// Asks for the listings of all these users, and passes each to `done` when it is there.
    ///
    /// # Errors
    /// Those of `done`, and if there are no threads. Then the other requests are cancelled.
    pub(in super::super) fn ask(
        &self,
        server: Server,
        logins: Vec<Login>,
        mut done: impl FnMut(Username, Result<Listing, Error>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::of)?;
        let server = Arc::new(server);
        runtime.block_on(async {
            let (mut logins, mut running) = (logins.into_iter(), JoinSet::new());
            loop {
                while running.len() < self.parallel.get()
                    && let Some(login) = logins.next()
                {
                    let server = Arc::clone(&server);
                    running.spawn(async move {
                        let listing = server.listing(&login).await;
                        (login.user, listing)
                    });
                }
                let Some(asked) = running.join_next().await else { return Ok(()) };
                let (user, listing) = asked.map_err(Failure::of)?;
                done(user, listing)?;
            }
        })
    }
}

fn read_logins(path: &Path) -> Result<Vec<Login>, Failure> {
    let unreadable = |error| Failure::new(format!("{}: {error}", path.display()));
    let text = Secret::new(fs::read(path).map_err(unreadable)?);
    let lines = text.expose().split(|octet| *octet == b'\n').enumerate();
    let lines = lines.map(|(index, line)| (index + 1, line.strip_suffix(b"\r").unwrap_or(line)));
    let logins = lines.filter(|(_, line)| !line.is_empty()).map(|(number, line)| {
        let at_line = |what: String| Failure::new(format!("{}:{number}: {what}", path.display()));
        let tab = line.iter().position(|octet| *octet == b'\t');
        let tab = tab.ok_or_else(|| at_line("write a name, a TAB and a password".to_owned()))?;
        let (name, tab_and_password) = line.split_at(tab);
        let name = str::from_utf8(name).map_err(|error| at_line(error.to_string()))?;
        let user =
            Username::try_from(name).map_err(|error| at_line(format!("the name {error}")))?;
        let password = tab_and_password.get(1..).unwrap_or_default().to_vec();
        Ok(Login { user, name: ClaimedName::new(name.as_bytes()), password: Secret::new(password) })
    });
    logins.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_their_passwords() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, "Mrose@example.org\ttan staaf\r\n\nb\t\u{e4}\tx\nc\t\n").unwrap();
        let logins = read_logins(&path).unwrap();
        let logins = logins.iter().map(|Login { user, name, password }| {
            (user.as_str(), name.to_string(), password.expose().as_slice())
        });
        let expected = [
            ("mrose@example.org", "Mrose@example.org", "tan staaf"),
            ("b", "b", "\u{e4}\tx"),
            ("c", "c", ""),
        ];
        let expected =
            expected.map(|(user, name, password)| (user, name.to_owned(), password.as_bytes()));
        assert!(logins.eq(expected));
        for (text, expected) in [
            ("a\tb\nmrose\n", ":2: write a name, a TAB and a password"),
            ("\tb\n", ":1: the name is empty, or has an empty part beside its @"),
        ] {
            fs::write(&path, text).unwrap();
            let failure = read_logins(&path).unwrap_err();
            assert_eq!(failure.to_string(), format!("{}{expected}", path.display()));
        }
    }
}
