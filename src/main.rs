//! The program: parse, call, exit code.

use std::process::ExitCode;

use clap::Parser;
use restante::cli::Cli;

#[expect(clippy::print_stderr, reason = "this is where a failure reaches the person")]
fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("restante: {failure}");
            failure.exit_code().into()
        }
    }
}
