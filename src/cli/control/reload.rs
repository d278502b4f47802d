//! `restante reload`.

use super::{Target, print_json};
use crate::cli::{Failure, print};
use crate::control::{Answer, Request};

/// Lets the server read its configuration again.
///
/// # Errors
/// [`Failure`] when the server cannot be asked, or when the old configuration stays in use.
pub fn run(target: &Target) -> Result<(), Failure> {
    target.ask(&Request::Reload, |answer| {
        let Answer::Reloaded(reloaded) = answer else { return Ok(()) };
        if target.json {
            return print_json(&reloaded);
        }
        let restart = reloaded.needs_restart.iter();
        let lines: String = restart
            .map(|key| format!("{key} has changed, which takes effect at the next start only\n"))
            .collect();
        print(format!("the configuration is in use for new connections\n{lines}"))
    })
}
