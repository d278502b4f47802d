//! A program that follows the checkpassword protocol (<https://cr.yp.to/checkpwd/interface.html>).
//!
//! - The program reads `name NUL password NUL timestamp NUL` from descriptor 3, at most 512 octets.
//! - It ends with 1 when the password is wrong or the user unknown, with 111 when it cannot tell
//!   now. When the password is right it runs the command in its last arguments, with `HOME`, `USER`
//!   and `SHELL` set.
//! - That command is `env -0 RESTANTE=right`: it writes its environment to standard output, with a
//!   NUL after each variable, so that no part of a value can be taken for another variable.
//!   `RESTANTE=right` proves that it was run: a program that does something else and ends with 0
//!   lets no user in.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime};
use std::{fmt, fs, io};

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::attribute::{self, Attribute};
use super::{Attributes, Check, OpenError, PasswordService};
use crate::protocol::{Secret, Username};

/// A program that is run once for each password.
///
/// - No shell is involved. The name and the password are not arguments: they go through a pipe.
/// - The program gets a small environment, an empty standard input, and no other descriptor of ours.
/// - Its process group is killed when it ends, when it takes too long, and when its answer is not
///   awaited any more.
#[derive(Debug)]
pub struct CheckpasswordProgram {
    path: String,
    arguments: Vec<String>,
}

/// Why a command cannot be used.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("is empty, write the program and its arguments")]
    Empty,
    #[error("{0} cannot be run: {1}; correct the path in command")]
    Missing(PathBuf, io::Error),
    #[error("{0} is not a program that can be run here; make it one with chmod +x")]
    NotExecutable(PathBuf),
    #[error(
        "{0} runs as its owner, not as Restante; correct that with chmod u-s, or use kind = \
         \"pam\""
    )]
    SetUid(PathBuf),
}

/// Why a program has not answered whether a password is right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not started.
    #[error("it cannot be run: {0}")]
    Start(io::Error),
    /// Its exit status is not known.
    #[error("its end was not seen: {0}")]
    Wait(io::Error),
    /// It says that it cannot tell now.
    #[error("it cannot tell now (111){0}")]
    CannotTell(Complaint),
    /// It says that it was misused.
    #[error("it says that it was misused (2); correct its arguments{0}")]
    Misused(Complaint),
    /// Its exit status means nothing in the protocol.
    #[error("it ended with {0}, which is no answer{1}")]
    Ended(ExitStatus, Complaint),
    /// More was written than an environment may have.
    #[error("it sets up an environment of more than {MAX_ENVIRONMENT} octets")]
    Environment,
    /// It ended with 0 and has not run [`ENV`].
    #[error("it ended with 0 without running the command in its last arguments")]
    CommandNotRun,
    /// It logged in another user.
    #[error(
        "it logged in another user: it was asked about {asked} and set USER to {}",
        .user.escape_ascii()
    )]
    AnotherUser {
        /// The user that it was asked about.
        asked: Username,
        /// What it set `USER` to.
        user: Vec<u8>,
    },
    /// The value of a variable cannot be used.
    #[error("the {0} that it sets {1}")]
    Attribute(&'static str, attribute::Error),
}

/// What a program wrote to standard error. To be shown at the end of a sentence.
#[derive(Debug)]
pub struct Complaint(Vec<u8>);

impl CheckpasswordProgram {
    /// Takes a program and its arguments.
    ///
    /// # Errors
    /// When the program cannot be used.
    pub fn new(command: &[String]) -> Result<Self, OpenError> {
        let (path, arguments) =
            command.split_first().ok_or_else(|| OpenError::at("command")(CommandError::Empty))?;
        for program in [path, ENV] {
            executable(Path::new(program)).map_err(OpenError::at("command"))?;
        }
        Ok(Self { path: path.clone(), arguments: arguments.to_vec() })
    }

    fn start(&self, message: &Secret<Vec<u8>>) -> io::Result<Running> {
        let (reader, mut writer) = io::pipe()?;
        // A new pipe has room for the whole message: this never waits for the program.
        writer.write_all(message.expose())?;
        drop(writer);
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .args([ENV, "-0", PROOF])
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .fd_mappings(vec![FdMapping { parent_fd: reader.into(), child_fd: 3 }])
            .map_err(io::Error::other)?;
        let child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Running { child, group })
    }
}

impl PasswordService for CheckpasswordProgram {
    const CORRECTION: &'static str = "correct its arguments";

    type Error = Error;

    fn label(&self) -> String {
        format!("checkpassword {}", self.path)
    }

    async fn ask(&self, name: &Username, password: &Secret<Vec<u8>>) -> Result<Check, Error> {
        let Some(message) = message(name, password) else {
            debug!(user = %name, "name and password are longer than {} can be told", self.path);
            return Ok(Check::Wrong);
        };
        let running = self.start(&message).map_err(Error::Start)?;
        let ended = running.end().await.map_err(Error::Wait)?;
        let Complaint(complaint) = &ended.complaint;
        if !complaint.is_empty() {
            debug!(user = %name, "{} says: {}", self.path, complaint.escape_ascii());
        }
        ended.answer(name)
    }
}

/// A program that is running. Its process group does not outlive this.
struct Running {
    child: Child,
    /// `None` once it has been killed.
    group: Option<Pid>,
}

/// A program that has ended.
struct Ended {
    status: ExitStatus,
    /// Written by the command that it runs after a right password.
    environment: Vec<u8>,
    complaint: Complaint,
}

impl Running {
    /// Reads the output until the end. What is too long is cut off.
    async fn end(mut self) -> io::Result<Ended> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (mut environment, mut complaint) = (Vec::new(), Vec::new());
        let status = {
            let mut reading = pin!(async {
                tokio::join!(
                    read(stdout, &mut environment, MAX_ENVIRONMENT),
                    read(stderr, &mut complaint, MAX_COMPLAINT)
                )
            });
            tokio::select! {
                status = self.child.wait() => {
                    self.kill_group();
                    // A process that has left the group may hold the pipes open for ever.
                    let _rest = timeout(AFTERMATH, reading).await;
                    status
                }
                _all = &mut reading => self.child.wait().await,
            }?
        };
        Ok(Ended { status, environment, complaint: Complaint(complaint) })
    }

    fn kill_group(&mut self) {
        let killed =
            self.group.take().map_or(Ok(()), |group| kill_process_group(group, Signal::KILL));
        match killed {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => warn!("a program for passwords cannot be killed: {errno}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

impl Ended {
    /// What the end means. An error says that the program cannot be asked at all.
    fn answer(self, name: &Username) -> Result<Check, Error> {
        let Self { status, environment, complaint } = self;
        let unclear = match status.code() {
            Some(0) => match attributes(name, &environment) {
                Ok(attributes) => return Ok(Check::Right(attributes)),
                Err(why) => why,
            },
            Some(1) => return Ok(Check::Wrong),
            Some(111) => return Err(Error::CannotTell(complaint)),
            Some(2) => Error::Misused(complaint),
            Some(_) | None => Error::Ended(status, complaint),
        };
        Ok(Check::Unavailable(unclear.into()))
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.trim_ascii() {
            [] => Ok(()),
            text => write!(f, ": {}", text.escape_ascii()),
        }
    }
}

/// Reads to the end, but keeps no more than `most` octets.
async fn read(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>, most: usize) {
    let Some(mut from) = from else { return };
    let mut piece = [0; 1024];
    // An error is as good as an end: what counts is how the program ended.
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let room = most.saturating_sub(kept.len());
        kept.extend(piece.iter().take(count.min(room)));
    }
}

/// The message to the program; `None` when it is longer than the protocol allows, or would be read
/// as another one.
fn message(name: &Username, password: &Secret<Vec<u8>>) -> Option<Secret<Vec<u8>>> {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()).to_string();
    let parts = [name.as_str().as_bytes(), password.expose(), now.as_bytes()];
    let octets: usize = parts.iter().map(|part| part.len() + 1).sum();
    if octets > MAX_MESSAGE || parts.iter().any(|part| part.contains(&0)) {
        return None;
    }
    // Large enough at once: a buffer that grows leaves copies of the password in freed memory.
    let mut message = Vec::with_capacity(octets);
    for part in parts {
        message.extend_from_slice(part);
        message.push(0);
    }
    Some(Secret::new(message))
}

/// The attributes of the user, from the environment that the program has set up.
fn attributes(name: &Username, environment: &[u8]) -> Result<Attributes, Error> {
    if environment.len() >= MAX_ENVIRONMENT {
        return Err(Error::Environment);
    }
    let environment = Environment(environment);
    if !environment.entries().any(|entry| entry == PROOF.as_bytes()) {
        return Err(Error::CommandNotRun);
    }
    let is_asked_for = |user: &[u8]| {
        [name.as_str(), name.local()].iter().any(|own| user.eq_ignore_ascii_case(own.as_bytes()))
    };
    if let Some(other) = environment.value("USER").filter(|user| !is_asked_for(user)) {
        return Err(Error::AnotherUser { asked: name.clone(), user: other.to_vec() });
    }
    let mut attributes = Attributes::default();
    for attribute in Attribute::ALL {
        let variable = match attribute {
            Attribute::Home => "HOME",
            Attribute::Mail => "MAILDIR",
            Attribute::Pop3 => "RESTANTE_POP3",
            Attribute::Sessions => "RESTANTE_SESSIONS",
            Attribute::AllowNets => "RESTANTE_ALLOW_NETS",
        };
        let Some(value) = environment.value(variable) else { continue };
        str::from_utf8(value)
            .map_err(|_| attribute::Error::NotUtf8)
            .and_then(|text| attributes.set(attribute, text))
            .map_err(|error| Error::Attribute(variable, error))?;
    }
    Ok(attributes)
}

/// Variables with their values, each ended by a NUL.
struct Environment<'a>(&'a [u8]);

impl<'a> Environment<'a> {
    fn entries(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.split(|&octet| octet == 0)
    }

    /// `None` for a variable that is empty.
    fn value(&self, variable: &str) -> Option<&'a [u8]> {
        let prefix = format!("{variable}=");
        let mut values = self.entries().filter_map(|entry| entry.strip_prefix(prefix.as_bytes()));
        values.next().filter(|value| !value.is_empty())
    }
}

/// Refuses what cannot be run, or would run as another user.
fn executable(path: &Path) -> Result<(), CommandError> {
    let metadata = fs::metadata(path).map_err(|error| CommandError::Missing(path.into(), error))?;
    if !metadata.is_file() || access(path, Access::EXEC_OK).is_err() {
        return Err(CommandError::NotExecutable(path.into()));
    }
    // It would become the user, who could then change its answer: to the home of another user, say.
    // Nor could it be killed.
    if metadata.permissions().mode() & 0o4000 != 0 {
        return Err(CommandError::SetUid(path.into()));
    }
    Ok(())
}

/// Writes its environment with `-0`: GNU, `BusyBox` and the BSDs have it here.
const ENV: &str = "/usr/bin/env";

/// The variable that proves that [`ENV`] was run.
const PROOF: &str = "RESTANTE=right";

/// The environment of the program.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"), ("SERVICE", "pop3")];

/// The octets that a program has to be able to read.
const MAX_MESSAGE: usize = 512;

const MAX_ENVIRONMENT: usize = 64 * 1024;

const MAX_COMPLAINT: usize = 1024;

/// How long output of a program may take to arrive after its end.
const AFTERMATH: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
