//! Directories and a tunnel-run for one test.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use kit::process::Process;
use kit::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;
use tunnels::{Cause, Kind, State, Status, Tunnel};

/// Divisor of all times, of both programs.
const SPEED: u32 = 20;
/// Account of Caddy: `daemon`.
pub const PROXY: u32 = 1;
static STAND_IN: OnceLock<PathBuf> = OnceLock::new();
const DEADLINE: Duration = Duration::from_mins(2);

/// A running tunnel-run; everything is removed with it.
pub struct World {
    top: TempDir,
    kind: Kind,
    pub running: Option<Child>,
}

impl World {
    /// Starts `tunnel-run quick` with a stand-in in a mode.
    pub fn quick(mode: &str) -> Self {
        Self::new(Kind::Quick, mode).started(&[])
    }

    /// Creates the directories.
    pub fn new(kind: Kind, mode: &str) -> Self {
        let top = tempfile::tempdir().unwrap();
        let world = Self { top, kind, running: None };
        fs::set_permissions(world.path(""), Permissions::from_mode(0o755)).unwrap();
        for directory in ["registry", "run", "logs", "net", "stand-in"] {
            fs::create_dir(world.path(directory)).unwrap();
        }
        // The account of cloudflared counts its starts there.
        fs::set_permissions(world.path("stand-in"), Permissions::from_mode(0o777)).unwrap();
        fs::write(world.path("config.yml"), "no-autoupdate: true\n").unwrap();
        world.set_mode(mode);
        world.listen(1111, PROXY);
        fs::copy(STAND_IN.get_or_init(cloudflared_stand_in::build), world.program()).unwrap();
        world
    }

    /// Starts tunnel-run with variables.
    pub fn started(mut self, variables: &[(&str, &str)]) -> Self {
        self.start(variables);
        self
    }

    pub fn start(&mut self, variables: &[(&str, &str)]) {
        let log = File::options().append(true).create(true).open(self.path("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tunnel-run"));
        command.env_clear().env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
        for (option, path) in [
            ("--registry", "registry"),
            ("--status", "run"),
            ("--logs", "logs"),
            ("--config", "config.yml"),
            ("--token", "token"),
            ("--sockets", "net"),
            ("--program", "stand-in/cloudflared"),
        ] {
            command.arg(option).arg(self.path(path));
        }
        command.args([
            "--account",
            "nobody",
            "--proxy-account",
            "daemon",
            "--time-divisor",
            &SPEED.to_string(),
        ]);
        command.arg(if self.kind == Kind::Quick { "quick" } else { "named" });
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.running = Some(child.unwrap());
    }

    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.top.path().join(path)
    }

    pub fn program(&self) -> PathBuf {
        self.path("stand-in/cloudflared")
    }

    pub fn set_mode(&self, mode: &str) {
        let new = self.path("stand-in/mode.new");
        fs::write(&new, format!("speed={SPEED}\n{mode}\n")).unwrap();
        fs::rename(new, self.path("stand-in/mode")).unwrap();
    }

    /// Registers a service, as programs of the group do.
    pub fn register(&self, port: u16, is_secure: bool) {
        let name = if port == 8188 { "ComfyUI".to_owned() } else { format!("Service {port}") };
        let listen = port + 10_000;
        let service = json!({"service_name": name, "listen_port": listen, "proxy_port": port, "proxy_secure": is_secure});
        let new = self.path(format!("registry/.{port}"));
        fs::write(&new, service.to_string()).unwrap();
        self.listen(port, PROXY);
        fs::rename(new, self.path(format!("registry/{port}"))).unwrap();
    }

    /// Changes the kernel's table: this account alone listens on a port.
    pub fn listen(&self, port: u16, uid: u32) {
        let table = self.path("net/tcp");
        let local = format!("0: 00000000:{port:04X} ");
        let others = fs::read_to_string(&table).unwrap_or_default();
        let mut lines: Vec<&str> = others.lines().filter(|line| !line.starts_with(&local)).collect();
        let own = format!("{local}00000000:0000 0A 0:0 00:0 0 {uid} 0 1 1");
        lines.push(&own);
        fs::write(table.with_extension("new"), lines.join("\n")).unwrap();
        fs::rename(table.with_extension("new"), table).unwrap();
    }

    pub fn unregister(&self, port: u16) {
        fs::remove_file(self.path(format!("registry/{port}"))).unwrap();
    }

    /// Returns the messages of tunnel-run.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn tunnel_log(&self, port: u16) -> String {
        fs::read_to_string(self.path(format!("logs/quicktunnel-{port}.log"))).unwrap_or_default()
    }

    /// Returns the arguments of every start of the stand-in, after its process number.
    pub fn starts(&self) -> Vec<String> {
        let starts = fs::read_to_string(self.path("stand-in/starts.log")).unwrap_or_default();
        starts.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    pub fn status(&self) -> Status {
        Status::read(self.kind, &self.path("run")).unwrap_or_default()
    }

    pub fn tunnel(&self, port: u16) -> Option<Tunnel> {
        self.status().tunnels.into_iter().find(|tunnel| tunnel.port == port)
    }

    /// Waits for a condition; an error shows log and status.
    #[track_caller]
    pub fn until<T>(&self, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        match wait::until(DEADLINE, what, ask) {
            Ok(answer) => answer,
            Err(error) => panic!("{error}\n{:#?}\n{}\n{:#?}", self.status(), self.log(), self.starts()),
        }
    }

    /// Waits until a tunnel is in a state.
    #[track_caller]
    pub fn until_state(&self, port: u16, state: State) -> Tunnel {
        self.until(&format!("port {port} {state:?}"), || {
            self.tunnel(port).filter(|tunnel| tunnel.state == state)
        })
    }

    /// Waits until the portal's tunnel has a cause in the status.
    #[track_caller]
    pub fn until_cause(&self, cause: Cause) -> Tunnel {
        self.until(&format!("{cause:?}"), || self.tunnel(1111).filter(|tunnel| tunnel.cause == Some(cause)))
    }

    /// Waits for a text in the messages.
    #[track_caller]
    pub fn until_logged(&self, text: &str) {
        self.until(text, || self.log().contains(text).then_some(()));
    }

    /// Returns the running stand-ins.
    pub fn children(&self) -> Vec<Process> {
        let program = self.program();
        Process::all()
            .into_iter()
            .filter(|process| process.program().is_ok_and(|own| own == program))
            .collect()
    }

    pub fn id(&self) -> u32 {
        self.running.as_ref().unwrap().id()
    }

    /// Sends a signal to tunnel-run, and waits for its exit.
    #[track_caller]
    pub fn end(&mut self, signal: Signal) {
        let mut child = self.running.take().unwrap();
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        self.until("tunnel-run to exit", || child.try_wait().unwrap());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            // Its children are killed with it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
