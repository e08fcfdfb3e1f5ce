//! Starts and stops a private Docker daemon.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use kit::atomic::{self, WriteOptions};
use kit::process::Process;
use kit::{HintExt, missing_ok};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Store;
use super::engine_paths::EnginePaths;
use super::network::{self, Network};
use super::subnet::Subnet;
use super::{packages, process};
use crate::step;

const START_DEADLINE: Duration = Duration::from_secs(90);
/// Containers get 15 s to end, and then the data has to reach the disk.
const STOP_DEADLINE: Duration = Duration::from_secs(90);
const PING_DEADLINE: Duration = Duration::from_secs(5);
const LOG_LINES: usize = 15;

/// Programs that a daemon needs, and their packages.
const NEEDED: &[(&str, &str)] =
    &[("runc", "runc"), ("iptables", "iptables"), ("ip", "iproute2"), ("setsid", "util-linux")];

/// Starts the daemon of `paths` and waits until it answers; removes leftovers of a killed one.
pub fn start(paths: &EnginePaths) -> Result<()> {
    packages::install(NEEDED)?;
    clear_runtime(paths)?;
    forget_networks(paths)?;
    make(&paths.exec_root())?;
    make(&paths.data())?;
    let network = network::set_up(&paths.bridge(), paths.id(), last_pool(paths))?;
    let settings = settings(&network, paths.store()).to_string();
    atomic::write(&paths.settings(), settings.as_bytes(), WriteOptions::volatile(0o644))?;
    let title = format!("start a private Docker engine (data and log in {})", paths.home().display());
    let started =
        step::with(&title, || spawn(paths).and_then(|mut child| wait_for_answer(&mut child, paths)));
    if started.is_err() {
        // The first error is reported; the next start removes the remains.
        let _ = stop(paths);
    }
    started
}

/// The running daemon's process number.
#[must_use]
pub fn running(paths: &EnginePaths) -> Option<i32> {
    process::daemon(&paths.pid_file(), &paths.data())
}

/// True if the daemon answers on its socket.
#[must_use]
pub fn answers(paths: &EnginePaths) -> bool {
    ping(&paths.socket()).unwrap_or(false)
}

/// Waits for a daemon that another process has started.
pub fn wait_until_it_answers(paths: &EnginePaths) -> Result<()> {
    kit::wait::until(START_DEADLINE, "the private engine to answer", || answers(paths).then_some(()))
        .hint(|| format!("see {}; `cargo xtask engine down` ends it", paths.log().display()))
}

/// Stops the daemon and its containers, and removes its runtime files; returns true if anything ran.
pub fn stop(paths: &EnginePaths) -> Result<bool> {
    let pid = running(paths);
    if let Some(pid) = pid {
        terminate(pid, paths)?;
    }
    clear_runtime(paths)?;
    if packages::find("iptables").is_some() {
        network::tear_down(&paths.bridge(), last_pool(paths))?;
    }
    Ok(pid.is_some())
}

/// True if container runtimes run without their daemon, which was killed; a new daemon takes them over.
#[must_use]
pub fn has_orphans(paths: &EnginePaths) -> bool {
    running(paths).is_none() && process::has_orphans(&paths.exec_root())
}

fn terminate(pid: i32, paths: &EnginePaths) -> Result<()> {
    kill(Pid::from_raw(pid), Signal::SIGTERM).with_context(|| format!("cannot stop process {pid}"))?;
    let gone = || !process::is_daemon(&Process::new(pid).arguments(), &paths.data());
    kit::wait::until(STOP_DEADLINE, "the private engine to end", || gone().then_some(()))
        .hint(|| format!("see {}", paths.log().display()))?;
    let runtimes_gone = || !process::has_orphans(&paths.exec_root());
    kit::wait::until(STOP_DEADLINE, "the engine's containers to end", || runtimes_gone().then_some(()))
}

/// Removes the directory below `/run`, unless runtimes of a killed daemon still use it.
fn clear_runtime(paths: &EnginePaths) -> Result<()> {
    let runtime = paths.runtime();
    if process::has_orphans(&paths.exec_root()) {
        // The new daemon needs their state; with the old pid file it would refuse to start.
        let _ = fs::remove_file(paths.pid_file());
        return Ok(());
    }
    let mounts = kit::mounts::all().context("cannot read /proc/self/mountinfo")?;
    for directory in [&runtime, &paths.data()] {
        for point in process::mounts_below(&mounts, directory) {
            kit::cmd::run(Command::new("umount").arg("--lazy").arg(&point))?;
        }
    }
    let removed = missing_ok(fs::remove_dir_all(&runtime));
    removed.map(drop).with_context(|| format!("cannot remove {}", runtime.display()))
}

/// Removes the daemon's list of networks, so that it creates them again.
///
/// A daemon with address pools of its own that finds its former default network in its store deletes the interface
/// `docker0` on the way to a new one, although that belongs to the machine's own engine (moby, `configureNetworking`).
fn forget_networks(paths: &EnginePaths) -> Result<()> {
    if has_orphans(paths) {
        return Ok(());
    }
    let store = paths.data().join("network");
    let removed = missing_ok(fs::remove_dir_all(&store));
    removed.map(drop).with_context(|| format!("cannot remove {}", store.display()))
}

/// The daemon's settings, see dockerd(8).
fn settings(network: &Network, store: Store) -> serde_json::Value {
    serde_json::json!({
        "bridge": network.bridge,
        "default-address-pools": [{ "base": network.networks.pool.to_string(), "size": 24 }],
        "features": { "containerd-snapshotter": store == Store::Containerd },
        // Access to the socket gives root's rights; the group docker is for the machine's own engine.
        "group": "root",
        "ip": "127.0.0.1",
        "ip-forward": true,
        "ip6tables": false,
        "iptables": false,
        "mtu": network.mtu,
        "userland-proxy": true,
    })
}

/// The addresses of the networks that the last daemon made, from its settings.
fn last_pool(paths: &EnginePaths) -> Option<Subnet> {
    pool(&fs::read(paths.settings()).ok()?)
}

fn pool(settings: &[u8]) -> Option<Subnet> {
    let settings: serde_json::Value = serde_json::from_slice(settings).ok()?;
    settings.pointer("/default-address-pools/0/base")?.as_str()?.parse().ok()
}

/// Starts it in a new session, so that it survives this program and Ctrl-C in its terminal.
fn spawn(paths: &EnginePaths) -> Result<Child> {
    let (bin, sbin) = (paths.programs().join("usr/bin"), paths.programs().join("usr/sbin"));
    let proxy = [
        sbin.join("docker-proxy"),
        bin.join("docker-proxy"),
        paths.programs().join("usr/libexec/docker/docker-proxy"),
    ];
    let proxy = proxy.iter().find(|path| path.is_file()).context("the packages hold no docker-proxy")?;
    let path = packages::search_path(&[bin, sbin]);
    let dockerd = which::which_in_global("dockerd", Some(&path)).ok().and_then(|mut found| found.next());
    let dockerd = dockerd.context("the packages hold no dockerd")?;
    let log = File::create(paths.log()).with_context(|| format!("cannot write {}", paths.log().display()))?;
    let errors = log.try_clone().with_context(|| format!("cannot write {}", paths.log().display()))?;
    let mut command = Command::new("setsid");
    command
        .arg(dockerd)
        .arg("--data-root")
        .arg(paths.data())
        .arg("--exec-root")
        .arg(paths.exec_root())
        .arg("--pidfile")
        .arg(paths.pid_file())
        .arg("--host")
        .arg(paths.docker_host())
        .arg("--config-file")
        .arg(paths.settings())
        .arg("--userland-proxy-path")
        .arg(proxy)
        .env("PATH", path)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    command.spawn().with_context(|| format!("cannot run {}", kit::cmd::describe(&command)))
}

fn wait_for_answer(child: &mut Child, paths: &EnginePaths) -> Result<()> {
    let ended = |child: &mut Child| match child.try_wait() {
        Ok(None) => None,
        Ok(Some(status)) => {
            Some(anyhow!("the Docker daemon exited immediately ({status}): {}", log_end(&paths.log())))
        }
        Err(error) => Some(anyhow::Error::new(error).context("cannot wait for the Docker daemon")),
    };
    let outcome = kit::wait::until(START_DEADLINE, "the Docker daemon to answer", || {
        if answers(paths) { Some(Ok(())) } else { ended(child).map(Err) }
    });
    match outcome {
        Ok(answer) => answer,
        Err(late) => {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{late}: {}", log_end(&paths.log()))
        }
    }
}

/// Uses docker's HTTP API, which is faster than starting a client.
fn ping(socket: &Path) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PING_DEADLINE))?;
    stream.set_write_timeout(Some(PING_DEADLINE))?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

fn log_end(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    format!("{} ends with:\n{}", log.display(), lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"))
}

fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::super::subnet;
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    #[test]
    fn the_daemon_leaves_the_packet_filter_alone_and_publishes_on_loopback() {
        let networks = subnet::choose("00000003", &[]).unwrap();
        let network = Network { bridge: "leo00000003".into(), networks, mtu: 1400 };
        assert_eq!(
            settings(&network, Store::Overlay2),
            serde_json::json!({
                "bridge": "leo00000003", "default-address-pools": [{ "base": "10.64.56.0/21", "size": 24 }],
                "features": { "containerd-snapshotter": false }, "group": "root", "ip": "127.0.0.1", "ip-forward": true, "ip6tables": false, "iptables": false, "mtu": 1400,
                "userland-proxy": true
            })
        );
        assert_eq!(
            pool(settings(&network, Store::Containerd).to_string().as_bytes()),
            Some(networks.pool),
            "it is found again"
        );
    }

    #[test]
    fn only_an_ok_on_the_socket_is_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        assert!(ping(&socket).is_err(), "nobody listens");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            for status in ["200 OK", "503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).unwrap() > 0);
                write!(stream, "HTTP/1.1 {status}\r\n\r\n").unwrap();
            }
        });
        assert!(ping(&socket).unwrap());
        assert!(!ping(&socket).unwrap());
        server.join().unwrap();
    }
}
