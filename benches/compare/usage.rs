//! The cost of a server: processor time and memory of all its processes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io, thread};

/// Ticks a second in `/proc/PID/stat`, the same on every Linux.
const TICKS: f64 = 100.0;

/// Counts the usage of one server.
pub(crate) enum Usage {
    /// A separate control group: exact to the microsecond, including processes that have ended.
    Group(PathBuf),
    /// The process tree in `/proc`: ticks of 10 ms, including children that were waited for.
    Tree,
}

impl Usage {
    /// A control group if possible.
    pub(crate) fn new(name: &str) -> Self {
        match group(name) {
            Some(path) => Self::Group(path),
            None => Self::Tree,
        }
    }

    /// The file to which a process writes its number in order to be counted.
    pub(crate) fn entrance(&self) -> PathBuf {
        match self {
            Self::Group(path) => path.join("cgroup.procs"),
            Self::Tree => PathBuf::from("/dev/null"),
        }
    }

    /// The method of counting processor time, for the report.
    pub(crate) fn method(&self) -> &'static str {
        match self {
            Self::Group(_) => "cpu.stat of a control group for each server",
            Self::Tree => "utime + stime + cutime + cstime of all processes, from /proc",
        }
    }

    /// Seconds of processor time, user and system, since the server was started.
    pub(crate) fn processor(&self, root: u32) -> io::Result<f64> {
        match self {
            Self::Group(path) => {
                let stat = fs::read_to_string(path.join("cpu.stat"))?;
                let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
                let usage = usage.and_then(|usage| usage.parse::<f64>().ok());
                Ok(usage.ok_or_else(|| io::Error::other("cpu.stat without usage_usec"))? / 1e6)
            }
            Self::Tree => Ok(tree(root)?.iter().map(|process| process.seconds).sum()),
        }
    }

    /// Bytes of memory: the proportional share (Pss) of all processes.
    pub(crate) fn memory(root: u32) -> io::Result<f64> {
        let mut bytes = 0.0;
        for process in tree(root)? {
            let Ok(rollup) = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.id))
            else {
                continue; // It has just ended.
            };
            let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let share = share.and_then(|share| share.trim().strip_suffix(" kB"));
            let share = share.and_then(|share| share.trim().parse::<f64>().ok());
            bytes += share.unwrap_or(0.0) * 1024.0;
        }
        Ok(bytes)
    }

    /// The open descriptors of all processes.
    pub(crate) fn descriptors(root: u32) -> io::Result<usize> {
        let mut descriptors = 0;
        for process in tree(root)? {
            descriptors += fs::read_dir(format!("/proc/{}/fd", process.id))?.count();
        }
        Ok(descriptors)
    }

    /// The number of running processes of a server.
    pub(crate) fn processes(root: u32) -> io::Result<usize> {
        Ok(tree(root)?.iter().filter(|process| !process.has_ended).count())
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        let Self::Group(path) = self else { return };
        // The last processes of a server may still be ending.
        for _ in 0..100 {
            if fs::remove_dir(&*path).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        eprintln!("{} stays behind", path.display());
    }
}

/// Makes a control group below that of this process, if permitted.
fn group(name: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let path = Path::new(mount).join(own).join(format!("{name}-{}", std::process::id()));
    fs::create_dir(&path).ok()?;
    let enters = Command::new("sh")
        .args(["-c", "echo $$ > \"$0\""])
        .arg(path.join("cgroup.procs"))
        .stderr(Stdio::null())
        .status();
    if enters.is_ok_and(|status| status.success()) && path.join("cpu.stat").exists() {
        return Some(path);
    }
    fs::remove_dir(&path).ok();
    None
}

#[derive(Clone, Copy)]
struct Process {
    id: u32,
    parent: u32,
    seconds: f64,
    /// A zombie.
    has_ended: bool,
}

/// A process with all its descendants.
fn tree(root: u32) -> io::Result<Vec<Process>> {
    let mut all = HashMap::new();
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let Some(process) = parse(id, &stat) else { continue };
        children.entry(process.parent).or_default().push(id);
        all.insert(id, process);
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        found.extend(all.get(&id));
        open.extend(children.get(&id).into_iter().flatten());
    }
    Ok(found)
}

/// The fields of `/proc/PID/stat`. The ticks include children that it has waited for.
fn parse(id: u32, stat: &str) -> Option<Process> {
    // The name of the program is in parentheses and may contain any text.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: f64 =
        fields.get(11..15)?.iter().map(|field| field.parse::<f64>().unwrap_or(0.0)).sum();
    Some(Process {
        id,
        parent: fields.get(1)?.parse().ok()?,
        seconds: ticks / TICKS,
        has_ended: matches!(fields.first(), Some(&"Z" | &"X")),
    })
}
