//! Accounts that listen on TCP ports, from the kernel's tables (`proc_net(5)`).

use std::collections::BTreeMap;
use std::path::Path;

use kit::listening_port;

/// User ids by port.
#[derive(Debug, Default)]
pub struct Listeners(BTreeMap<u16, Vec<u32>>);

/// Listener on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Caddy alone, which asks for the login.
    Proxy,
    /// Another program. Caddy does not serve a port that it could not open.
    Another,
    /// No program, as while Caddy starts.
    Missing,
}

impl Listeners {
    /// Reads the tables in a directory such as `/proc/net`.
    pub fn read(directory: &Path) -> Self {
        let mut ports: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
        for socket in listening_port::sockets_in(directory) {
            ports.entry(socket.port).or_default().push(socket.uid);
        }
        Self(ports)
    }

    /// Returns the listener on a port, given Caddy's user id.
    pub fn on(&self, port: u16, proxy: u32) -> Listener {
        match self.0.get(&port) {
            None => Listener::Missing,
            Some(uids) if uids.iter().all(|uid| *uid == proxy) => Listener::Proxy,
            Some(_) => Listener::Another,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_port_is_the_proxys_if_no_other_account_listens_on_it() {
        let directory = tempfile::tempdir().unwrap();
        let lines = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1FFC 00000000:0000 0A 00000000:00000000 00:00000000 00000000 61112        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1FFD 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 100 0 0 10 0
   2: 0100007F:1FFE 0100007F:C350 01 00000000:00000000 00:00000000 00000000 61112        0 4713 1 0 20 4 30 10 -1
   x\n";
        fs::write(directory.path().join("tcp"), lines).unwrap();
        let six = "   0: 00000000000000000000000000000000:1FFD 00000000000000000000000000000000:0000 0A 0:0 00:0 0 61112 0 1\n";
        fs::write(directory.path().join("tcp6"), six).unwrap();
        let listeners = Listeners::read(directory.path());
        let on = [0x1ffc, 0x1ffd, 0x1ffe].map(|port| listeners.on(port, 61112));
        assert_eq!(on, [Listener::Proxy, Listener::Another, Listener::Missing]);
    }

    #[test]
    fn the_kernels_tables_are_understood() {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!(Listeners::read(Path::new("/proc/net")).on(port, own), Listener::Proxy);
        assert_eq!(Listeners::read(Path::new("/proc/net")).on(port, own + 1), Listener::Another);
    }
}
