//! Nothing but Caddy and sshd listens on addresses that other machines may reach.

use anyhow::Result;
use kit::listening_port::{self, Socket};
use uzers::get_user_by_name;

use crate::context::Context;
use crate::finding::Finding;

const REMEDY: &str = "let it listen on 127.0.0.1; behind the login: service-run --help";

/// Runs the check.
pub fn check(_: &Context) -> Result<Vec<Finding>> {
    // The relay of rclone's configuration has Caddy's account.
    let caddy = get_user_by_name("caddy").map(|user| user.uid());
    let reachable: Vec<Socket> =
        listening_port::sockets().into_iter().filter(|socket| socket.is_reachable).collect();
    let mut found = Vec::new();
    for socket in reachable.iter().filter(|socket| Some(socket.uid) != caddy) {
        let holder = listening_port::holder_of(std::slice::from_ref(socket));
        let name = holder.processes.iter().find_map(kit::process::Process::stat).map(|stat| stat.name);
        found.extend(fault(socket.port, name.as_deref(), &holder.to_string()));
    }
    // A socket for IPv4 and one for IPv6.
    found.dedup();
    if found.is_empty() {
        let mut ports: Vec<u16> = reachable.iter().map(|socket| socket.port).collect();
        ports.sort_unstable();
        ports.dedup();
        let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        found.push(Finding::pass(format!("only Caddy and sshd listen on public addresses: {list}")));
    }
    Ok(found)
}

/// Returns the fault of a port that Caddy does not have. In the network of the host, the programs of other containers are
/// not visible.
fn fault(port: u16, program: Option<&str>, holder: &str) -> Option<Finding> {
    match program {
        None | Some("sshd") => None,
        Some(_) => Some(Finding::fail(
            format!("{holder} listens on port {port} of a public address, without the login"),
            REMEDY,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_container_other_than_sshd_is_a_fault() {
        assert_eq!(fault(8080, None, "another program"), None);
        assert_eq!(fault(2222, Some("sshd"), "sshd (process 7)"), None);
        assert_eq!(
            fault(8080, Some("python3"), "python3 (process 7)"),
            Some(Finding::fail(
                "python3 (process 7) listens on port 8080 of a public address, without the login",
                REMEDY
            ))
        );
    }
}
