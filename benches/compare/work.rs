//! The measured work. Its prerequisites are made before the clock starts.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::DirEntryExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};

use crate::bare::Bare;
use crate::client::{Client, Transport};
use crate::maildirs::Content;
use crate::rows::Sample;
use crate::server::{Endpoint, Server};

/// An ordinary maildrop.
const HUNDRED: Content = Content::new(100, 2_000);
/// For RETR and TOP.
const MESSAGES: Content = Content::new(1_000, 10_000);
/// Five messages of 20 MB.
const LARGE: Content = Content::new(5, 20_000_000);
const TEN_THOUSAND: Content = Content::new(10_000, 4_000);
const HUNDRED_THOUSAND: Content = Content::new(100_000, 4_000);
const MILLION: Content = Content::new(1_000_000, 200);
/// The maildrop of one session among many.
const ONE_OF_MANY: Content = Content::new(10, 500);

/// Clients at a time where sessions are counted; each has another user.
const CLIENTS: u32 = 4;

/// Commands sent before the first reply is read.
const PIPELINED: u32 = 16;

/// Idle sessions in addition to the one that fetches.
const CROWD: u32 = 10_000;

/// Sessions to measure the descriptors of each.
const FIRST_OF_CROWD: u32 = 10;

/// Descriptors that a server may need for other purposes.
const DESCRIPTORS_ASIDE: u64 = 200;

/// How long a server may be busy after sessions have ended.
const AFTERMATH: Duration = Duration::from_millis(50);

/// Connect, log in, STAT, QUIT.
pub(crate) fn login(server: &mut Server, amount: u32) -> io::Result<Sample> {
    sessions(server, amount, |server, user| log_in_and_out(server, Transport::Plain, user))
}

/// The same over TLS.
pub(crate) fn login_tls(server: &mut Server, amount: u32) -> io::Result<Sample> {
    sessions(server, amount, |server, user| log_in_and_out(server, Transport::Tls, user))
}

fn log_in_and_out(server: &Endpoint, transport: Transport, user: &str) -> io::Result<()> {
    let mut client = Client::logged_in(server, transport, user)?;
    client.stat(HUNDRED.messages)?;
    client.quit()
}

/// A client that checks for new mail and finds none.
pub(crate) fn poll(server: &mut Server, amount: u32) -> io::Result<Sample> {
    sessions(server, amount, |server, user| one_poll(server, user, HUNDRED.messages))
}

fn one_poll(server: &Endpoint, user: &str, messages: u32) -> io::Result<()> {
    let mut client = Client::connect(server, Transport::Plain)?;
    client.capa()?;
    client.log_in(user)?;
    client.stat(messages)?;
    client.listing("UIDL", messages)?;
    client.listing("LIST", messages)?;
    client.quit()
}

/// Polls, one after the other, of a large maildrop.
pub(crate) fn poll_ten_thousand(server: &mut Server, amount: u32) -> io::Result<Sample> {
    polls(server, amount, TEN_THOUSAND)
}

/// The same.
pub(crate) fn poll_hundred_thousand(server: &mut Server, amount: u32) -> io::Result<Sample> {
    polls(server, amount, HUNDRED_THOUSAND)
}

/// Polls of a maildrop that the server has seen before.
pub(crate) fn polls(server: &Server, amount: u32, content: Content) -> io::Result<Sample> {
    let user = server.maildirs.user(content)?;
    measure(server, || {
        (0..amount).try_for_each(|_| one_poll(&server.endpoint, &user, content.messages))?;
        Ok(amount.into())
    })
}

/// Listing the directory of the messages, the minimum of a scan.
pub(crate) fn readdir_ten_thousand(server: &mut Server, amount: u32) -> io::Result<Sample> {
    readdir(server, amount, TEN_THOUSAND)
}

/// The same.
pub(crate) fn readdir_hundred_thousand(server: &mut Server, amount: u32) -> io::Result<Sample> {
    readdir(server, amount, HUNDRED_THOUSAND)
}

/// The same for any content.
pub(crate) fn readdir(server: &Server, amount: u32, content: Content) -> io::Result<Sample> {
    let path = server.maildirs.path(&server.maildirs.user(content)?).join("cur");
    let start = Instant::now();
    for _ in 0..amount {
        let mut messages = 0;
        for entry in fs::read_dir(&path)? {
            entry?;
            messages += 1;
        }
        expect(messages == content.messages, "files are missing")?;
    }
    Ok(Sample { wall: start.elapsed().as_secs_f64() / f64::from(amount), ..Sample::default() })
}

/// A poll of a maildrop that the server sees for the first time.
pub(crate) fn first_poll(server: &mut Server, _: u32) -> io::Result<Sample> {
    first(server, HUNDRED_THOUSAND, Cache::Warm)
}

/// The same without the page cache.
pub(crate) fn first_poll_cold(server: &mut Server, _: u32) -> io::Result<Sample> {
    first(server, HUNDRED_THOUSAND, Cache::Cold)
}

/// Reading all messages.
pub(crate) fn read_all(server: &mut Server, _: u32) -> io::Result<Sample> {
    read_files(server, HUNDRED_THOUSAND, Cache::Warm)
}

/// The same without the page cache.
pub(crate) fn read_all_cold(server: &mut Server, _: u32) -> io::Result<Sample> {
    read_files(server, HUNDRED_THOUSAND, Cache::Cold)
}

/// Whether a Maildir is in the page cache.
#[derive(Clone, Copy)]
pub(crate) enum Cache {
    Warm,
    Cold,
}

/// A first poll: by a server that was started for it, without any index.
pub(crate) fn first(server: &mut Server, content: Content, cache: Cache) -> io::Result<Sample> {
    let user = server.maildirs.user(content)?;
    server.restart()?;
    warm_up(server)?;
    server.maildirs.forget(&user)?;
    prepare(&server.maildirs.path(&user).join("cur"), cache)?;
    measure(server, || {
        one_poll(&server.endpoint, &user, content.messages)?;
        Ok(1.0)
    })
}

fn read_files(server: &Server, content: Content, cache: Cache) -> io::Result<Sample> {
    let path = server.maildirs.path(&server.maildirs.user(content)?).join("cur");
    prepare(&path, cache)?;
    let start = Instant::now();
    let octets = read_in_inode_order(&path)?;
    let wall = start.elapsed().as_secs_f64();
    expect(octets > 0, "there is no message to read")?;
    Ok(Sample { wall, ..Sample::default() })
}

fn prepare(directory: &Path, cache: Cache) -> io::Result<()> {
    match cache {
        Cache::Warm => read_in_inode_order(directory).map(|_| ()),
        Cache::Cold => {
            rustix::fs::sync();
            fs::write("/proc/sys/vm/drop_caches", "3")
        }
    }
}

/// Opens, reads and closes every file of a directory, in the fastest order for any disk.
fn read_in_inode_order(directory: &Path) -> io::Result<u64> {
    let mut files = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| (entry.ino(), entry.path())))
        .collect::<io::Result<Vec<_>>>()?;
    files.sort_unstable();
    let mut buffer = vec![0; 64 << 10];
    let mut octets = 0;
    for (_, path) in files {
        let mut file = File::open(path)?;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => octets += read as u64,
            }
        }
    }
    Ok(octets)
}

/// RETR, one message after the other.
pub(crate) fn retr(server: &mut Server, amount: u32) -> io::Result<Sample> {
    fetch(server, amount, 1, "RETR")
}

/// Pipelined RETR.
pub(crate) fn retr_pipelined(server: &mut Server, amount: u32) -> io::Result<Sample> {
    fetch(server, amount, PIPELINED, "RETR")
}

/// Pipelined TOP without lines of the body.
pub(crate) fn top_pipelined(server: &mut Server, amount: u32) -> io::Result<Sample> {
    fetch(server, amount, PIPELINED, "TOP")
}

fn fetch(server: &Server, amount: u32, at_once: u32, verb: &str) -> io::Result<Sample> {
    let user = server.maildirs.user(MESSAGES)?;
    let mut client = Client::logged_in(&server.endpoint, Transport::Plain, &user)?;
    let sample = measure(server, || fetch_all(&mut client, amount, at_once, verb))?;
    client.quit()?;
    Ok(sample)
}

/// Returns the number of messages.
fn fetch_all(client: &mut Client, amount: u32, at_once: u32, verb: &str) -> io::Result<f64> {
    let rounds = amount.div_ceil(at_once);
    let lines = if verb == "TOP" { " 0" } else { "" };
    let mut next = (1..=MESSAGES.messages).cycle();
    for _ in 0..rounds {
        let commands: String = next
            .by_ref()
            .take(at_once as usize)
            .map(|number| format!("{verb} {number}{lines}\r\n"))
            .collect();
        client.write(commands.as_bytes())?;
        for _ in 0..at_once {
            let octets = if lines.is_empty() { client.message() } else { client.top() }?;
            expect(octets > 100, "a message is too short")?;
        }
    }
    Ok(f64::from(rounds * at_once))
}

/// [`retr`] with the minimal server.
pub(crate) fn bare_retr(server: &mut Server, amount: u32) -> io::Result<Sample> {
    bare(server, MESSAGES, |client| fetch_all(client, amount, 1, "RETR"))
}

/// [`retr_pipelined`] with the minimal server.
pub(crate) fn bare_retr_pipelined(server: &mut Server, amount: u32) -> io::Result<Sample> {
    bare(server, MESSAGES, |client| fetch_all(client, amount, PIPELINED, "RETR"))
}

/// [`top_pipelined`] with the minimal server.
pub(crate) fn bare_top_pipelined(server: &mut Server, amount: u32) -> io::Result<Sample> {
    bare(server, MESSAGES, |client| fetch_all(client, amount, PIPELINED, "TOP"))
}

/// [`large`] with the minimal server.
pub(crate) fn bare_large(server: &mut Server, amount: u32) -> io::Result<Sample> {
    bare(server, LARGE, |client| download_all(client, amount, LARGE))
}

fn bare(
    server: &Server,
    content: Content,
    work: impl FnOnce(&mut Client) -> io::Result<f64>,
) -> io::Result<Sample> {
    let user = server.maildirs.user(content)?;
    let bare = Bare::start(&server.maildirs.path(&user))?;
    let endpoint = Endpoint { plain: bare.address, ..server.endpoint.clone() };
    let mut client = Client::connect(&endpoint, Transport::Plain)?;
    let started = Instant::now();
    let units = work(&mut client)?;
    let wall = started.elapsed().as_secs_f64();
    drop(client);
    let processor = bare.processor()?.as_secs_f64();
    Ok(Sample { units, processor: processor / units, wall: wall / units, ..Sample::default() })
}

/// RETR of large messages.
pub(crate) fn large(server: &mut Server, amount: u32) -> io::Result<Sample> {
    download(server, amount, LARGE, Transport::Plain)
}

/// The same over TLS.
pub(crate) fn large_tls(server: &mut Server, amount: u32) -> io::Result<Sample> {
    download(server, amount, LARGE, Transport::Tls)
}

/// RETR, one at a time; a unit is a GB.
pub(crate) fn download(
    server: &Server,
    amount: u32,
    content: Content,
    transport: Transport,
) -> io::Result<Sample> {
    let user = server.maildirs.user(content)?;
    let mut client = Client::logged_in(&server.endpoint, transport, &user)?;
    let sample = measure(server, || download_all(&mut client, amount, content))?;
    client.quit()?;
    Ok(sample)
}

fn download_all(client: &mut Client, amount: u32, content: Content) -> io::Result<f64> {
    let mut octets = 0;
    for number in (1..=content.messages).cycle().take(amount as usize) {
        client.write(format!("RETR {number}\r\n").as_bytes())?;
        octets += client.message()?;
    }
    Ok(octets as f64 / 1e9)
}

/// DELE of all messages of a fresh maildrop, and the QUIT that removes them; one unit.
pub(crate) fn dele(server: &mut Server, messages: u32) -> io::Result<Sample> {
    let content = Content::new(messages, 1_000);
    let user = server.maildirs.fresh(content)?;
    let mut client = Client::logged_in(&server.endpoint, Transport::Plain, &user)?;
    client.stat(messages)?;
    rustix::fs::sync();
    let commands: String = (1..=messages).map(|number| format!("DELE {number}\r\n")).collect();
    let sample = measure(server, || {
        client.write(commands.as_bytes())?;
        for _ in 0..messages {
            client.ok()?;
        }
        client.ask("QUIT")?;
        client.closed()?;
        Ok(1.0)
    })?;
    let left = fs::read_dir(server.maildirs.path(&user).join("cur"))?.count();
    expect(left == 0, "messages are left after DELE and QUIT")?;
    Ok(sample)
}

/// Memory of a connection after the greeting.
pub(crate) fn idle(server: &mut Server, amount: u32) -> io::Result<Sample> {
    memory(server, amount, |server, _| Client::connect(&server.endpoint, Transport::Plain))
}

/// The same over TLS.
pub(crate) fn idle_tls(server: &mut Server, amount: u32) -> io::Result<Sample> {
    memory(server, amount, |server, _| Client::connect(&server.endpoint, Transport::Tls))
}

/// Memory of an idle session that has logged in and listed its messages.
pub(crate) fn idle_session(server: &mut Server, amount: u32) -> io::Result<Sample> {
    memory(server, amount, |server, number| session(server, HUNDRED.copy(number)))
}

/// Memory of `amount` connections, in a freshly started server.
pub(crate) fn memory(
    server: &mut Server,
    amount: u32,
    connect: impl Fn(&Server, u32) -> io::Result<Client>,
) -> io::Result<Sample> {
    // The server has opened all Maildirs before the measurement.
    for number in 0..amount {
        drop(connect(server, number)?);
    }
    server.restart()?;
    warm_up(server)?;
    let before = settled_memory(server)?;
    let clients = (0..amount)
        .map(|number| connect(server, number).map(Client::rest))
        .collect::<io::Result<Vec<_>>>()?;
    let memory = (settled_memory(server)? - before) / f64::from(amount);
    drop(clients);
    Ok(Sample { memory, ..Sample::default() })
}

/// The memory of an idle server.
pub(crate) fn settled_memory(server: &Server) -> io::Result<f64> {
    thread::sleep(AFTERMATH * 4);
    server.memory()
}

fn session(server: &Server, content: Content) -> io::Result<Client> {
    let user = server.maildirs.user(content)?;
    let mut client = Client::logged_in(&server.endpoint, Transport::Plain, &user)?;
    client.listing("UIDL", content.messages)?;
    Ok(client)
}

/// RETR with many idle sessions: 10 000, or as many as descriptors allow.
pub(crate) fn retr_in_a_crowd(server: &mut Server, amount: u32) -> io::Result<Sample> {
    let crowd = crowd(server, CROWD)?;
    thread::sleep(AFTERMATH * 4);
    let sample = retr(server, amount)?;
    let beside = u32::try_from(crowd.len()).unwrap_or(u32::MAX);
    Ok(Sample { beside, ..sample })
}

/// This number of idle sessions of different users, or as many as descriptors allow.
pub(crate) fn crowd(server: &Server, wanted: u32) -> io::Result<Vec<Client>> {
    let join = |number| session(server, ONE_OF_MANY.copy(number)).map(Client::rest);
    let before = settled_descriptors(server)?;
    let mut crowd = (0..wanted.min(FIRST_OF_CROWD)).map(join).collect::<io::Result<Vec<_>>>()?;
    let each = server.descriptors()?.saturating_sub(before).div_ceil(crowd.len().max(1));
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let room = limit.saturating_sub(before as u64 + DESCRIPTORS_ASIDE) / each.max(1) as u64;
    let wanted = wanted.min(room.try_into().unwrap_or(u32::MAX));
    for number in FIRST_OF_CROWD..wanted {
        crowd.push(join(number)?);
    }
    Ok(crowd)
}

/// The descriptors of a server after it has closed all connections of its clients.
fn settled_descriptors(server: &Server) -> io::Result<usize> {
    let mut last = usize::MAX;
    loop {
        let now = server.descriptors()?;
        if now >= last {
            return Ok(now);
        }
        last = now;
        thread::sleep(AFTERMATH * 4);
    }
}

/// The first poll of a million messages.
pub(crate) fn million_first(server: &mut Server, _: u32) -> io::Result<Sample> {
    first(server, MILLION, Cache::Warm)
}

/// A later poll of a million messages.
pub(crate) fn million_later(server: &mut Server, amount: u32) -> io::Result<Sample> {
    polls(server, amount, MILLION)
}

/// Memory of a session with a million messages; a unit is a message.
pub(crate) fn million_memory(server: &mut Server, _: u32) -> io::Result<Sample> {
    let sample = memory(server, 1, |server, _| session(server, MILLION))?;
    Ok(Sample { memory: sample.memory / f64::from(MILLION.messages), ..sample })
}

/// A session of another user, so that a freshly started server is warmed up.
pub(crate) fn warm_up(server: &Server) -> io::Result<()> {
    let user = server.maildirs.user(HUNDRED.copy(u32::MAX))?;
    for transport in [Transport::Plain, Transport::Tls] {
        log_in_and_out(&server.endpoint, transport, &user)?;
    }
    Ok(())
}

/// Sessions of a few clients at a time, `amount` in all.
fn sessions(
    server: &Server,
    amount: u32,
    session: impl Fn(&Endpoint, &str) -> io::Result<()> + Sync,
) -> io::Result<Sample> {
    let users: Vec<String> = (0..CLIENTS)
        .map(|copy| server.maildirs.user(HUNDRED.copy(copy)))
        .collect::<io::Result<_>>()?;
    let each = amount.div_ceil(CLIENTS);
    let (endpoint, session) = (&server.endpoint, &session);
    measure(server, || {
        thread::scope(|scope| {
            let clients: Vec<_> = users
                .iter()
                .map(|user| {
                    scope.spawn(move || (0..each).try_for_each(|_| session(endpoint, user)))
                })
                .collect();
            clients.into_iter().try_for_each(|client| {
                client.join().unwrap_or_else(|_| Err(io::Error::other("a client has panicked")))
            })
        })?;
        Ok(f64::from(each * CLIENTS))
    })
}

/// Measures work, which returns its number of units.
fn measure(server: &Server, work: impl FnOnce() -> io::Result<f64>) -> io::Result<Sample> {
    thread::sleep(AFTERMATH);
    let before = server.processor()?;
    let start = Instant::now();
    let units = work()?;
    let wall = start.elapsed().as_secs_f64();
    thread::sleep(AFTERMATH);
    let processor = server.processor()? - before;
    Ok(Sample { units, processor: processor / units, wall: wall / units, ..Sample::default() })
}

fn expect(is_so: bool, else_say: &str) -> io::Result<()> {
    if is_so { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidData, else_say)) }
}
