//! Restante with its defaults, except for limits that would affect the measurement.

use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::maildirs::RUN_AS;
use crate::server::{Place, Product, Server, text};

/// Starts it with all files below `root`.
pub(crate) fn start(program: &Path, root: PathBuf) -> io::Result<Server> {
    if !program.is_file() {
        return Err(io::Error::other(format!("there is no {}", program.display())));
    }
    let place = Place::new(root)?;
    let configuration = place.write("restante.toml", &configuration(&place))?;
    let command = [text(program)?, "serve", "--config", text(&configuration)?];
    let command = command.map(str::to_owned).to_vec();
    place.start(Product::Restante, command)
}

fn configuration(place: &Place) -> String {
    let run_as = match geteuid().is_root() {
        true => format!("run-as = \"{RUN_AS}\"\n"),
        false => String::new(),
    };
    let (plain, tls) = (place.plain, place.tls);
    format!(
        "hostname = \"localhost\"
{run_as}
[[listen]]
address = \"{plain}\"
tls = \"off\"
[[listen]]
address = \"{tls}\"
tls = \"implicit\"
[tls]
certificate = \"certificate.pem\"
private-key = \"key.pem\"
[maildir]
path = \"mail/{{user}}/Maildir\"
uidl = [\"name\"]
[auth]
allow-cleartext = true
[throttle]
trusted = [\"127.0.0.1\"]
[[credentials]]
kind = \"file\"
path = \"users\"
[limits]
connections = 50000
connections-per-address = 50000
sessions-per-user = 100
[timeouts]
idle = \"1h\"
login = \"10m\"
shutdown-grace = \"1s\"
[log]
format = \"text\"
"
    )
}
