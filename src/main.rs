//! The program: parse, call, exit code.

use std::process::ExitCode;

use clap::Parser;
use restante::cli::Cli;
use restante::telemetry::{self, Priority};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) if usage.use_stderr() && telemetry::is_service() => {
            complain(&usage.to_string());
            return ExitCode::from(2);
        }
        // In colour on a terminal, and what --help and --version say.
        Err(other) => other.exit(),
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&format!("restante: {failure}"));
            failure.exit_code().into()
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is where a failure reaches the person")]
fn complain(what: &str) {
    for line in what.lines().filter(|line| !line.is_empty()) {
        eprintln!("{}{line}", Priority::Error.mark());
    }
}
