//! The answers to a watch: the dialogue of connections as it happens.

use std::io;
use std::time::SystemTime;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tracing::info;

use super::answers::{Server, checked, matches};
use super::{Answers, Unanswered};
use crate::control::{Answer, Filter, Line, Speaker};
use crate::session::{self, Watch, Watched, WatchedLine};

impl Server {
    /// Sends the dialogue of the connections that a filter matches to the user `uid`, until the
    /// client closes the connection or sends another request. It may read as slowly as it likes.
    pub(super) async fn watch(
        &self,
        filter: Filter,
        uid: Option<u32>,
        reader: &mut (impl AsyncBufRead + Unpin),
        answers: &mut Answers,
    ) -> Result<(), Unanswered> {
        let mut trace = Trace::begin(checked(&filter)?.clone(), uid);
        let mut watch = self.connections().watch(move |handle| matches(&filter, handle));
        loop {
            tokio::select! {
                biased;
                _ended = reader.fill_buf() => return Ok(()),
                sent = send_next(&mut watch, &mut trace, answers) => sent?,
            }
        }
    }
}

async fn send_next(watch: &mut Watch, trace: &mut Trace, answers: &mut Answers) -> io::Result<()> {
    let answer = match watch.next().await {
        Watched::Line(line) => {
            trace.lines += 1;
            Answer::Line(shown(line))
        }
        Watched::LeftOut(lines) => {
            trace.left_out += lines;
            Answer::LeftOut(lines)
        }
    };
    answers.put(&answer)?;
    if answers.is_full() || !watch.is_ready() { answers.flush().await } else { Ok(()) }
}

fn shown(WatchedLine { at, number, user, from, text }: WatchedLine) -> Line {
    let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Line {
        milliseconds: since_1970.as_millis().try_into().unwrap_or(u64::MAX),
        id: number,
        user: user.map(|user| user.as_str().to_owned()),
        from: match from {
            session::Speaker::Client => Speaker::Client,
            session::Speaker::Server => Speaker::Server,
            session::Speaker::Connection => Speaker::Connection,
        },
        text,
    }
}

/// The trace of a watch in the log: an operator reads what others do. Its end is logged on drop.
struct Trace {
    filter: Filter,
    uid: Option<u32>,
    lines: u64,
    left_out: u64,
}

impl Trace {
    fn begin(filter: Filter, uid: Option<u32>) -> Self {
        let Filter { user, address, id } = &filter;
        let address = address.map(|address| address.to_string());
        info!(uid, user, address, id, "the operator watches sessions");
        Self { filter, uid, lines: 0, left_out: 0 }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let Self { filter: Filter { user, address, id }, uid, lines, left_out } = self;
        let address = address.map(|address| address.to_string());
        info!(uid, user, address, id, lines, left_out, "the operator watches them no more");
    }
}
