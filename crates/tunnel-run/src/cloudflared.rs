//! One running cloudflared.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::cli::Cli;
use crate::metrics::Metrics;
use crate::output_log::{self, Destination, OutputLog};

/// Paths of cloudflared; the user's own comes first. Never by `PATH`, where the stub is.
const PROGRAMS: [&str; 3] =
    ["/usr/local/bin/cloudflared", "/opt/leonardo/bin/cloudflared", "/usr/bin/cloudflared"];
/// Directory of its account; it needs no home.
const HOME: &str = "/run/cloudflared";
/// Time for the output of an exited process, which something that it started may hold open.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the path of cloudflared, if it is installed.
pub fn find_program(cli: &Cli) -> Option<PathBuf> {
    let own = cli.program.clone().into_iter();
    let usual = PROGRAMS.iter().filter(|_| cli.program.is_none()).map(PathBuf::from);
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    own.chain(usual).find(is_program)
}

/// Tunnel that a cloudflared opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A quick tunnel to a port of Caddy.
    Quick {
        /// Public port of the service.
        port: u16,
        /// True if the port uses https.
        is_https: bool,
    },
    /// The tunnel of the token.
    Named,
}

impl Target {
    /// Returns cloudflared's arguments. The addresses are Caddy's, never those of a service, which would need no login.
    fn arguments(self, use_http2: bool, config: &Path, metrics: Metrics) -> Vec<OsString> {
        let words = |text: String| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let mut arguments = words("tunnel --config".to_owned());
        arguments.push(config.into());
        let protocol = if use_http2 { "http2" } else { "auto" };
        // The first QUIC connection that times out selects HTTP/2, in six seconds instead of four minutes.
        let common = format!(
            "--no-autoupdate --grace-period 1s --metrics 127.0.0.1:{} --protocol {protocol} --max-edge-addr-retries 0 \
             --edge-ip-version auto",
            metrics.0
        );
        arguments.extend(words(common));
        arguments.extend(words(match self {
            Self::Named => "run".to_owned(),
            // Caddy would answer http with a redirect; its certificate is for other names.
            Self::Quick { port, is_https: true } => format!("--no-tls-verify --url https://127.0.0.1:{port}"),
            Self::Quick { port, is_https: false } => format!("--url http://127.0.0.1:{port}"),
        }));
        arguments
    }
}

/// A cloudflared with its metrics and log.
#[derive(Debug)]
pub struct Cloudflared {
    child: Child,
    reader: JoinHandle<()>,
    log: Arc<Mutex<OutputLog>>,
    /// Its metrics server.
    pub metrics: Metrics,
    /// True if it uses HTTP/2 only after UDP has failed.
    pub has_tried_udp: bool,
    exit: Option<(ExitStatus, Instant)>,
}

impl Cloudflared {
    /// Starts it as its account, without any variable of the container. Must be called by the main thread, with whose end
    /// the kernel kills it. `use_http2` is true if UDP is known to be blocked.
    pub fn start(
        cli: &Cli,
        program: &Path,
        target: Target,
        use_http2: bool,
        metrics_port: Option<u16>,
        destination: Destination,
    ) -> io::Result<Self> {
        let metrics = Metrics::on_free_port(metrics_port)?;
        // This very program, even if its file was replaced.
        let mut command = Command::new("/proc/self/exe");
        command.arg("--account").arg(&cli.account).arg("child").arg(process::id().to_string()).arg("--");
        command.arg(program).args(target.arguments(use_http2, &cli.config, metrics));
        command.env_clear().env("HOME", HOME).current_dir("/").process_group(0);
        if target == Target::Named {
            command.env("TUNNEL_TOKEN_FILE", &cli.token);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let output = child.stderr.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let log = Arc::new(Mutex::new(OutputLog::new(destination)));
        let shared = Arc::clone(&log);
        let reader = thread::Builder::new().spawn(move || output_log::copy(output, &shared))?;
        Ok(Self { child, reader, log, metrics, has_tried_udp: !use_http2, exit: None })
    }

    /// Returns its log and what was found there.
    pub fn log(&self) -> MutexGuard<'_, OutputLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns its exit status once it has exited and its output is read.
    pub fn exit(&mut self, now: Instant) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().ok().flatten().map(|status| (status, now));
        }
        let (status, at) = self.exit?;
        (self.reader.is_finished() || now - at > OUTPUT_TIMEOUT).then_some(status)
    }

    /// Sends a signal to it and what it has started.
    pub fn signal(&self, signal: Signal) {
        if self.exit.is_none()
            && let Ok(id) = i32::try_from(self.child.id())
            && let Err(error) = killpg(Pid::from_raw(id), signal)
        {
            log::debug!("cannot signal cloudflared: {error}");
        }
    }
}

/// Describes an exit, as in "cloudflared exited with status 1: LAST LINE".
pub fn describe_exit(status: ExitStatus, last_line: &str) -> String {
    const MAX_CHARACTERS: usize = 200;
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, signal) => format!("was terminated by signal {}", signal.unwrap_or_default()),
    };
    let line: String =
        kit::quote::escape_control_line(last_line.trim()).chars().take(MAX_CHARACTERS).collect();
    if line.is_empty() { how } else { format!("{how}: {line}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_lead_to_caddy_and_keep_the_users_configuration_out() {
        let arguments = |target: Target, use_http2| {
            let words = target.arguments(use_http2, Path::new("/c"), Metrics(7));
            words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let quick = arguments(Target::Quick { port: 8188, is_https: false }, false);
        let common = "tunnel --config /c --no-autoupdate --grace-period 1s --metrics 127.0.0.1:7 --protocol auto \
                      --max-edge-addr-retries 0 --edge-ip-version auto";
        assert_eq!(quick, format!("{common} --url http://127.0.0.1:8188"));
        assert_eq!(arguments(Target::Named, false), format!("{common} run"));
        let https = arguments(Target::Quick { port: 8188, is_https: true }, true);
        assert!(https.ends_with(" --no-tls-verify --url https://127.0.0.1:8188"), "{https}");
        assert!(https.contains(" --protocol http2 "), "{https}");
    }

    #[test]
    fn an_exit_is_described_by_its_status_and_the_last_line() {
        let status = ExitStatus::from_raw;
        assert_eq!(describe_exit(status(1 << 8), " a\x1b[2J\n"), "exited with status 1: a\\u{1b}[2J");
        assert_eq!(describe_exit(status(9), ""), "was terminated by signal 9");
        assert_eq!(
            describe_exit(status(0), &"ä".repeat(500)).chars().count(),
            "exited with status 0: ".len() + 200
        );
    }
}
