//! How many connections the limit on open files allows.

use rustix::process::{Resource, getrlimit};

/// How many open files a server with this number of connections may need.
pub fn files_for(connections: u32) -> u64 {
    (u64::from(connections) * FOUR_SESSIONS).div_ceil(4) + BASE
}

/// The number of connections that the hard limit on open files allows, at most `connections`. The
/// server raises the soft limit to the hard one.
pub(super) fn at_most(connections: u32) -> u32 {
    getrlimit(Resource::Nofile).maximum.map_or(connections, |hard| within(hard, connections))
}

fn within(limit: u64, connections: u32) -> u32 {
    let room = limit.saturating_sub(BASE).saturating_mul(4) / FOUR_SESSIONS;
    u32::try_from(room).map_or(connections, |room| connections.min(room.max(1)))
}

/// Open files of four sessions: the socket, the Maildir and its lock file for each, and one for a
/// session that works, such as by reading a message. Without a free one, that work fails
/// temporarily.
const FOUR_SESSIONS: u64 = 13;

/// Listening sockets, the runtime, the log, files that are read again; and 64 connections to each of
/// the two services over HTTP.
const BASE: u64 = 64 + 2 * 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_open_files_bounds_the_connections() {
        for (limit, connections) in
            [(0, 1), (198, 1), (1_024, 256), (20_000, 6_094), (32_768, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(within(limit, 10_000), connections, "{limit}");
            assert!(files_for(connections) <= limit.max(198), "{limit}");
        }
    }
}
