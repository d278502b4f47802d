//! The program that listens on a port, as far as the current user can see it in `/proc` (proc(5)).

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The program that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortOwner {
    /// Another process of this program.
    #[error("restante (pid {pid})")]
    Restante {
        /// Its process ID.
        pid: u32,
    },
    /// Process 1, which passes the socket to a service.
    #[error("the service manager, for a socket unit,")]
    ServiceManager,
    /// Another program.
    #[error("{} (pid {pid})", name.escape_debug())]
    Program {
        /// Its process ID.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// A program that the current user cannot see.
    #[error("another program")]
    Unknown,
}

impl PortOwner {
    /// The program that keeps `address` from being bound.
    pub fn of(address: SocketAddr) -> Self {
        let sockets: Vec<_> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .flat_map(|table| listening(&fs::read_to_string(table).unwrap_or_default(), address))
            .map(|inode| format!("socket:[{inode}]"))
            .collect();
        let owners = processes().filter(|(_, process)| {
            let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            let mut links = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok());
            links.any(|link| sockets.iter().any(|socket| link.as_os_str() == OsStr::new(socket)))
        });
        let mut owners: Vec<_> = owners.map(|(pid, process)| Self::named(pid, &process)).collect();
        // The service manager keeps sockets that it passes to a program: return the program.
        let restante = owners.iter().position(|it| matches!(it, Self::Restante { .. }));
        let program = || owners.iter().position(|it| matches!(it, Self::Program { .. }));
        let at = restante.or_else(program).unwrap_or_default();
        if at < owners.len() { owners.swap_remove(at) } else { Self::Unknown }
    }

    fn named(pid: u32, process: &Path) -> Self {
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned();
        match (pid, name.as_str()) {
            (_, OWN_NAME) => Self::Restante { pid },
            (1, "systemd") => Self::ServiceManager,
            _ => Self::Program { pid, name },
        }
    }
}

/// The directories of all processes.
fn processes() -> impl Iterator<Item = (u32, std::path::PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

/// The sockets of a table that keep `address` from being bound.
fn listening(table: &str, address: SocketAddr) -> Vec<u64> {
    let conflicting = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state) = (fields.get(1)?, fields.get(3)?);
        let (ip, port) = local.split_once(':')?;
        let (ip, port) = (ip_address(ip)?, u16::from_str_radix(port, 16).ok()?);
        let overlaps = ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified();
        let conflicts = *state == LISTEN && port == address.port() && overlaps;
        fields.get(9)?.parse().ok().filter(|_| conflicts)
    };
    table.lines().filter_map(conflicting).collect()
}

/// Parses an address as the kernel prints it: words of four octets, each in native byte order.
fn ip_address(hex: &str) -> Option<IpAddr> {
    let words = hex.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let octets = words.collect::<Option<Vec<_>>>()?.concat();
    let v4 = <[u8; 4]>::try_from(octets.as_slice()).map(|octets| Ipv4Addr::from(octets).into());
    let v6 = <[u8; 16]>::try_from(octets.as_slice()).map(|octets| Ipv6Addr::from(octets).into());
    v4.or(v6).ok()
}

const LISTEN: &str = "0A";

/// The name of a process that runs this program.
const OWN_NAME: &str = env!("CARGO_PKG_NAME");

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_process_that_listens_on_a_port_is_found() {
        for any in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(any).unwrap();
            let found = PortOwner::of(listener.local_addr().unwrap());
            let PortOwner::Program { pid, name } = found else { panic!("{any}: {found:?}") };
            assert_eq!(pid, std::process::id());
            assert!(name.starts_with("restante-"), "{name}: the name of the test program");
        }
    }

    #[test]
    fn only_listening_sockets_on_overlapping_addresses_conflict() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:03E3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 x\n\
             1: 00000000:006E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 x\n\
             2: 0100007F:006E 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 13 1 x\n";
        for (address, sockets) in [
            ("127.0.0.1:995", &[11][..]),
            ("127.0.0.2:995", &[]),
            ("0.0.0.0:995", &[11]),
            ("[::]:995", &[11]),
            ("127.0.0.1:110", &[12]),
            ("127.0.0.1:111", &[]),
        ] {
            assert_eq!(listening(table, address.parse().unwrap()), sockets, "{address}");
        }
        let loopback = "00000000000000000000000001000000";
        assert_eq!(ip_address(loopback), Some(Ipv6Addr::LOCALHOST.into()));
        for bad in ["", "zz", "0100007F0100007F"] {
            assert_eq!(ip_address(bad), None, "{bad}");
        }
    }
}
