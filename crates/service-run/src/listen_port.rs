//! Port on loopback on which a program has to listen.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kit::listening_port::{self, Holder};
use kit::process::Process;
use kit::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::account::MARK;

/// Distance of a port on loopback from the public one, where it is free.
const DISTANCE: u16 = 10_000;
/// Time that a program of an earlier start has to end, after each signal.
const PATIENCE: [(Signal, Duration); 2] =
    [(Signal::SIGTERM, Duration::from_secs(5)), (Signal::SIGKILL, Duration::from_secs(2))];

/// Returns a port for each instance: that of the former registration, a fixed distance from the public port, or any.
/// Ports of other services are `taken`.
pub fn choose(proxy_port: u16, instances: usize, former: &[u16], taken: &[u16]) -> Result<Vec<u16>> {
    let mut taken = [taken, &[proxy_port, ports::PORTAL, ports::RCLONE]].concat();
    let mut chosen = Vec::new();
    for instance in 0..instances {
        let candidates = candidates(proxy_port, instance, former).into_iter();
        let usable = |port: &u16| !taken.contains(port) && can_get(*port, proxy_port);
        let port = candidates.flatten().find(usable).map_or_else(|| any(&taken), Ok)?;
        taken.push(port);
        chosen.push(port);
    }
    Ok(chosen)
}

fn candidates(proxy_port: u16, instance: usize, former: &[u16]) -> [Option<u16>; 2] {
    let offset = u16::try_from(instance).ok().and_then(|instance| DISTANCE.checked_add(instance));
    [former.get(instance).copied(), offset.and_then(|offset| proxy_port.checked_add(offset))]
}

fn any(taken: &[u16]) -> Result<u16> {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
        let port = listener.local_addr()?.port();
        if !taken.contains(&port) {
            return Ok(port);
        }
    }
}

/// True if the port is free, or held by programs that an earlier start of this service has left behind.
fn can_get(port: u16, proxy_port: u16) -> bool {
    listening_port::is_free(port)
        || listening_port::holder(port).is_some_and(|holder| is_left_behind(&holder, proxy_port))
}

/// Ends what an earlier start of this service has left on the port; an error names another holder.
///
/// Only processes that have the listening socket open are signalled: a terminal that was opened in a notebook carries the
/// mark too, and must survive.
pub fn free(port: u16, proxy_port: u16) -> Result<()> {
    for (signal, patience) in PATIENCE {
        if listening_port::is_free(port) {
            return Ok(());
        }
        let Some(holder) = listening_port::holder(port) else { break };
        if !is_left_behind(&holder, proxy_port) {
            bail!("port {port} is held by {holder}");
        }
        let name = holder.to_string();
        for id in holder.processes.iter().filter_map(Process::id) {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(id), signal);
        }
        if wait::until(patience, "the port", || listening_port::is_free(port).then_some(())).is_ok() {
            log::info!("stopped {name}, which an earlier start left on port {port}");
            return Ok(());
        }
    }
    bail!("port {port} is not free");
}

fn is_left_behind(holder: &Holder, proxy_port: u16) -> bool {
    let mark = format!("{MARK}={proxy_port}");
    let has_mark = |process: &Process| {
        let environment = fs::read(process.path("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    !holder.processes.is_empty() && holder.processes.iter().all(has_mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_former_port_is_preferred_and_every_instance_has_another() {
        assert_eq!(candidates(8188, 0, &[]), [None, Some(18188)]);
        assert_eq!(candidates(8188, 1, &[7, 8]), [Some(8), Some(18189)]);
        assert_eq!(candidates(60_000, 0, &[]), [None, None]);
        // Ports of this test's own, so that no other one holds them.
        let free: Vec<u16> = (0..3).map(|_| any(&[]).unwrap()).collect();
        assert_eq!(choose(60_000, 1, &free, &[]).unwrap(), free[..1]);
        let others = choose(60_000, 3, &free[..1], &free[1..]).unwrap();
        assert_eq!(others[0], free[0]);
        assert!(
            others[1] != others[2] && !free.contains(&others[1]) && !free.contains(&others[2]),
            "{others:?}"
        );
    }

    #[test]
    fn a_port_of_another_program_is_not_chosen_and_its_holder_is_named() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_ne!(choose(60_000, 1, &[port], &[]).unwrap(), [port]);
        let error = free(port, 60_000).unwrap_err().to_string();
        let (start, end) = (format!("port {port} is held by "), format!("(process {})", std::process::id()));
        assert!(error.starts_with(&start) && error.ends_with(&end), "{error}");
        drop(listener);
        free(port, 60_000).unwrap();
    }
}
