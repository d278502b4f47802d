//! PAM: users are checked as the file of a service in `/etc/pam.d` says.
//!
//! - The password is the answer to every prompt without echo. Any other prompt ends the login, as
//!   there is no user to answer it.
//! - A module cannot be interrupted. Each login has its own thread, which counts among `at-once`
//!   until the module returns. The client is answered at the deadline. The thread belongs to no
//!   pool, so modules that hang do not use one up, and the program ends without waiting for it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::unistd::User;
use nonstick::conv::{Conversation, Exchange};
use nonstick::items::Items;
use nonstick::{AuthnFlags, ErrorCode, PamShared, Transaction, TransactionBuilder};
use tokio::sync::{AcquireError, Semaphore, oneshot};
use tracing::{debug, info};

use super::{Attributes, Check, OpenError, PasswordService};
use crate::config::PamSection;
use crate::protocol::{Secret, Username};

/// A service of PAM.
#[derive(Debug)]
pub struct PamService {
    name: String,
    /// A permit for each thread that may ask PAM at the same time.
    threads: Arc<Semaphore>,
}

/// Why PAM has not answered whether a password is right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no file for the service.
    #[error("there is no /etc/pam.d/{0}; write that file or correct service")]
    NoService(String),
    /// PAM cannot be started.
    #[error("cannot be started: {0}")]
    Start(ErrorCode),
    /// A module has failed.
    #[error("{0}")]
    Module(ErrorCode),
    /// A module prompts for something else.
    #[error("a module asks for more than a password")]
    OtherPrompt,
    /// The name that the modules have set cannot be read.
    #[error("does not say who has logged in: {0}")]
    NoUser(ErrorCode),
    /// A module logged in another user.
    #[error("it logged in another user: it was asked about {asked} and set the user to {user:?}")]
    AnotherUser {
        /// The user that it was asked about.
        asked: Username,
        /// What the user was set to.
        user: Option<OsString>,
    },
    /// The user cannot be looked up.
    #[error("the home of {0} cannot be found: {1}")]
    NoHome(Username, Errno),
    /// The system gives no thread.
    #[error("there is no thread for it: {0}")]
    NoThread(io::Error),
    /// A module has ended its thread.
    #[error("a module ended its thread")]
    ThreadEnded,
    /// The threads are closed.
    #[error(transparent)]
    Closed(#[from] AcquireError),
}

impl PamService {
    /// Takes the name of a file in `/etc/pam.d`, and how many threads ask PAM at the same time.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn new(section: &PamSection) -> Result<Self, OpenError> {
        policy(&section.service).map_err(OpenError::at("service"))?;
        let threads = usize::try_from(section.asking.at_once.get()).unwrap_or(usize::MAX);
        let threads = Arc::new(Semaphore::new(threads.min(Semaphore::MAX_PERMITS)));
        Ok(Self { name: section.service.clone(), threads })
    }
}

impl PasswordService for PamService {
    const CORRECTION: &'static str = "it needs a module that verifies them";

    type Error = Error;

    fn label(&self) -> String {
        format!("pam {}", self.name)
    }

    async fn ask(&self, name: &Username, password: &Secret<Vec<u8>>) -> Result<Check, Error> {
        if password.expose().contains(&0) {
            return Ok(Check::Wrong);
        }
        let permit = Arc::clone(&self.threads).acquire_owned().await?;
        let (service, name) = (self.name.clone(), name.clone());
        let password = Secret::new(password.expose().clone());
        let (answer, answered) = oneshot::channel();
        let thread = thread::Builder::new().name("pam".into()).spawn(move || {
            let _permit = permit;
            // The login may have ended before the answer.
            let _late = answer.send(log_in(&service, &name, password));
        });
        thread.map_err(Error::NoThread)?;
        answered.await.unwrap_or(Err(Error::ThreadEnded))
    }
}

/// The file of a service. Without one, PAM would silently use that of the service `other`.
fn policy(service: &str) -> Result<PathBuf, Error> {
    let files = POLICIES.map(|folder| Path::new(folder).join(service));
    let file = files.into_iter().find(|file| file.is_file());
    file.ok_or_else(|| Error::NoService(service.to_owned()))
}

/// A whole login. The modules may take any time.
fn log_in(service: &str, name: &Username, password: Secret<Vec<u8>>) -> Result<Check, Error> {
    policy(service)?;
    let transaction = TransactionBuilder::new_with_service(service)
        .username(name.as_str())
        .build(Password(password));
    let mut transaction = transaction.map_err(Error::Start)?;
    let flags = AuthnFlags::SILENT | AuthnFlags::DISALLOW_NULL_AUTHTOK;
    if let Err(code) = transaction.authenticate(flags) {
        debug!(user = %name, "PAM does not take the password: {code}");
        return refusal(code);
    }
    if let Err(code) = transaction.account_management(flags) {
        info!(user = %name, "PAM takes the password, but does not let the user in: {code}");
        return refusal(code);
    }
    // A module may have replaced the name.
    let user = transaction.items().user().map_err(Error::NoUser)?;
    if !user.as_deref().is_some_and(|user| user.eq_ignore_ascii_case(name.as_str())) {
        return Ok(Check::Unavailable(Error::AnotherUser { asked: name.clone(), user }.into()));
    }
    Ok(match User::from_name(name.as_str()) {
        Ok(user) => {
            let home = user.map(|user| user.dir).filter(|home| home.is_absolute());
            Check::Right(Attributes { home, ..Attributes::default() })
        }
        Err(errno) => Check::Unavailable(Error::NoHome(name.clone(), errno).into()),
    })
}

/// The meaning of a code other than success: for the user, or else for PAM as a whole.
fn refusal(code: ErrorCode) -> Result<Check, Error> {
    let of_the_user = [
        ErrorCode::AuthenticationError,
        ErrorCode::UserUnknown,
        ErrorCode::MaxTries,
        ErrorCode::AccountExpired,
        ErrorCode::AuthTokExpired,
        ErrorCode::CredentialsExpired,
        ErrorCode::NewAuthTokRequired,
        ErrorCode::PermissionDenied,
    ];
    if of_the_user.contains(&code) {
        Ok(Check::Wrong)
    } else if code == ErrorCode::ConversationError {
        Ok(Check::Unavailable(Error::OtherPrompt.into()))
    } else {
        Err(Error::Module(code))
    }
}

/// Answers the prompts of the modules.
struct Password(Secret<Vec<u8>>);

impl Conversation for Password {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the crate may add kinds of prompts")]
    fn communicate(&self, messages: &[Exchange<'_>]) {
        for message in messages {
            match message {
                Exchange::MaskedPrompt(prompt) => {
                    prompt.set_answer(Ok(OsString::from_vec(self.0.expose().clone())));
                }
                Exchange::Info(told) => {
                    debug!("PAM says: {:?}", told.question());
                    told.set_answer(Ok(()));
                }
                Exchange::Error(told) => {
                    debug!("PAM says: {:?}", told.question());
                    told.set_answer(Ok(()));
                }
                other => other.set_error(ErrorCode::ConversationError),
            }
        }
    }
}

/// Folders in which Linux-PAM looks for the files of services, and FreeBSD for those of packages.
const POLICIES: [&str; 3] = ["/etc/pam.d", "/usr/lib/pam.d", "/usr/local/etc/pam.d"];

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::config::Asking;

    #[test]
    fn a_service_without_a_file_is_refused() {
        let service = "restante-no-such-service".to_owned();
        let asking = Asking { deadline: Duration::from_secs(1), at_once: NonZeroU32::MIN };
        let error = PamService::new(&PamSection { service, asking }).unwrap_err();
        let hint = "/etc/pam.d/restante-no-such-service";
        assert!(error.to_string().contains(hint), "{error}");
    }

    #[test]
    fn the_meaning_of_codes() {
        for code in [
            ErrorCode::AuthenticationError,
            ErrorCode::UserUnknown,
            ErrorCode::MaxTries,
            ErrorCode::AccountExpired,
            ErrorCode::NewAuthTokRequired,
            ErrorCode::PermissionDenied,
        ] {
            assert!(matches!(refusal(code), Ok(Check::Wrong)), "{code}");
        }
        for code in [
            ErrorCode::AuthInfoUnavailable,
            ErrorCode::CredentialsInsufficient,
            ErrorCode::SystemError,
            ErrorCode::Abort,
            ErrorCode::ModuleUnknown,
            ErrorCode::Ignore,
        ] {
            assert!(refusal(code).is_err(), "{code}");
        }
        let asked = refusal(ErrorCode::ConversationError);
        assert!(matches!(asked, Ok(Check::Unavailable(_))));
    }
}
