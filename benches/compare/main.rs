//! Restante and Dovecot side by side: the same work on the same mail, in one run.
//!
//! `cargo bench --bench compare -- --help` lists the options. It starts both servers in a temporary
//! directory, runs every row of `rows` alternating between them, and prints the medians. With
//! `growth` it measures the growth of cost instead, for plots.
//! It fails if a server fails or answers wrongly, never because of a figure.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a program for the terminal, which measures real time and waits in it"
)]

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tempfile::TempDir;

use report::Measured;
use rows::{Amount, Figure, Row, Sample};
use server::{Product, Server};

mod bare;
mod client;
#[path = "../../tests/it/support/connection.rs"]
mod connection;
mod dovecot;
mod growth;
mod maildirs;
mod report;
mod restante;
mod rows;
mod server;
mod usage;
mod work;

/// Descriptors for 10 000 sessions in a server, and for as many clients in this process.
const DESCRIPTORS: u64 = 200_000;

/// The shortest sample, in seconds of the measured quantity.
const LONG_ENOUGH: f64 = 0.5;

/// Measures Restante side by side with Dovecot, and prints one table.
#[derive(Parser)]
#[command(name = "compare")]
struct Options {
    /// Only these rows, separated by commas; `retr*` selects all that begin with `retr`.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// How often each row is measured.
    #[arg(long, default_value_t = 5, global = true)]
    repeat: u32,
    /// Little work, once: a check that all rows run.
    #[arg(long)]
    quick: bool,
    /// Only one of the servers.
    #[arg(long, global = true)]
    only: Option<Product>,
    /// Another program than the one that was built with this.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_restante"), global = true)]
    restante: PathBuf,
    /// A further line for Dovecot's configuration, which overrides earlier ones.
    #[arg(long, value_name = "KEY = VALUE", global = true)]
    dovecot_setting: Vec<String>,
    /// The directory for the mail, in a temporary directory. Default: that of the system.
    #[arg(long, global = true)]
    directory: Option<PathBuf>,
    /// Writes the medians and all samples to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Lists the rows.
    #[arg(long)]
    list: bool,
    /// Given by `cargo bench`, and ignored.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(clap::Subcommand)]
enum Task {
    /// In place of the table: the growth of cost, as CSV files.
    Growth(growth::Extent),
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for row in rows::all() {
            let rare = if row.rare { " (only when asked for)" } else { "" };
            println!("{}{rare}", row.name);
        }
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    raise_descriptors()?;
    let directory = directory(options)?;
    let mut servers = start(options, directory.path())?;
    match &options.task {
        None => compare(options, &mut servers),
        Some(Task::Growth(extent)) => growth::run(&mut servers, extent, options.repeat),
    }
}

/// The directory of all files; it is removed at the end, after the servers have stopped.
fn directory(options: &Options) -> io::Result<TempDir> {
    let parent = options.directory.clone().unwrap_or_else(std::env::temp_dir);
    tempfile::Builder::new()
        .prefix("restante-compare-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(parent)
}

fn start(options: &Options, directory: &Path) -> io::Result<Vec<Server>> {
    let mut servers = Vec::new();
    for product in [Product::Dovecot, Product::Restante] {
        if options.only.is_none_or(|only| only == product) {
            let root = directory.join(product.name().to_lowercase());
            servers.push(match product {
                Product::Dovecot => dovecot::start(root, &options.dovecot_setting)?,
                Product::Restante => restante::start(&options.restante, root)?,
            });
        }
    }
    Ok(servers)
}

/// Prints the table.
fn compare(options: &Options, servers: &mut [Server]) -> io::Result<()> {
    let rows: Vec<Row> = rows::all().into_iter().filter(|row| is_wanted(row, options)).collect();
    if rows.is_empty() {
        return Err(io::Error::other("no such row; --list shows them"));
    }
    let method = servers.first().map_or("", Server::method);
    let mut measured = Vec::new();
    for row in rows {
        let samples = repeat(&row, servers, options)?;
        measured.push((row, samples));
    }
    println!("{}", report::table(&measured));
    println!(
        "Medians of {}. Processor time: {method}.",
        if options.quick { 1 } else { options.repeat }
    );
    if let Some(path) = &options.json {
        let facts = json!({ "dovecot": dovecot::version(), "processor-time": method });
        let text = serde_json::to_string_pretty(&report::json(&measured, &facts))?;
        std::fs::write(path, text + "\n")?;
    }
    Ok(())
}

fn is_wanted(row: &Row, options: &Options) -> bool {
    match options.rows.as_slice() {
        [] => !row.rare,
        patterns => patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => row.name.starts_with(beginning),
            None => row.name == pattern,
        }),
    }
}

/// Runs a row once to warm up, and then several times, alternating between the servers.
fn repeat(row: &Row, servers: &mut [Server], options: &Options) -> io::Result<Measured> {
    let mut measured = Measured::default();
    let mut amounts = Vec::new();
    for server in &mut *servers {
        progress(row, server, "warms up");
        amounts.push(warm_up(row, server, options.quick)?);
    }
    for round in 1..=if options.quick { 1 } else { options.repeat } {
        for (server, &amount) in servers.iter_mut().zip(&amounts) {
            if !row.products.contains(&server.product) {
                continue;
            }
            progress(row, server, &format!("run {round}, {amount} units"));
            let sample = named(row, server, |server| (row.work)(server, amount))?;
            measured.of(server.product).push(sample);
            if let (Product::Restante, Some(reference)) = (server.product, row.reference) {
                let sample = named(row, server, |server| reference(server, amount))?;
                measured.reference.push(sample);
            }
        }
    }
    Ok(measured)
}

/// Warms up. Returns the amount of work for a sample.
fn warm_up(row: &Row, server: &mut Server, quick: bool) -> io::Result<u32> {
    let (amount, grows) = match (row.amount, quick) {
        (Amount::AtLeast(_, amount) | Amount::Always(_, amount), true) => (amount, false),
        (Amount::AtLeast(amount, _), false) => (amount, true),
        (Amount::Always(amount, _), false) => (amount, false),
    };
    if !row.products.contains(&server.product) {
        return Ok(amount);
    }
    let mut sample = named(row, server, |server| (row.work)(server, amount))?;
    if matches!(row.amount, Amount::AtLeast(..)) && server.maildirs.rest() {
        sample = named(row, server, |server| (row.work)(server, amount))?;
    }
    if !grows {
        return Ok(amount);
    }
    let figure = row.lines.first().map_or(Figure::Processor, |line| line.figure);
    let took = sample.figure(figure) * sample.units;
    Ok(enough(amount, took))
}

/// Scales an amount that took `seconds`, up to twenty times.
fn enough(amount: u32, took: f64) -> u32 {
    (1..=20).find(|&times| took * f64::from(times) >= LONG_ENOUGH).unwrap_or(20) * amount
}

/// Adds the row, the server and its log to an error.
fn named(
    row: &Row,
    server: &mut Server,
    work: impl FnOnce(&mut Server) -> io::Result<Sample>,
) -> io::Result<Sample> {
    work(server).map_err(|error| {
        let (name, log) = (server.product.name(), server.last_words());
        io::Error::other(format!("{}: {name}: {error}\nits log ends with:\n{log}", row.name))
    })
}

fn progress(row: &Row, server: &Server, what: &str) {
    eprintln!("{}: {}: {what}", row.name, server.product.name());
}

/// Raises the limit of descriptors as far as permitted. The servers inherit it.
fn raise_descriptors() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS.max(hard)).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}
