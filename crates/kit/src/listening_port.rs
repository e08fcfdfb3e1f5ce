//! TCP ports on which programs of this container listen, from `proc_net(5)`.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use crate::process::Process;

/// State of a listening socket in the kernel's tables (`TCP_LISTEN`).
const LISTEN: &str = "0A";

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Port on which it listens.
    pub port: u16,
    /// True if other machines may reach its address.
    pub is_reachable: bool,
    /// User who opened it.
    pub uid: u32,
    /// Name that descriptors of processes lead to.
    name: PathBuf,
}

/// The processes that have a listening socket open, such as a server and its workers, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Empty if they belong to another user or container.
    pub processes: Vec<Process>,
}

/// Returns the holder of a port on any address of this network namespace; nothing if the port is free.
#[must_use]
pub fn holder(port: u16) -> Option<Holder> {
    let sockets: Vec<Socket> = sockets().into_iter().filter(|socket| socket.port == port).collect();
    (!sockets.is_empty()).then(|| holder_of(&sockets))
}

/// Returns the holder of these sockets.
#[must_use]
pub fn holder_of(sockets: &[Socket]) -> Holder {
    let is_open_in = |process: &Process| {
        let is_one = |path: &PathBuf| sockets.iter().any(|socket| socket.name == *path);
        process.descriptors().is_ok_and(|open| open.iter().any(|(_, path)| is_one(path)))
    };
    let mut processes: Vec<_> = Process::all().into_iter().filter(is_open_in).collect();
    processes.sort_by_key(Process::id);
    Holder { processes }
}

/// True if a program can listen on this port of 127.0.0.1 now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// True if a program listens on this port of an address that other machines may reach.
#[must_use]
pub fn is_reachable(port: u16) -> bool {
    sockets().iter().any(|socket| socket.port == port && socket.is_reachable)
}

/// Returns all listening sockets of this network namespace.
#[must_use]
pub fn sockets() -> Vec<Socket> {
    sockets_in(Path::new("/proc/net"))
}

/// Returns the listening sockets in the tables of another directory than `/proc/net`.
#[must_use]
pub fn sockets_in(directory: &Path) -> Vec<Socket> {
    let read = |name| fs::read_to_string(directory.join(name)).unwrap_or_default();
    ["tcp", "tcp6"].map(read).iter().flat_map(|table| table.lines()).filter_map(socket).collect()
}

/// True for `127.0.0.0/8`, `::ffff:127.0.0.0/104` and `::1`, as a little-endian kernel writes them.
fn is_loopback(address: &str) -> bool {
    let v4 = address.strip_prefix("0000000000000000FFFF0000").unwrap_or(address);
    v4.len() == 8 && v4.ends_with("7F") || address == "00000000000000000000000001000000"
}

/// Reads a line about a listening socket.
fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.rsplit_once(':')?;
    let socket = Socket {
        port: u16::from_str_radix(port, 16).ok()?,
        is_reachable: !is_loopback(address),
        uid: fields.get(7)?.parse().ok()?,
        name: format!("socket:[{}]", fields.get(9)?).into(),
    };
    (*fields.get(3)? == LISTEN).then_some(socket)
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.processes.iter().find_map(Process::stat) {
            Some(stat) => write!(formatter, "{} (process {})", stat.name.escape_debug(), stat.id),
            None => formatter.write_str("another program"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;
    use std::time::Duration;

    #[test]
    fn listening_sockets_are_found_in_the_kernels_tables() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4713 1
   3: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1
   4: 0100007F:1F90 00000000:0000 0A\n\nx\n";
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tcp"), table).unwrap();
        let socket =
            |port, is_reachable, uid, name: &str| Socket { port, is_reachable, uid, name: name.into() };
        assert_eq!(
            sockets_in(dir.path()),
            [
                socket(8080, true, 1000, "socket:[4711]"),
                socket(8080, false, 0, "socket:[4713]"),
                socket(22, false, 0, "socket:[4714]"),
            ]
        );
    }

    #[test]
    fn only_a_port_on_loopback_is_not_reachable() {
        for (address, expected) in [
            ("127.0.0.1", false),
            ("127.8.9.10", false),
            ("[::1]", false),
            ("[::ffff:127.0.0.1]", false),
            ("0.0.0.0", true),
            ("[::]", true),
        ] {
            let listener = TcpListener::bind(format!("{address}:0")).unwrap();
            assert_eq!(is_reachable(listener.local_addr().unwrap().port()), expected, "{address}");
        }
    }

    #[test]
    fn the_holder_of_a_port_is_this_process_until_it_closes_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = Process::new(std::process::id());
        let held = holder(port).unwrap();
        assert!(held.processes.contains(&own), "{held:?}");
        assert!(held.to_string().ends_with(&format!("(process {})", std::process::id())), "{held}");
        assert!(!is_free(port));
        drop(listener);
        wait::until(Duration::from_secs(10), "the closed port", || holder(port).is_none().then_some(()))
            .unwrap();
        assert!(is_free(port));
        assert_eq!(Holder { processes: Vec::new() }.to_string(), "another program");
    }
}
