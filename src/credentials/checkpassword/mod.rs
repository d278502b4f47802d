//! A program that follows the checkpassword protocol (<https://cr.yp.to/checkpwd/interface.html>).
//!
//! - The program reads `name NUL password NUL timestamp NUL` from descriptor 3, at most 512 octets.
//! - It ends with 1 when the password is wrong or nobody has the name, with 111 when it cannot
//!   tell now. When the password is right it runs the command that its last arguments are, with
//!   `HOME`, `USER` and `SHELL` set.
//! - That command is `env -0 RESTANTE=right`: it writes its environment to standard output, with a
//!   NUL after each variable, so that nothing in a value can be taken for another variable.
//!   `RESTANTE=right` among them says that it was run: a program that does something else, and does
//!   that well, lets nobody in.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::Gatekeeper;
use super::attribute::{Attribute, Source};
use super::{Attributes, Check, OpenError};
use crate::protocol::{Secret, Username};

/// A program that is run once for each password.
///
/// - No shell sees anything, and the name and the password are no arguments: they go through a
///   pipe.
/// - The program gets a small environment of its own, nothing on standard input, and no other
///   descriptor of ours.
/// - Whatever it has started in its process group is killed when it ends, when it takes too long
///   and when nobody waits for the answer any more.
#[derive(Debug)]
pub struct CheckpasswordProgram {
    path: String,
    arguments: Vec<String>,
}

impl CheckpasswordProgram {
    /// Takes a program and its arguments.
    ///
    /// # Errors
    /// Why the program cannot be used, in a line.
    pub fn new(command: &[String]) -> Result<Self, OpenError> {
        let (path, arguments) = command.split_first().ok_or_else(|| {
            OpenError::at("command")("is empty, write the program and its arguments".into())
        })?;
        for program in [path, ENV] {
            executable(Path::new(program)).map_err(OpenError::at("command"))?;
        }
        Ok(Self { path: path.clone(), arguments: arguments.to_vec() })
    }

    fn start(&self, message: &Secret<Vec<u8>>) -> io::Result<Running> {
        let (reader, mut writer) = io::pipe()?;
        // A new pipe has room for all of it: this never waits for the program.
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

impl Gatekeeper for CheckpasswordProgram {
    const CORRECTION: &'static str = "correct its arguments";

    fn label(&self) -> String {
        format!("checkpassword {}", self.path)
    }

    async fn ask(&self, name: &Username, password: &Secret<Vec<u8>>) -> Result<Check, String> {
        let Some(message) = message(name, password) else {
            debug!(user = %name, "name and password are longer than {} can be told", self.path);
            return Ok(Check::Wrong);
        };
        let running = self.start(&message).map_err(|error| format!("it cannot be run: {error}"))?;
        let ended =
            running.end().await.map_err(|error| format!("it was lost sight of: {error}"))?;
        if !ended.complaint.is_empty() {
            debug!(user = %name, "{} says: {}", self.path, ended.complaint.escape_ascii());
        }
        ended.answer(name)
    }
}

/// A program that is being run. Nothing of its process group outlives this.
struct Running {
    child: Child,
    /// None once it has been killed.
    group: Option<Pid>,
}

/// A program that has ended.
struct Ended {
    status: ExitStatus,
    /// What the command that follows a right password wrote.
    environment: Vec<u8>,
    /// What the program wrote to standard error.
    complaint: Vec<u8>,
}

impl Running {
    /// Waits for the end and reads meanwhile. The rest of what does not fit is thrown away.
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
                    // Somebody who has left the group may hold the pipes open for ever.
                    let _rest = timeout(AFTERMATH, reading).await;
                    status
                }
                _all = &mut reading => self.child.wait().await,
            }?
        };
        Ok(Ended { status, environment, complaint })
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
    fn answer(&self, name: &Username) -> Result<Check, String> {
        let complaint = self.complained();
        match self.status.code() {
            Some(0) => Ok(match attributes(name, &self.environment) {
                Ok(attributes) => Check::Right(attributes),
                Err(why) => Check::Unavailable(why),
            }),
            Some(1) => Ok(Check::Wrong),
            Some(111) => Err(format!("it cannot tell now (111){complaint}")),
            Some(2) => Ok(Check::Unavailable(format!(
                "it says that it was misused (2); correct its arguments{complaint}"
            ))),
            Some(_) | None => Ok(Check::Unavailable(format!(
                "it ended with {}, which is no answer{complaint}",
                self.status
            ))),
        }
    }

    fn complained(&self) -> String {
        match self.complaint.trim_ascii() {
            [] => String::new(),
            complaint => format!(": {}", complaint.escape_ascii()),
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

/// What the program is told; nothing when it is longer than the protocol allows, or would be
/// understood as something else.
fn message(name: &Username, password: &Secret<Vec<u8>>) -> Option<Secret<Vec<u8>>> {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()).to_string();
    let parts = [name.as_str().as_bytes(), password.expose(), now.as_bytes()];
    let octets: usize = parts.iter().map(|part| part.len() + 1).sum();
    if octets > MAX_MESSAGE || parts.iter().any(|part| part.contains(&0)) {
        return None;
    }
    // Room for all of it at once: a buffer that grows leaves passwords in the memory it left.
    let mut message = Vec::with_capacity(octets);
    for part in parts {
        message.extend_from_slice(part);
        message.push(0);
    }
    Some(Secret::new(message))
}

/// What the environment that the program has set up says of the user.
fn attributes(name: &Username, environment: &[u8]) -> Result<Attributes, String> {
    if environment.len() >= MAX_ENVIRONMENT {
        return Err(format!("it sets up an environment of more than {MAX_ENVIRONMENT} octets"));
    }
    let environment = Environment(environment);
    if !environment.entries().any(|entry| entry == PROOF.as_bytes()) {
        return Err("it ended well without running the command that its last arguments are".into());
    }
    let is_asked_for = |user: &[u8]| {
        [name.as_str(), name.local()].iter().any(|own| user.eq_ignore_ascii_case(own.as_bytes()))
    };
    if let Some(other) = environment.value("USER").filter(|user| !is_asked_for(user)) {
        let other = other.escape_ascii();
        return Err(format!(
            "it logged in somebody else: it was asked about {name} and set USER to {other}"
        ));
    }
    environment.attributes()
}

/// Variables with their values, each with a NUL behind it.
struct Environment<'a>(&'a [u8]);

impl<'a> Environment<'a> {
    fn entries(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.split(|&octet| octet == 0)
    }

    /// Nothing where a variable is empty.
    fn value(&self, variable: &str) -> Option<&'a [u8]> {
        let prefix = format!("{variable}=");
        let mut values = self.entries().filter_map(|entry| entry.strip_prefix(prefix.as_bytes()));
        values.next().filter(|value| !value.is_empty())
    }
}

impl Source for Environment<'_> {
    fn read<T>(
        &self,
        attribute: Attribute,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, String> {
        let variable = match attribute {
            Attribute::Home => "HOME",
            Attribute::Mail => "MAILDIR",
            Attribute::Pop3 => "RESTANTE_POP3",
            Attribute::Sessions => "RESTANTE_SESSIONS",
            Attribute::AllowNets => "RESTANTE_ALLOW_NETS",
        };
        let Some(value) = self.value(variable) else { return Ok(None) };
        let read = str::from_utf8(value).map_err(|_| "is not UTF-8").and_then(parse);
        read.map(Some).map_err(|fault| format!("the {variable} that it sets {fault}"))
    }
}

/// Refuses what cannot be run, or would run as somebody else.
fn executable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = fs::metadata(path)
        .map_err(|error| format!("{shown} cannot be run: {error}; correct the path in command"))?;
    if !metadata.is_file() || access(path, Access::EXEC_OK).is_err() {
        return Err(format!(
            "{shown} is not a program that can be run here; chmod +x makes it one"
        ));
    }
    // It would become the user, and a user can change what a program of theirs answers: the home of
    // somebody else, say. Nor could it be killed.
    if metadata.permissions().mode() & 0o4000 != 0 {
        return Err(format!(
            "{shown} runs as its owner, not as Restante; take that away with chmod u-s, or use \
             kind = \"pam\""
        ));
    }
    Ok(())
}

/// Writes its environment with `-0`: GNU, `BusyBox` and the BSDs have it here.
const ENV: &str = "/usr/bin/env";

/// The variable that shows that [`ENV`] was run.
const PROOF: &str = "RESTANTE=right";

/// All that a program finds in its environment.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"), ("SERVICE", "pop3")];

/// What the protocol promises to programs.
const MAX_MESSAGE: usize = 512;

const MAX_ENVIRONMENT: usize = 64 * 1024;

const MAX_COMPLAINT: usize = 1024;

/// How long what a program wrote may take to arrive after its end.
const AFTERMATH: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
