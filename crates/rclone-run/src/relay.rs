//! Makes rclone's interactive configuration reachable through the published port 53682.
//!
//! `rclone config` waits for the browser on 127.0.0.1 only (`lib/oauthutil/oauthutil.go`), which a published port does not
//! reach. A listener on all addresses would take that address away from rclone, so there is one for each of the
//! others. The relay is a process of Caddy's account without privileges. It asks for no login: rclone accepts an answer only
//! with the random `state` that it has sent.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, Builder};
use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Exit, Outcome, env_scrub, privileges};
use nix::ifaddrs::getifaddrs;
use nix::sys::prctl;
use nix::sys::signal::Signal;

/// Maximum number of connections at once.
const MAX_CONNECTIONS: usize = 16;
/// Time without a byte after which a connection ends.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const UNAVAILABLE: &str = "rclone is not being configured in this container; run: rclone config\n";

/// Runs the relay until its parent ends.
pub fn run() -> Outcome {
    privileges::drop_to("caddy")?;
    env_scrub::reexec_with(|_| false)?;
    // A change of the account unsets it (prctl(2)).
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot set the parent death signal")?;
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::RCLONE));
    let mut listeners = Vec::new();
    let addresses = addresses()?;
    if addresses.is_empty() {
        log::info!("port {} is not open: this container has only local addresses", ports::RCLONE);
    }
    for address in addresses {
        match TcpListener::bind((address, ports::RCLONE)) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                log::warn!("cannot listen on {}: {error}", SocketAddr::from((address, ports::RCLONE)));
            }
        }
    }
    let slots = Arc::new(());
    thread::scope(|scope| {
        for listener in &listeners {
            if let Err(error) = Builder::new().spawn_scoped(scope, || serve(listener, target, &slots)) {
                log::error!("cannot start a thread for port {}: {error}", ports::RCLONE);
            }
        }
    });
    Ok(Exit::Done)
}

/// Returns the addresses of this container without loopback and link-local ones.
fn addresses() -> Result<Vec<IpAddr>> {
    let interfaces = getifaddrs().context("cannot read the addresses of this container")?;
    let mut addresses: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
            v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
        })
        .filter(is_reachable)
        .collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

/// True if others may reach the address without naming an interface.
fn is_reachable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

/// Accepts connections forever; each holds a reference to `slots`.
fn serve(listener: &TcpListener, target: SocketAddr, slots: &Arc<()>) {
    for visitor in listener.incoming() {
        let Ok(visitor) = visitor else { continue };
        let slot = Arc::clone(slots);
        if Arc::strong_count(&slot) <= MAX_CONNECTIONS + 1 {
            // A visitor who leaves is no event; without a thread, the connection ends.
            let _ = Builder::new().spawn(move || {
                let _ = relay(&visitor, target);
                drop(slot);
            });
        }
    }
}

/// Passes bytes in both directions until one side ends the connection, or is silent.
fn relay(visitor: &TcpStream, target: SocketAddr) -> io::Result<()> {
    visitor.set_read_timeout(Some(IDLE_TIMEOUT))?;
    visitor.set_write_timeout(Some(IDLE_TIMEOUT))?;
    let Ok(rclone) = TcpStream::connect_timeout(&target, CONNECT_TIMEOUT) else { return refuse(visitor) };
    rclone.set_read_timeout(Some(IDLE_TIMEOUT))?;
    rclone.set_write_timeout(Some(IDLE_TIMEOUT))?;
    thread::scope(|scope| {
        if Builder::new().spawn_scoped(scope, || pass(visitor, &rclone)).is_ok() {
            pass(&rclone, visitor);
        }
    });
    Ok(())
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    if io::copy(&mut from, &mut to).is_ok() {
        let _ = to.shutdown(Shutdown::Write);
    } else {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// Answers a request that rclone is not waiting for. The request is read first: closing a connection with unread bytes would
/// discard the answer.
fn refuse(mut visitor: &TcpStream) -> io::Result<()> {
    visitor.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    if visitor.read(&mut [0; 16 << 10])? == 0 {
        return Ok(());
    }
    let length = UNAVAILABLE.len();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    );
    visitor.write_all((head + UNAVAILABLE).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a relay to `target`; returns its address.
    fn start(target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener, target, &Arc::new(())));
        address
    }

    fn request(address: SocketAddr, text: &str) -> String {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(text.as_bytes()).unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn bytes_pass_in_both_directions() {
        let rclone = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = start(rclone.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut connection, _) = rclone.accept().unwrap();
            let mut request = String::new();
            connection.read_to_string(&mut request).unwrap();
            connection.write_all(b"answer").unwrap();
            request
        });
        assert_eq!(request(relay, "GET /?state=x"), "answer");
        assert_eq!(server.join().unwrap(), "GET /?state=x");
    }

    #[test]
    fn without_rclone_the_answer_is_what_to_run() {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let answer = request(start(unused), "GET / HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{UNAVAILABLE}")), "{answer}");
    }

    #[test]
    fn connections_beyond_the_limit_are_closed() {
        let rclone = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = start(rclone.local_addr().unwrap());
        let held: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| {
                let visitor = TcpStream::connect(relay).unwrap();
                (visitor, rclone.accept().unwrap().0)
            })
            .collect();
        assert_eq!(TcpStream::connect(relay).unwrap().read(&mut [0]).unwrap_or(0), 0);
        drop(held);
        kit::wait::until(Duration::from_mins(1), "a free slot", || {
            rclone.set_nonblocking(true).unwrap();
            let _visitor = TcpStream::connect(relay).unwrap();
            kit::wait::until(Duration::from_secs(1), "a connection", || rclone.accept().ok()).ok()
        })
        .unwrap();
    }

    #[test]
    fn loopback_is_left_to_rclone() {
        let reachable = |address: &str| is_reachable(&address.parse().unwrap());
        assert!(["10.0.0.2", "203.0.113.1", "2001:db8::1", "fd00::1"].into_iter().all(reachable));
        assert!(!["127.0.0.1", "::1", "169.254.3.4", "fe80::1"].into_iter().any(reachable));
        assert!(addresses().unwrap().iter().all(is_reachable));
    }
}
