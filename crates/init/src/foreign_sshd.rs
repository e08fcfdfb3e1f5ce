//! An SSH server that is not ours, such as a provider's, or the host's with `--network host`.

use std::fs;

use kit::Problem;
use kit::listening_port;
use kit::process::Process;

/// True if another program holds sshd's port, which is reported; our sshd would be restarted without end.
pub fn holds(port: u16, problems: &mut Vec<Problem>) -> bool {
    let Some(holder) = listening_port::holder(port) else { return false };
    let message = format!(
        "port {port} is held by {holder}, which keeps running; it does not read SSH_PUBKEY; for an SSH server that \
         does, set SSH_PORT to another port"
    );
    problems.push(Problem::new("SSH_PORT", message));
    true
}

/// True if an sshd runs in this container. It reads its host keys again for each connection.
pub fn is_running() -> bool {
    Process::all().iter().any(|process| process.runs("sshd") && is_of_this_container(process))
}

/// Containers can share their processes (`--pid`), but not their files.
pub fn is_of_this_container(process: &Process) -> bool {
    let mounts = |process: &Process| fs::read_link(process.path("ns/mnt")).ok();
    mounts(process) == mounts(&Process::own())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_holder_of_the_port_is_reported() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut problems = Vec::new();
        assert!(holds(port, &mut problems));
        let message = problems.pop().unwrap().to_string();
        assert!(message.starts_with(&format!("SSH_PORT: port {port} is held by ")), "{message}");
        assert!(
            message.contains(&format!("(process {}), which keeps running", std::process::id())),
            "{message}"
        );
        assert_eq!(problems, []);
    }
}
