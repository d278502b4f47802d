//! How many connections fit into the files that a process may have open.

use rustix::process::{Resource, getrlimit};

/// The open files that a server with so many connections may need at the same time.
pub fn files_for(connections: u32) -> u64 {
    (u64::from(connections) * FOUR_SESSIONS).div_ceil(4) + BASE
}

/// So many connections, or fewer where the hard limit of this process on open files leaves no room
/// for them; the server raises the soft one to it.
pub(super) fn at_most(connections: u32) -> u32 {
    getrlimit(Resource::Nofile).maximum.map_or(connections, |hard| within(hard, connections))
}

fn within(limit: u64, connections: u32) -> u32 {
    let room = limit.saturating_sub(BASE).saturating_mul(4) / FOUR_SESSIONS;
    u32::try_from(room).map_or(connections, |room| connections.min(room.max(1)))
}

/// Each the socket, the Maildir and its lock file; and one of them is at work: it reads a message, say.
/// Who finds none left for that is told to try again.
const FOUR_SESSIONS: u64 = 13;

/// Listening sockets, the runtime, the log, files that are being read again.
const BASE: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_connections_as_their_files_have_room() {
        for (limit, connections) in
            [(0, 1), (70, 1), (1_024, 295), (20_000, 6_134), (32_768, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(within(limit, 10_000), connections, "{limit}");
            assert!(files_for(connections) <= limit.max(70), "{limit}");
        }
    }
}
