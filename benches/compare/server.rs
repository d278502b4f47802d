//! A server process with its own directory, ports, certificate and mail.
//!
//! It is started through a shell that enters the control group and ends the server as soon as the
//! pipe to it closes: by [`Server::stop`], or because this process has ended in any way.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio_rustls::rustls::ClientConfig;

use crate::client;
use crate::maildirs::{Maildirs, credentials};
use crate::usage::Usage;

/// Enters the group `$0`, runs the rest, and waits for its end or for that of the pipe.
const KEEPER: &str = r#"echo $$ > "$0"; "$@" < /dev/null & read -r _; kill -TERM $!; wait"#;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the shell may take to start a server.
const MOMENT: Duration = Duration::from_secs(2);

/// The kind of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Product {
    Dovecot,
    Restante,
}

impl Product {
    /// Its name in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dovecot => "Dovecot",
            Self::Restante => "Restante",
        }
    }
}

/// The addresses of a server.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// The address without TLS.
    pub(crate) plain: SocketAddr,
    /// The address with TLS from the start.
    pub(crate) tls: SocketAddr,
    /// Its certificate.
    pub(crate) trust: Arc<ClientConfig>,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) product: Product,
    pub(crate) endpoint: Endpoint,
    pub(crate) maildirs: Maildirs,
    command: Vec<String>,
    log: PathBuf,
    usage: Usage,
    keeper: Option<Child>,
}

/// The files for the configuration of a server.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) maildirs: Maildirs,
    certificate: Vec<u8>,
}

impl Place {
    /// A directory with a certificate (ECDSA P-256), its key, and the credential file.
    pub(crate) fn new(root: PathBuf) -> io::Result<Self> {
        fs::create_dir(&root)?;
        let maildirs = Maildirs::new(root.join("mail"))?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
        let certificate = CertificateParams::new(["localhost".to_owned()])
            .and_then(|parameters| parameters.self_signed(&key))
            .map_err(io::Error::other)?;
        let place = Self {
            plain: free_port()?,
            tls: free_port()?,
            maildirs,
            certificate: certificate.der().to_vec(),
            root,
        };
        place.write("certificate.pem", &certificate.pem())?;
        place.write("key.pem", &key.serialize_pem())?;
        place.write("users", &credentials())?;
        Ok(place)
    }

    /// Writes a file that only the server may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.root.join(name);
        fs::write(&path, text)?;
        self.maildirs.hand_over(&path, 0o600)?;
        Ok(path)
    }

    /// Starts a command that becomes the server. Its log is `log` and its own output.
    pub(crate) fn start(self, product: Product, command: Vec<String>) -> io::Result<Server> {
        let mut server = Server {
            product,
            endpoint: Endpoint {
                plain: self.plain,
                tls: self.tls,
                trust: client::trust(self.certificate.into())?,
            },
            maildirs: self.maildirs,
            command,
            log: self.root.join("log"),
            usage: Usage::new(&format!("restante-compare-{}", product.name().to_lowercase())),
            keeper: None,
        };
        server.start()?;
        Ok(server)
    }
}

impl Server {
    /// Restarts it.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.stop()?;
        self.start()
    }

    /// Seconds of processor time since its first start.
    pub(crate) fn processor(&self) -> io::Result<f64> {
        self.usage.processor(self.keeper_id()?)
    }

    /// The memory of all its processes, in bytes.
    pub(crate) fn memory(&self) -> io::Result<f64> {
        Usage::memory(self.keeper_id()?)
    }

    /// The open descriptors of all its processes.
    pub(crate) fn descriptors(&self) -> io::Result<usize> {
        Usage::descriptors(self.keeper_id()?)
    }

    /// The method of counting processor time.
    pub(crate) fn method(&self) -> &'static str {
        self.usage.method()
    }

    /// The end of its log, for an error.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("\n")
    }

    fn start(&mut self) -> io::Result<()> {
        let log = fs::File::options().create(true).append(true).open(&self.log)?;
        let keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .arg(self.usage.entrance())
            .args(&self.command)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.keeper = Some(keeper);
        let started = Instant::now();
        while let Err(error) = greeting(self.endpoint.plain) {
            let ended = started.elapsed() > MOMENT && self.has_ended()?;
            if ended || started.elapsed() > PATIENCE {
                let (name, said) = (self.product.name(), self.last_words());
                return Err(io::Error::other(format!("{name} does not start: {error}; {said}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether the shell is alone.
    fn has_ended(&self) -> io::Result<bool> {
        Ok(Usage::processes(self.keeper_id()?)? <= 1)
    }

    fn stop(&mut self) -> io::Result<()> {
        let Some(mut keeper) = self.keeper.take() else { return Ok(()) };
        drop(keeper.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while keeper.try_wait()?.is_none() {
            if Instant::now() > deadline {
                let name = self.product.name();
                return Err(io::Error::other(format!("{name} (below {}) stays", keeper.id())));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn keeper_id(&self) -> io::Result<u32> {
        let keeper = self.keeper.as_ref();
        keeper.map(Child::id).ok_or_else(|| io::Error::other("the server does not run"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error}");
        }
    }
}

/// Whether a server greets at this address.
fn greeting(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read_exact(&mut [0; 3])
}

/// A free port of the loopback interface.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A path as text.
pub(crate) fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other("a path that is not UTF-8"))
}
