//! The status files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};
use serde::{Deserialize, Serialize};

use crate::Cause;

/// Limit of a file in bytes; the largest has a hundred hostnames.
const INPUT: ReadPolicy = ReadPolicy::max_size(256 * 1024).no_follow();

/// A kind of tunnel; each has its own program and status file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A tunnel without an account, to one port, with a hostname of Cloudflare's choice.
    Quick,
    /// The tunnel of `CF_TUNNEL_TOKEN`, with the hostnames of its configuration.
    Named,
}

impl Kind {
    /// Returns supervisord's name of the program, which is also the stem of the file's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Quick => "quicktunnel",
            Self::Named => "cloudflared",
        }
    }

    /// Returns the path of the status file below `directory`.
    #[must_use]
    pub fn file(self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.json", self.program()))
    }
}

/// State of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is being opened.
    Opening,
    /// Visitors can use it.
    Open,
    /// Its connection was lost, and may come back.
    Lost,
    /// The next attempt is at `retry_at`.
    Waiting,
    /// It is not opened, for its cause.
    Off,
}

/// One tunnel: of a public port, or of a hostname that leads to one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Public port in the container.
    pub port: u16,
    /// Its state.
    pub state: State,
    /// `https://HOST`, also while the connection is lost.
    pub url: Option<String>,
    /// Cause of the last failure, until the tunnel is open.
    pub cause: Option<Cause>,
    /// Text for the cause's message; without control characters.
    pub detail: Option<String>,
    /// Time of the next attempt, in seconds since the Unix epoch.
    pub retry_at: Option<u64>,
}

/// Content of a status file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// True while the named tunnel has not connected, so that its hostnames are unknown.
    pub is_opening: bool,
    /// Cause for which there are no tunnels at all.
    pub cause: Option<Cause>,
    /// Text for the cause's message; without control characters.
    pub detail: Option<String>,
    /// In the order of their ports.
    pub tunnels: Vec<Tunnel>,
}

impl Status {
    /// Replaces the file below `directory`, readable for all users.
    pub fn write(&self, kind: Kind, directory: &Path) -> Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        atomic::write(&kind.file(directory), &text, WriteOptions::volatile(0o644))
    }

    /// Reads the file below `directory`; `None` if it is missing or damaged.
    #[must_use]
    pub fn read(kind: Kind, directory: &Path) -> Option<Self> {
        serde_json::from_slice(&INPUT.read(&kind.file(directory)).ok()?).ok()
    }
}
