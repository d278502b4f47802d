//! Separate parts of the data path: encoder, octet counter, lines and commands, a login.
//!
//! `cargo bench --bench micro`; a word after `--` selects, `-- encode` for instance.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a benchmark that cannot go on fails"
)]
#![allow(missing_docs, reason = "criterion_group! makes public functions")]

use std::fs::{self, File};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use restante::credentials::{Account, CredentialStore, Decoy, Lookup, StoreError};
use restante::login::{Authenticator, Identity, Rules};
use restante::mailbox::maildir::{MaildirStore, PathTemplate};
use restante::mailbox::{Mailbox, Maildrop};
use restante::password::Verifier;
use restante::protocol::{
    BodyLines, ClaimedName, Command, Encoder, Extent, LineDecoder, LineLimit, OctetCounter, Secret,
    Username,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

criterion_group!(benches, encode, count, commands, open);
criterion_main!(benches);

/// Octets of the messages that are encoded and counted.
const MESSAGE: usize = 1 << 20;

/// The chunk that the mailbox reads at a time.
const CHUNK: usize = 16 << 10;

/// Messages of the Maildir that is opened.
const MESSAGES: u32 = 10_000;

/// Messages of all kinds for the encoder.
fn messages() -> [(&'static str, Vec<u8>); 5] {
    let text = |line: &[u8]| -> Vec<u8> {
        [b"Subject: bench\n\n", line.repeat(MESSAGE / line.len()).as_slice()].concat()
    };
    let words = b"Poste restante: mail held at the post office until its owner calls for it.";
    [
        ("lf", text(&[words, &b"\n"[..]].concat())),
        ("crlf", text(&[words, &b"\r\n"[..]].concat())),
        ("dots", text(&[b".", &words[..], &b"\n"[..]].concat())),
        ("short-lines", text(b"> a\n")),
        ("long-lines", text(&[words.repeat(1000).as_slice(), b"\n"].concat())),
    ]
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for (name, message) in messages() {
        group.throughput(Throughput::Bytes(message.len() as u64));
        let mut out = Vec::with_capacity(2 * CHUNK + 16);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut encoder = Encoder::new(Extent::Whole);
                for chunk in message.chunks(CHUNK) {
                    out.clear();
                    encoder.encode(black_box(chunk), &mut out);
                    black_box(&out);
                }
                encoder.finish(&mut out);
            });
        });
    }
    let (_, message) = messages().into_iter().next().unwrap();
    group.throughput(Throughput::Elements(1));
    group.bench_function("top-0", |bencher| {
        let mut out = Vec::with_capacity(2 * CHUNK + 16);
        let chunk = message.get(..CHUNK).unwrap();
        bencher.iter(|| {
            out.clear();
            let mut encoder = Encoder::new(Extent::Top(BodyLines(0)));
            encoder.encode(black_box(chunk), &mut out);
            encoder.finish(&mut out);
        });
    });
    group.finish();
}

fn count(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("count");
    for (name, message) in messages() {
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut counter = OctetCounter::new();
                for chunk in message.chunks(CHUNK) {
                    counter.update(black_box(chunk));
                }
                counter.finish()
            });
        });
    }
    group.finish();
}

fn commands(criterion: &mut Criterion) {
    let input: Vec<u8> = (1..=16)
        .flat_map(|number| format!("RETR {number}\r\nTOP {number} 0\r\nUIDL\r\n").into_bytes())
        .collect();
    let mut group = criterion.benchmark_group("commands");
    group.throughput(Throughput::Elements(48));
    group.bench_function("pipelined", |bencher| {
        let mut decoder = LineDecoder::default();
        bencher.iter(|| {
            decoder.push(&input);
            let mut commands = 0;
            while let Some(line) = decoder.next_line(LineLimit::Command).unwrap() {
                black_box(Command::parse(line).unwrap());
                commands += 1;
            }
            assert_eq!(commands, 48);
        });
    });
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = maildir();
    let identity = runtime.block_on(identity());
    let store = MaildirStore::new(PathTemplate::new(directory.path()));
    let log_in = || {
        let maildrop = runtime
            .block_on(store.open_within(
                &identity,
                &CancellationToken::default(),
                Duration::from_secs(5),
                || {},
            ))
            .unwrap();
        assert_eq!(maildrop.count(), MESSAGES);
    };
    let mut group = criterion.benchmark_group("open-10000");
    group.sample_size(20);
    log_in();
    group.bench_function("index", |bencher| bencher.iter(log_in));
    let index = directory.path().join("restante.index");
    let forget = || fs::remove_file(&index).ok();
    group.bench_function("no-index", |bencher| {
        bencher.iter_batched(forget, |_| log_in(), BatchSize::PerIteration);
    });
    group.finish();
}

/// A Maildir that has not changed for an hour.
fn maildir() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for part in ["new", "cur", "tmp"] {
        fs::create_dir(directory.path().join(part)).unwrap();
    }
    let message = b"Subject: bench\n\nPoste restante: mail held at the post office.\n".repeat(30);
    for number in 0..MESSAGES {
        let name = format!("cur/{}.M{number}P1.post:2,S", 1_700_000_000 + number);
        fs::write(directory.path().join(name), &message).unwrap();
    }
    for part in ["new", "cur"] {
        age(&directory.path().join(part));
    }
    directory
}

fn age(path: &Path) {
    let hour = Duration::from_secs(3600);
    File::open(path).unwrap().set_modified(SystemTime::now() - hour).unwrap();
}

/// Only a login with a password returns an identity.
async fn identity() -> Identity {
    let once = Authenticator::new(vec![Everybody], Rules::default(), Arc::default()).unwrap();
    let password = Secret::new(PASSWORD.as_bytes().to_vec());
    let name = ClaimedName::new(b"mrose".as_slice());
    once.authenticate(&name, password, IpAddr::V4(Ipv4Addr::LOCALHOST))
        .await
        .unwrap_or_else(|_| panic!("the password is right"))
}

const PASSWORD: &str = "tanstaaf";

/// A store in which all users have the same password.
struct Everybody;

impl CredentialStore for Everybody {
    fn label(&self) -> String {
        "everybody".to_owned()
    }

    async fn look_up(&self, _name: &Username) -> Lookup {
        Lookup::Found(Account::new(Verifier::plain(PASSWORD)))
    }

    fn decoy(&self, _name: &Username) -> Option<Decoy> {
        None
    }

    async fn probe(&self) -> Result<String, StoreError> {
        Ok("everybody is here".to_owned())
    }
}
