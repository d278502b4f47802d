//! The growth of cost with the number of messages, of sessions, and with the size of a message: a CSV
//! file each, for `benches/plot.py`.

use std::fmt::Write as _;
use std::{fs, io};

use crate::client::Transport;
use crate::maildirs::Content;
use crate::rows::{Figure, Sample};
use crate::server::{Product, Server};
use crate::work::{self, Cache};

/// The ranges.
#[derive(clap::Args)]
pub(crate) struct Extent {
    /// The directory for the CSV files.
    #[arg(long)]
    pub(crate) out: std::path::PathBuf,
    /// The most messages in a maildrop.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u32,
    /// The most sessions at a time with Restante.
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,
    /// The most sessions with Dovecot, which has a process for each.
    #[arg(long, default_value_t = 1000)]
    dovecot_sessions: u32,
    /// The most octets of a message.
    #[arg(long, default_value_t = 1_000_000_000)]
    size: u32,
}

/// Octets of a message where the number of messages varies.
const SMALL: usize = 1_000;

/// Octets that are fetched where the size of a message varies, at least one message.
const FETCHED: u32 = 200_000_000;

/// The most messages for that.
const MOST_FETCHED: u32 = 5_000;

/// Measures all three, each figure `repeat` times, and writes the medians.
pub(crate) fn run(servers: &mut [Server], extent: &Extent, repeat: u32) -> io::Result<()> {
    fs::create_dir_all(&extent.out)?;
    by_messages(servers, extent, repeat)?;
    by_size(servers, extent, repeat)?;
    by_sessions(servers, extent, repeat)
}

fn by_messages(servers: &mut [Server], extent: &Extent, repeat: u32) -> io::Result<()> {
    let mut csv = "server,messages,first_seconds,later_seconds,readdir_seconds\n".to_owned();
    for messages in decades(100, extent.messages) {
        let content = Content::new(messages, SMALL);
        for server in &mut *servers {
            let name = server.product.name();
            eprintln!("growth: {messages} messages: {name}");
            server.maildirs.user(content)?;
            server.maildirs.rest();
            let first = median(repeat, Figure::Wall, || work::first(server, content, Cache::Warm))?;
            // Enough polls to measure, and one before that is not counted.
            let polls = (10_000 / messages).max(1);
            work::polls(server, 1, content)?;
            let later = median(repeat, Figure::Wall, || work::polls(server, polls, content))?;
            let scan = median(repeat, Figure::Wall, || work::readdir(server, polls, content))?;
            line(&mut csv, &[&name, &messages, &figure(first), &figure(later), &figure(scan)]);
        }
    }
    fs::write(extent.out.join("messages.csv"), csv)
}

fn by_size(servers: &mut [Server], extent: &Extent, repeat: u32) -> io::Result<()> {
    let mut csv = "server,octets,processor_seconds_per_gb,wall_seconds_per_gb\n".to_owned();
    for size in decades(1_000, extent.size) {
        let amount = (FETCHED / size).clamp(1, MOST_FETCHED);
        let content = Content::new(amount.min(100), size as usize);
        for server in &mut *servers {
            let name = server.product.name();
            eprintln!("growth: messages of {size} octets: {name}");
            let fetch = |server: &Server| work::download(server, amount, content, Transport::Plain);
            fetch(server)?;
            let samples = (0..repeat).map(|_| fetch(server)).collect::<io::Result<Vec<_>>>()?;
            let processor = middle(&samples, Figure::Processor);
            let wall = middle(&samples, Figure::Wall);
            line(&mut csv, &[&name, &size, &figure(processor), &figure(wall)]);
        }
    }
    fs::write(extent.out.join("size.csv"), csv)
}

fn by_sessions(servers: &mut [Server], extent: &Extent, repeat: u32) -> io::Result<()> {
    let mut csv = "server,sessions,memory_bytes,processor_seconds_per_poll\n".to_owned();
    for server in &mut *servers {
        let name = server.product.name();
        let most = match server.product {
            Product::Dovecot => extent.dovecot_sessions,
            Product::Restante => extent.sessions,
        };
        for sessions in decades(1, most) {
            eprintln!("growth: {sessions} sessions: {name}");
            // The first time for the Maildirs and their indices, the second to be measured.
            drop(work::crowd(server, sessions)?);
            server.restart()?;
            work::warm_up(server)?;
            let before = work::settled_memory(server)?;
            let crowd = work::crowd(server, sessions)?;
            let memory = work::settled_memory(server)? - before;
            work::poll(server, 100)?;
            let poll = median(repeat, Figure::Processor, || work::poll(server, 400))?;
            line(&mut csv, &[&name, &crowd.len(), &figure(memory), &figure(poll)]);
        }
    }
    fs::write(extent.out.join("sessions.csv"), csv)
}

/// One, ten, a hundred, … times `first`, up to `last`.
fn decades(first: u32, last: u32) -> Vec<u32> {
    let mut steps: Vec<u32> =
        std::iter::successors(Some(first), |step| step.checked_mul(10)).collect();
    steps.retain(|&step| step < last);
    steps.push(last);
    steps
}

fn median(
    repeat: u32,
    figure: Figure,
    mut work: impl FnMut() -> io::Result<Sample>,
) -> io::Result<f64> {
    let samples = (0..repeat).map(|_| work()).collect::<io::Result<Vec<_>>>()?;
    Ok(middle(&samples, figure))
}

fn middle(samples: &[Sample], figure: Figure) -> f64 {
    crate::report::median(samples, figure).unwrap_or(f64::NAN)
}

/// Rounds to the significant digits.
fn figure(value: f64) -> String {
    format!("{value:.3e}")
}

fn line(csv: &mut String, cells: &[&dyn std::fmt::Display]) {
    for (number, cell) in cells.iter().enumerate() {
        // Writing to a String cannot fail.
        write!(csv, "{}{cell}", if number == 0 { "" } else { "," }).ok();
    }
    csv.push('\n');
}
