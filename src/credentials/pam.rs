//! PAM: whatever the file of a service in `/etc/pam.d` says.
//!
//! - The password is the answer to every question that is asked without echo; any other question
//!   ends the login, for there is nobody to answer it.
//! - A module cannot be interrupted. Each login has a thread of its own, which keeps its place
//!   among `at-once` until the module comes back, while the client is answered at the deadline. It
//!   is not one of the threads that mail is read with: those are never used up, and the end of the
//!   program does not wait for it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::unistd::User;
use nonstick::conv::{Conversation, Exchange};
use nonstick::items::Items;
use nonstick::{AuthnFlags, ErrorCode, PamShared, Transaction, TransactionBuilder};
use tokio::sync::{Semaphore, oneshot};
use tracing::{debug, info};

use super::Gatekeeper;
use super::{Attributes, Check, OpenError};
use crate::config::PamSection;
use crate::protocol::{Secret, Username};

/// A service of PAM, and the threads that may ask it.
#[derive(Debug)]
pub struct PamService {
    name: String,
    threads: Arc<Semaphore>,
}

impl PamService {
    /// Takes the name of a file in `/etc/pam.d`, and how many threads ask PAM at the same time.
    ///
    /// # Errors
    /// That there is no such file.
    pub fn new(section: &PamSection) -> Result<Self, OpenError> {
        policy(&section.service).map_err(OpenError::at("service"))?;
        let threads = usize::try_from(section.asking.at_once.get()).unwrap_or(usize::MAX);
        let threads = Arc::new(Semaphore::new(threads.min(Semaphore::MAX_PERMITS)));
        Ok(Self { name: section.service.clone(), threads })
    }
}

impl Gatekeeper for PamService {
    const CORRECTION: &'static str = "it needs a module that verifies them";

    fn label(&self) -> String {
        format!("pam {}", self.name)
    }

    async fn ask(&self, name: &Username, password: &Secret<Vec<u8>>) -> Result<Check, String> {
        if password.expose().contains(&0) {
            return Ok(Check::Wrong);
        }
        let place = Arc::clone(&self.threads).acquire_owned().await;
        let place = place.map_err(|closed| closed.to_string())?;
        let (service, name) = (self.name.clone(), name.clone());
        let password = Secret::new(password.expose().clone());
        let (answer, answered) = oneshot::channel();
        let thread = thread::Builder::new().name("pam".into()).spawn(move || {
            let _place = place;
            // Nobody may be waiting for the answer any more.
            let _late = answer.send(log_in(&service, &name, password));
        });
        thread.map_err(|error| format!("there is no thread for it: {error}"))?;
        answered.await.unwrap_or_else(|_| Err("a module ended its thread".into()))
    }
}

/// The file of a service. Without one, PAM would quietly follow that of the service `other`.
fn policy(service: &str) -> Result<PathBuf, String> {
    let files = POLICIES.map(|folder| Path::new(folder).join(service));
    files.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        format!("there is no /etc/pam.d/{service}; write that file or correct service")
    })
}

/// A login from beginning to end. Takes as long as the modules please.
fn log_in(service: &str, name: &Username, password: Secret<Vec<u8>>) -> Result<Check, String> {
    policy(service)?;
    let transaction = TransactionBuilder::new_with_service(service)
        .username(name.as_str())
        .build(Password(password));
    let mut transaction = transaction.map_err(|code| format!("cannot be begun: {code}"))?;
    let flags = AuthnFlags::SILENT | AuthnFlags::DISALLOW_NULL_AUTHTOK;
    if let Err(code) = transaction.authenticate(flags) {
        debug!(user = %name, "PAM does not take the password: {code}");
        return refusal(code);
    }
    if let Err(code) = transaction.account_management(flags) {
        info!(user = %name, "PAM takes the password, but does not let the user in: {code}");
        return refusal(code);
    }
    // A module may have put another name in place of the one that was asked about.
    let user = transaction.items().user().map_err(|code| format!("names nobody: {code}"))?;
    if !user.as_deref().is_some_and(|user| user.eq_ignore_ascii_case(name.as_str())) {
        return Ok(Check::Unavailable(format!(
            "it logged in somebody else: it was asked about {name} and set the user to {user:?}"
        )));
    }
    Ok(match User::from_name(name.as_str()) {
        Ok(user) => {
            let home = user.map(|user| user.dir).filter(|home| home.is_absolute());
            Check::Right(Attributes { home, ..Attributes::default() })
        }
        Err(errno) => Check::Unavailable(format!("the home of {name} cannot be found: {errno}")),
    })
}

/// What a code that is not success says: of the user, or else of PAM.
fn refusal(code: ErrorCode) -> Result<Check, String> {
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
        Ok(Check::Unavailable("a module asks for more than a password".into()))
    } else {
        Err(code.to_string())
    }
}

/// Answers the questions of the modules.
struct Password(Secret<Vec<u8>>);

impl Conversation for Password {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the crate may add kinds of questions")]
    fn communicate(&self, messages: &[Exchange<'_>]) {
        for message in messages {
            match message {
                Exchange::MaskedPrompt(question) => {
                    question.set_answer(Ok(OsString::from_vec(self.0.expose().clone())));
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

/// Where Linux-PAM looks for the files of services, and FreeBSD for those of added programs.
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
        assert!(error.what.contains("/etc/pam.d/restante-no-such-service"), "{error}");
    }

    #[test]
    fn what_codes_say() {
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
