//! Dovecot 2.3, tuned by its documentation.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use crate::maildirs::RUN_AS;
use crate::server::{Place, Product, Server, text};

/// Starts it with all files below `root`, and with further lines of configuration.
pub(crate) fn start(root: PathBuf, settings: &[String]) -> io::Result<Server> {
    let version = Command::new("dovecot").arg("--version").stderr(Stdio::null()).output();
    let version = version.map_err(|_| {
        io::Error::other(
            "there is no dovecot: apt-get install dovecot-pop3d, or measure with --only restante",
        )
    })?;
    if !version.stdout.starts_with(b"2.3.") {
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        return Err(io::Error::other(format!("Dovecot 2.3 is wanted; this is {version}")));
    }
    if !geteuid().is_root() {
        return Err(io::Error::other("only root can run Dovecot; or measure with --only restante"));
    }
    let place = Place::new(root)?;
    let configuration = [configuration(&place)?, settings.join("\n")].concat() + "\n";
    let configuration = place.write("dovecot.conf", &configuration)?;
    let command = ["dovecot", "-F", "-c", text(&configuration)?];
    let command = command.map(str::to_owned).to_vec();
    place.start(Product::Dovecot, command)
}

/// The version, for the report.
pub(crate) fn version() -> String {
    let output = Command::new("dovecot").arg("--version").stderr(Stdio::null()).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// - Login processes serve many connections each (`service_count = 0`, the documented
///   "high-performance mode"), one process for each processor. Session processes are started before
///   and reused, so that no session needs a fork.
/// - Passwords are cached, and not hashed.
/// - Unnecessary writes are off: no flags when messages are read, no statistics, no fsync.
/// - Only Dovecot changes the Maildirs, and is configured so (`maildir_very_dirty_syncs`).
/// - Limits are raised.
fn configuration(place: &Place) -> io::Result<String> {
    let root: &Path = &place.root;
    let (root, mail) = (text(root)?, text(place.maildirs.root())?);
    let (plain, tls) = (place.plain.port(), place.tls.port());
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log
protocols = pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{root}/certificate.pem
ssl_key = <{root}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain
auth_cache_size = 64M
auth_cache_ttl = 1 days
passdb {{
  driver = passwd-file
  args = {root}/users
}}
userdb {{
  driver = static
  args = uid={RUN_AS} gid=nogroup home={mail}/%u
}}
mail_uid = {RUN_AS}
mail_gid = nogroup
first_valid_uid = 1
mail_location = maildir:{mail}/%u/Maildir
mail_fsync = never
mail_max_userip_connections = 0
maildir_very_dirty_syncs = yes
pop3_no_flag_updates = yes
stats_writer_socket_path =
default_vsz_limit = 0
default_client_limit = 50000
default_process_limit = 50000
service pop3-login {{
  service_count = 0
  process_min_avail = {cores}
  process_limit = {cores}
  client_limit = 20000
  inet_listener pop3 {{
    port = {plain}
  }}
  inet_listener pop3s {{
    port = {tls}
    ssl = yes
  }}
}}
service pop3 {{
  process_min_avail = 8
  process_limit = 20000
  service_count = 10000
}}
service auth {{
  user = {RUN_AS}
  client_limit = 50000
}}
service anvil {{
  client_limit = 50000
}}
service stats {{
  client_limit = 50000
}}
service log {{
  client_limit = 50000
}}
"
    ))
}
