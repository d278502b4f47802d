//! The process, as the system sees it. What cannot be read is left out.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The processor time of the process.
pub(super) fn processor_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// The memory of the process, in octets: `proc_pid_status(5)`.
pub(super) fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// How many files are open. Linux 6.2 and later say so without access to the directory, which a
/// process has not that forbids core dumps.
pub(super) fn open_files() -> Option<u64> {
    let directory = "/proc/self/fd";
    match fs::metadata(directory).ok()?.len() {
        0 => u64::try_from(fs::read_dir(directory).ok()?.count()).ok(),
        count => Some(count),
    }
}

/// How many files may be open.
pub(super) fn most_open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_files_and_processor_time() {
        assert!(resident_memory().unwrap() > 1 << 20);
        assert!(open_files().unwrap() >= 3);
        assert!(most_open_files().unwrap_or(u64::MAX) >= open_files().unwrap());
        assert!(processor_time() > Duration::ZERO);
    }
}
