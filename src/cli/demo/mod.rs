//! `restante demo`: a complete server in one command, to try a mail client.
//!
//! It has a temporary directory with a certificate, a user and sample mail, and runs the same server
//! as `restante serve`. The directory is removed at the end.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Failure, print};
use crate::config::Config;
use crate::password::{NewPassword, NewScheme};
use crate::protocol::Secret;
use crate::server::{self, Sandbox, Socket, Source};
use crate::telemetry;

mod sample;

/// `restante demo`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
        restante demo\n  \
        restante demo --messages 5000\n  \
        restante demo --pop3 0.0.0.0:1110 --pop3s 0.0.0.0:1995     # also for other machines")]
pub struct Args {
    /// The address of POP3 with STLS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1110")]
    pop3: SocketAddr,
    /// The address of POP3 over TLS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1995")]
    pop3s: SocketAddr,
    /// The number of messages, at least one of each kind.
    #[arg(long, value_name = "N", default_value_t = sample::KINDS)]
    messages: u32,
}

/// Serves sample mail until Ctrl-C.
///
/// # Errors
/// [`Failure`] when it cannot start.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<(), Failure> {
    let directory =
        tempfile::Builder::new().prefix("restante-demo-").tempdir().map_err(|error| {
            Failure::new(format!("cannot create a temporary directory: {error}; set TMPDIR"))
        })?;
    let file = directory.path().join("restante.toml");
    let text = configuration(&args);
    let config = Config::parse(&text, &file).map_err(Failure::of)?;
    let sockets = server::bind(&config.listen, &[]).map_err(|error| {
        let option = if error.in_use() == Some(args.pop3s) { "--pop3s" } else { "--pop3" };
        match error.in_use() {
            Some(_) => {
                Failure::new(format!("{error}; choose another port with {option} 127.0.0.1:PORT"))
            }
            None => Failure::of(error),
        }
    })?;
    let messages = fill(directory.path(), &args).map_err(|error| {
        Failure::new(format!("{} cannot be filled: {error}", directory.path().display()))
    })?;
    print(instructions(directory.path(), sockets.pop3(), messages)?)?;
    let _log = telemetry::start(&config.log)
        .map_err(|error| Failure::new(format!("the log cannot be written: {error}")))?;
    let outcome =
        server::run(config, sockets, None, Source::Fixed, Sandbox::none()).map_err(Failure::of);
    let removed = directory.close();
    outcome?;
    removed.map_err(|error| {
        Failure::new(format!("the directory of the demo cannot be removed: {error}"))
    })
}

/// Fills the directory of the demo. Returns the number of messages.
fn fill(directory: &Path, args: &Args) -> Result<u32, Box<dyn Error>> {
    fs::write(directory.join("restante.toml"), configuration(args))?;
    write_certificate(directory, &[args.pop3.ip(), args.pop3s.ip()])?;
    let password = NewPassword::try_from(Secret::new(PASSWORD.into()))?;
    let user = format!("{USER}:{}\n", NewScheme::Argon2id.hash(&password)?.expose());
    write_private(&directory.join("users"), &user)?;
    Ok(sample::fill(&directory.join(USER).join("Maildir"), args.messages)?)
}

/// A minimal configuration.
fn configuration(Args { pop3, pop3s, .. }: &Args) -> String {
    format!(
        r#"hostname = "localhost"

[[listen]]
address = "{pop3}"
tls = "starttls"

[[listen]]
address = "{pop3s}"
tls = "implicit"

[tls]
certificate = "certificate.pem"
private-key = "private-key.pem"

[maildir]
path = "{{user}}/Maildir"

[[credentials]]
kind = "file"
path = "users"

[limits]
connections = 100

[log]
format = "text"

[last-logins]
enabled = false
"#
    )
}

fn write_certificate(directory: &Path, addresses: &[IpAddr]) -> Result<(), Box<dyn Error>> {
    let mut names = vec!["localhost".to_owned()];
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for address in loopback.iter().chain(addresses).map(IpAddr::to_string) {
        if !names.contains(&address) {
            names.push(address);
        }
    }
    let key = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(names)?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "Restante demo");
    let certificate = params.self_signed(&key)?;
    fs::write(directory.join("certificate.pem"), certificate.pem())?;
    write_private(&directory.join("private-key.pem"), &key.serialize_pem())?;
    Ok(())
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// What to tell a person who wants to try the server.
fn instructions(directory: &Path, sockets: &[Socket], messages: u32) -> Result<String, Failure> {
    let [starttls, implicit] = sockets else {
        return Err(Failure::new("the demo needs two sockets"));
    };
    let (starttls, implicit) = (reachable(starttls.address()), reachable(implicit.address()));
    let certificate = directory.join("certificate.pem");
    let curl = format!("curl --cacert '{}' --user {USER}:{PASSWORD}", certificate.display());
    Ok(format!(
        "\
Restante serves {messages} sample messages on this machine until you press Ctrl-C.

In a mail client, add a POP3 account (not IMAP):

    Server       {server}
    Port         {port}    (security: SSL/TLS)
    or port      {stls_port}    (security: STARTTLS)
    User name    {USER}
    Password     {PASSWORD}    (authentication: normal password)

The certificate was made for this demo, so the client will warn about it. Accept it once.
There is no server for outgoing mail. If the client requires one, enter any name.

Or paste these lines into another terminal:

    # list the messages, over TLS
    {curl} pop3s://{implicit}/
    # read the first one
    {curl} pop3s://{implicit}/1
    # read it again, over STLS
    {curl} --ssl-reqd pop3://{starttls}/1
    # delete it
    {curl} --list-only --request DELE pop3s://{implicit}/1

",
        server = implicit.ip(),
        port = implicit.port(),
        stls_port = starttls.port(),
    ))
}

/// The address for clients. A socket on all addresses is reached by the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

const USER: &str = "demo";
const PASSWORD: &str = "restante";

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Args {
        Args {
            pop3: "127.0.0.1:0".parse().unwrap(),
            pop3s: "[::1]:0".parse().unwrap(),
            messages: 0,
        }
    }

    #[test]
    fn the_configuration_is_valid() {
        let file = Path::new("/tmp/demo/restante.toml");
        let config = Config::parse(&configuration(&args()), file).unwrap();
        assert_eq!(config.maildir.path, Path::new("/tmp/demo/{user}/Maildir"));
        assert_eq!(config.listen.len(), 2);
        assert!(!config.auth.allow_cleartext);
        assert!(!config.last_logins.enabled);
    }

    #[test]
    fn the_settings_have_an_address_for_clients() {
        for (bound, shown) in [
            ("0.0.0.0:1110", "127.0.0.1:1110"),
            ("[::]:1110", "[::1]:1110"),
            ("127.0.0.2:1110", "127.0.0.2:1110"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()), shown.parse().unwrap());
        }
    }

    #[test]
    fn the_certificate_can_be_served() {
        let directory = tempfile::tempdir().unwrap();
        write_certificate(directory.path(), &["127.0.0.2".parse().unwrap()]).unwrap();
        let pair = crate::config::KeyPair {
            certificate: directory.path().join("certificate.pem"),
            private_key: directory.path().join("private-key.pem"),
        };
        let seen = server::tls::inspect(&pair, std::time::SystemTime::now()).unwrap();
        assert_eq!(seen.names, ["localhost", "127.0.0.1", "::1", "127.0.0.2"]);
        assert_eq!(seen.warnings, [""; 0]);
    }
}
