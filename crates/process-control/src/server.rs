//! The socket: who may connect, and how much a connection may take.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::account_db::AccountDb;
use kit::missing_ok;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use crate::connection::Connection;
use crate::control::Control;
use crate::limits;

/// Pause after a failed accept, which usually means that there are no file descriptors left.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Listens on a socket, replacing that of an earlier process. The group of its directory can connect.
///
/// `init` empties the directory at each start, and only root can write there, so nothing else is in the socket's place.
pub fn listen(socket: &Path) -> Result<UnixListener> {
    let cannot = || format!("cannot listen on {}", socket.display());
    let directory = socket.parent().unwrap_or(Path::new("/"));
    let meta = fs::metadata(directory).with_context(cannot)?;
    ensure!(
        meta.uid() == nix::unistd::geteuid().as_raw() && meta.mode() & 0o022 == 0,
        "{} can be changed by other accounts",
        directory.display()
    );
    missing_ok(fs::remove_file(socket)).with_context(cannot)?;
    let listener = UnixListener::bind(socket).with_context(cannot)?;
    chown(socket, None, Some(meta.gid())).with_context(cannot)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660)).with_context(cannot)?;
    Ok(listener)
}

/// Returns the id of the account that may connect. `init` gives it another one if the workspace's owner has its id.
pub fn client_uid(account: &str) -> Result<u32> {
    let accounts = AccountDb::read()?;
    let user = accounts.user(account).with_context(|| format!("user {account} does not exist"))?;
    ensure!(user.ids.uid != 0, "the account {account} is root");
    Ok(user.ids.uid)
}

/// Serves connections of root and of `client` forever. All threads start now: in a container at its limit of processes, none
/// starts later, and those that could start do.
pub fn serve(listener: UnixListener, client: u32, control: Arc<Control>) -> Result<()> {
    let serve = Arc::new(move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => answer(stream, client, &control),
                Err(error) => {
                    log::error!("cannot accept a connection: {error}");
                    thread::sleep(RETRY_INTERVAL);
                }
            }
        }
    });
    for _ in 1..limits::CONNECTIONS {
        let serve = Arc::clone(&serve);
        if let Err(error) = thread::Builder::new().spawn(move || serve()) {
            log::warn!("cannot start all threads: {error}");
            break;
        }
    }
    serve()
}

fn answer(stream: UnixStream, client: u32, control: &Arc<Control>) {
    let peer = getsockopt(&stream, PeerCredentials).map(|peer| (peer.uid(), peer.pid()));
    match peer {
        Ok((uid, _)) if is_allowed(uid, client) => {}
        Ok((uid, pid)) => return control.log_refusal(&format!("refused user {uid} (process {pid})")),
        Err(error) => return control.log_refusal(&format!("cannot read who connected: {error}")),
    }
    if let Err(error) = exchange(&mut Connection::new(stream, limits::EXCHANGE), control) {
        log::debug!("a connection ended early: {error}");
    }
}

/// True for root and the account of the portal.
fn is_allowed(uid: u32, client: u32) -> bool {
    uid == 0 || uid == client
}

fn exchange(connection: &mut Connection, control: &Arc<Control>) -> io::Result<()> {
    let request = connection.read_line(limits::REQUEST_BYTES)?;
    let response = control.answer(&request);
    connection.extend(limits::EXCHANGE);
    let mut line = serde_json::to_vec(&response)?;
    line.push(b'\n');
    connection.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_portal_are_the_only_clients() {
        let allowed = |uid| is_allowed(uid, 61_111);
        assert_eq!([0, 61_111, 61_112, 1_000, u32::MAX].map(allowed), [true, true, false, false, false]);
        assert!(client_uid("root").is_err() && client_uid("no-such-account").is_err());
    }

    #[test]
    fn a_directory_that_others_can_change_has_no_socket() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o770);
        assert!(listen(&socket).is_err());
        mode(0o750);
        std::os::unix::fs::symlink("/etc/passwd", &socket).unwrap();
        let first = listen(&socket).unwrap();
        assert_eq!(fs::symlink_metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o660);
        drop(first);
        listen(&socket).unwrap();
        assert!(fs::metadata("/etc/passwd").unwrap().is_file());
    }
}
