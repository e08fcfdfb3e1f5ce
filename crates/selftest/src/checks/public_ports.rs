//! Nothing but Caddy and sshd listens on addresses that other machines may reach.

use anyhow::Result;
use kit::listening_port::{self, Holder, Socket};
use kit::process::Process;
use kit::{SettingsReader, variables};
use uzers::get_user_by_name;

use crate::context::Context;
use crate::finding::Finding;

const REMEDY: &str = "let it listen on 127.0.0.1; behind the login: service-run --help";

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let ssh_port = SettingsReader::new(&context.env).port(&variables::SSH_PORT);
    // The relay of rclone's configuration has Caddy's account.
    let caddy = get_user_by_name("caddy").map(|user| user.uid());
    let reachable: Vec<Socket> =
        listening_port::sockets().into_iter().filter(|socket| socket.is_reachable).collect();
    let mut found = Vec::new();
    for socket in reachable.iter().filter(|socket| Some(socket.uid) != caddy) {
        let holder = listening_port::holder_of(std::slice::from_ref(socket));
        let name = holder.processes.iter().find_map(Process::stat).map(|stat| stat.name);
        // The check of SSH judges the one on its port.
        if socket.port == ssh_port && name.as_deref() == Some("sshd") {
            continue;
        }
        found.extend(fault(socket.port, name.as_deref(), &holder));
    }
    // A socket for IPv4 and one for IPv6.
    found.dedup();
    if found.is_empty() {
        let mut ports: Vec<u16> = reachable.iter().map(|socket| socket.port).collect();
        ports.sort_unstable();
        ports.dedup();
        let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        found.push(Finding::pass(if list.is_empty() {
            "nothing listens on public addresses".to_owned()
        } else {
            format!("only Caddy and sshd listen on public addresses: {list}")
        }));
    }
    Ok(found)
}

/// Returns the fault of a port that Caddy does not have. In the network of the host, the programs of other containers are
/// not visible.
fn fault(port: u16, program: Option<&str>, holder: &Holder) -> Option<Finding> {
    let seen = format!("{holder} listens on port {port} of a public address");
    match program? {
        "sshd" => {
            let id = holder.processes.iter().find_map(Process::id);
            Some(Finding::fail(
                format!("{seen}, and is not the image's: it may accept passwords"),
                id.map_or_else(|| REMEDY.to_owned(), |id| format!("kill {id}")),
            ))
        }
        _ => Some(Finding::fail(format!("{seen}, without the login"), REMEDY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_container_is_a_fault_and_a_second_sshd_is_ended() {
        let holder = Holder { processes: vec![Process::new(4_194_999)] };
        assert_eq!(fault(8080, None, &holder), None);
        let seen = |port| format!("another program listens on port {port} of a public address");
        assert_eq!(
            fault(8080, Some("python3"), &holder),
            Some(Finding::fail(format!("{}, without the login", seen(8080)), REMEDY))
        );
        let (found, remedy) =
            (seen(2299) + ", and is not the image's: it may accept passwords", "kill 4194999");
        assert_eq!(fault(2299, Some("sshd"), &holder), Some(Finding::fail(found, remedy)));
    }
}
