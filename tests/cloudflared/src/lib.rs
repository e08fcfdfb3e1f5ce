//! Stand-in for cloudflared 2026.8.2 in tests: its command line, logs and metrics, without a network.
//!
//! Texts, order and exit codes follow the source of cloudflared at d1df798. The environment of cloudflared is empty, so the
//! stand-in is controlled by files beside its binary: `mode` (see [`mode`]) selects the behaviour of each start,
//! `config.json` is the configuration of a named tunnel, and a line `PID PORT ARGUMENTS` is appended to `starts.log` for
//! each start (`named` in place of the port for a named tunnel).

mod arguments;
mod log;
mod metrics;
pub mod mode;
mod token;
mod tunnel;

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use arguments::{Arguments, Request};
use mode::Mode;

/// Version of the imitated cloudflared.
pub const VERSION: &str = "2026.8.2";
/// Status of a usage error, and of a token that is not one.
pub const USAGE: u8 = 255;

/// Behaves as cloudflared would with this process's arguments and environment; returns the exit status.
#[must_use]
pub fn run() -> u8 {
    let words: Vec<String> = env::args().skip(1).collect();
    match arguments::parse(&words) {
        Ok(Request::Version { short: true }) => {
            // A stand-in whose output is lost fails the test anyway.
            let _ = writeln!(std::io::stdout(), "{VERSION}");
            0
        }
        Ok(Request::Version { short: false }) => {
            let _ = writeln!(std::io::stdout(), "cloudflared version {VERSION} (built 2026-08-20-1200 UTC)");
            0
        }
        Ok(Request::Tunnel(arguments)) => start(&arguments, &words),
        Err(message) => {
            log::bare(&message);
            USAGE
        }
    }
}

fn start(arguments: &Arguments, words: &[String]) -> u8 {
    let directory = directory();
    let who = arguments.port().map_or_else(|| "named".to_owned(), |port| port.to_string());
    let earlier = fs::read_to_string(directory.join("starts.log")).unwrap_or_default();
    let number = earlier.lines().filter(|line| line.split(' ').nth(1) == Some(&who)).count();
    let line = format!("{} {who} {}\n", process::id(), words.join(" "));
    let opened = OpenOptions::new().append(true).create(true).open(directory.join("starts.log"));
    if let Err(error) = opened.and_then(|mut file| file.write_all(line.as_bytes())) {
        log::bare(&format!("the stand-in cannot write starts.log: {error}"));
        return 99;
    }
    let modes = fs::read_to_string(directory.join("mode")).unwrap_or_default();
    match Mode::select(&modes, &who, number) {
        Ok((mode, speed)) => tunnel::run(arguments, mode, speed, &directory),
        Err(message) => {
            log::bare(&format!("the stand-in's mode: {message}"));
            99
        }
    }
}

fn directory() -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    own.parent().unwrap_or(Path::new("/")).to_owned()
}

/// Builds the stand-in as a static program, which runs in every image, and returns its path. cargo's lock lets other tests
/// wait for the first one.
///
/// # Panics
///
/// If it cannot be built.
#[must_use]
pub fn build() -> PathBuf {
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let directory = root.join("target/stand-in");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&root).env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=symbols");
    cargo.args(["build", "--quiet", "--locked", "--package", "cloudflared-stand-in", "--target", &target]);
    let built = cargo.arg("--target-dir").arg(&directory).status();
    assert!(built.is_ok_and(|status| status.success()), "cargo cannot build the stand-in for cloudflared");
    directory.join(target).join("debug/cloudflared-stand-in")
}
