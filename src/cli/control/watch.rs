//! `restante watch`.

use std::time::Duration;

use super::table::time_of_day;
use super::{Target, Who, print_json};
use crate::cli::{Failure, duration, print};
use crate::control::{Answer, Line, Request, Speaker};

/// `restante watch`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
        restante watch mrose@example.org\n  \
        restante watch 192.0.2.7 --for 10m\n  \
        restante watch 4711                # the ID in restante sessions")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    who: Who,
    /// End after this time; without it, at Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasting: Option<Duration>,
}

/// Prints the dialogue of sessions as it happens.
///
/// # Errors
/// [`Failure`] when the server cannot be asked, or when it ends.
pub fn run(args: Args) -> Result<(), Failure> {
    let Args { target, who, lasting } = args;
    target.ask_for(lasting, &Request::Watch(who.filter()), |answer| {
        let text = match answer {
            Answer::Line(line) if target.json => return print_json(&line),
            Answer::LeftOut(lines) if target.json => return print_json(&Answer::LeftOut(lines)),
            Answer::Line(line) => text(&line),
            Answer::LeftOut(lines) => format!("… {lines} lines left out\n"),
            Answer::Status(_)
            | Answer::Connection(_)
            | Answer::Kicked(_)
            | Answer::Reloaded(_)
            | Answer::Delay(_)
            | Answer::Done {}
            | Answer::Error(_) => return Ok(()),
        };
        print(text)
    })
}

fn text(Line { milliseconds, id, user, from, text }: &Line) -> String {
    let (time, user) = (time_of_day(*milliseconds), user.as_deref().unwrap_or("-"));
    let sign = match from {
        Speaker::Client => '>',
        Speaker::Server => '<',
        Speaker::Connection => '*',
    };
    format!("{time} {id} {user} {sign} {text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_time_and_connection() {
        let line = |user: Option<&str>, from, text: &str| Line {
            milliseconds: 1_795_828_843_007,
            id: 4711,
            user: user.map(str::to_owned),
            from,
            text: text.to_owned(),
        };
        assert_eq!(
            text(&line(None, Speaker::Client, "PASS <password>")),
            "01:20:43.007Z 4711 - > PASS <password>\n"
        );
        assert_eq!(
            text(&line(Some("mrose"), Speaker::Server, "+OK 18211 octets")),
            "01:20:43.007Z 4711 mrose < +OK 18211 octets\n"
        );
    }
}
