//! TCP ports on which programs of this container listen, from `proc_net(5)`.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use crate::process::Process;

/// State of a listening socket in the kernel's tables (`TCP_LISTEN`).
const LISTEN: &str = "0A";

/// The processes that have a listening socket open, such as a server and its workers, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Empty if they belong to another user or container.
    pub processes: Vec<Process>,
}

/// Returns the holder of a port on any address of this network namespace; nothing if the port is free.
#[must_use]
pub fn holder(port: u16) -> Option<Holder> {
    let sockets: Vec<PathBuf> =
        tables().iter().flat_map(|table| sockets(table, port)).map(|(_, path)| path).collect();
    if sockets.is_empty() {
        return None;
    }
    let is_open_in = |process: &Process| {
        process.descriptors().is_ok_and(|open| open.iter().any(|(_, path)| sockets.contains(path)))
    };
    let mut processes: Vec<_> = Process::all().into_iter().filter(is_open_in).collect();
    processes.sort_by_key(Process::id);
    Some(Holder { processes })
}

/// True if a program can listen on this port of 127.0.0.1 now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// True if a program listens on this port of an address that other machines may reach.
#[must_use]
pub fn is_reachable(port: u16) -> bool {
    tables().iter().flat_map(|table| sockets(table, port)).any(|(address, _)| !is_loopback(&address))
}

/// True for `127.0.0.0/8`, `::ffff:127.0.0.0/104` and `::1`, as a little-endian kernel writes them.
fn is_loopback(address: &str) -> bool {
    let v4 = address.strip_prefix("0000000000000000FFFF0000").unwrap_or(address);
    v4.len() == 8 && v4.ends_with("7F") || address == "00000000000000000000000001000000"
}

fn tables() -> [String; 2] {
    ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default())
}

/// Returns the listening sockets of a port: their addresses, and the names that descriptors of processes lead to.
fn sockets(table: &str, port: u16) -> Vec<(String, PathBuf)> {
    let local_port = format!(":{port:04X}");
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let address = fields.get(1)?.strip_suffix(&local_port)?;
        let path = format!("socket:[{}]", fields.get(9)?).into();
        (*fields.get(3)? == LISTEN).then(|| (address.to_owned(), path))
    };
    table.lines().filter_map(socket).collect()
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
    fn listening_sockets_of_one_port_are_found_in_the_kernels_tables() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4713 1
   3: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1
   4: 0100007F:1F90 00000000:0000 0A\n\nx\n";
        let found = |port| {
            let sockets = sockets(table, port).into_iter();
            sockets.map(|(address, path)| (is_loopback(&address), path)).collect::<Vec<_>>()
        };
        assert_eq!(found(8080), [(false, PathBuf::from("socket:[4711]")), (true, "socket:[4713]".into())]);
        assert_eq!((found(22), found(8081)), (vec![(true, "socket:[4714]".into())], vec![]));
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
