//! A minimal server for RETR and TOP, which opens, checks, reads, sends and closes the file. It has
//! one thread, one client, no encoding and no deadlines; messages are stored as they are sent. Its
//! cost is the lower bound on this machine.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use memchr::memmem;
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::io::pread;
use rustix::time::{ClockId, clock_gettime};

/// A server for one connection.
pub(crate) struct Bare {
    pub(crate) address: SocketAddr,
    thread: JoinHandle<io::Result<Duration>>,
}

/// A message as it is sent.
struct Message {
    name: String,
    octets: u64,
}

impl Bare {
    /// Serves the messages of a Maildir, from copies beside it.
    pub(crate) fn start(maildir: &Path) -> io::Result<Self> {
        let copies = maildir.with_extension("bare");
        let messages = copy(&maildir.join("cur"), &copies)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let thread = thread::spawn(move || serve(&listener.accept()?.0, &copies, &messages));
        Ok(Self { address, thread })
    }

    /// Its processor time, after the client has disconnected.
    pub(crate) fn processor(self) -> io::Result<Duration> {
        self.thread.join().map_err(|_| io::Error::other("the bare server has panicked"))?
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<Vec<Message>> {
    fs::create_dir_all(to)?;
    let mut names = fs::read_dir(from)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    let copy = |name: String| {
        let text = fs::read(from.join(&name))?;
        let mut wire = Vec::with_capacity(text.len() + text.len() / 16);
        let mut octets = 0;
        for line in text.split_inclusive(|octet| *octet == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if line.starts_with(b".") {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
            wire.extend_from_slice(b"\r\n");
            octets += line.len() as u64 + 2;
        }
        fs::write(to.join(&name), wire)?;
        Ok(Message { name, octets })
    };
    names.into_iter().map(copy).collect()
}

/// Serves a client to its end. Returns the processor time.
fn serve(stream: &TcpStream, copies: &Path, messages: &[Message]) -> io::Result<Duration> {
    stream.set_nodelay(true)?;
    let directory = openat(CWD, copies, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut input = BufReader::new(stream);
    let mut output = b"+OK\r\n".to_vec();
    let mut buffer = vec![0; 64 << 10];
    let mut line = String::new();
    loop {
        if input.buffer().is_empty() {
            (&*stream).write_all(&output)?;
            output.clear();
        }
        line.clear();
        if input.read_line(&mut line)? == 0 {
            let used = clock_gettime(ClockId::ThreadCPUTime);
            return Ok(Duration::try_from(used).unwrap_or_default());
        }
        let mut words = line.split_ascii_whitespace();
        let (verb, number) = (words.next(), words.next().and_then(|word| word.parse().ok()));
        let message = number.and_then(|number: usize| messages.get(number.checked_sub(1)?));
        let Some(message) = message else {
            output.extend_from_slice(b"+OK\r\n");
            continue;
        };
        let file = openat(&directory, &message.name, OFlags::CLOEXEC, Mode::empty())?;
        let size = u64::try_from(fstat(&file)?.st_size).unwrap_or(0);
        write!(output, "+OK {} octets\r\n", message.octets)?;
        let mut offset = 0;
        while offset < size {
            let read = pread(&file, &mut buffer, offset)?;
            let part = buffer.get(..read).unwrap_or_default();
            offset += read as u64;
            if verb == Some("TOP") {
                let end = memmem::find(part, b"\r\n\r\n").map_or(part.len(), |at| at + 4);
                output.extend_from_slice(part.get(..end).unwrap_or_default());
                break;
            }
            output.extend_from_slice(part);
            if output.len() >= 32 << 10 {
                (&*stream).write_all(&output)?;
                output.clear();
            }
        }
        drop(File::from(file));
        output.extend_from_slice(b".\r\n");
    }
}
