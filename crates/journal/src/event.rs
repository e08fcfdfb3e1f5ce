//! Events of the journal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Seconds since the Unix epoch.
    pub at: f64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// Events of a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// `init` is done and becomes supervisord.
    InitEnded {
        /// Duration in milliseconds.
        milliseconds: u64,
    },
    /// A setting cannot be used as given.
    Problem {
        /// The setting's name.
        setting: String,
        /// Description of the mistake, and the value used instead.
        message: String,
    },
    /// Late boot starts, possibly more than once between two starts of the container.
    BootStarted {
        /// Process id of late boot.
        pid: u32,
    },
    /// Late boot was asked to stop, and does; nothing restarts it automatically.
    BootStopped,
    /// A stage of late boot starts.
    StageStarted {
        /// The stage.
        stage: Stage,
    },
    /// A tree is being copied to the workspace.
    SyncProgress {
        /// Name of the tree below `/opt`.
        tree: String,
        /// Number of entries copied.
        entries: u64,
        /// Total number of entries.
        entries_total: u64,
        /// Number of bytes copied.
        bytes: u64,
        /// Total number of bytes.
        bytes_total: u64,
        /// Average rate since the copy started.
        bytes_per_second: u64,
        /// Estimated time left at that rate, if it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds_left: Option<u64>,
    },
    /// A note about a synced tree that is not a failure.
    SyncNote {
        /// Its name below `/opt`.
        tree: String,
        /// A sentence without its full stop.
        message: String,
        /// True if it explains why the tree is not used from the workspace: the next such note replaces it, and the
        /// switch removes it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pending: bool,
    },
    /// A tree with a pending note is used from the workspace now.
    SyncSwitched {
        /// Its name below `/opt`.
        tree: String,
    },
    /// Current activity of a stage.
    StageNote {
        /// The stage.
        stage: Stage,
        /// A line without its full stop.
        message: String,
    },
    /// A stage of late boot has ended.
    StageEnded {
        /// The stage.
        stage: Stage,
        /// Result of the stage.
        result: StageResult,
        /// Cause of a failure, or a remark on a success.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        /// Next step for the user.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// The stages of late boot. Sync and permissions run beside the others, which run one after another. Comments and names
/// of the variants are help of `boot wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Synced trees are used from the workspace.
    Sync,
    /// Owners, modes and ACLs are correct.
    Permissions,
    /// Preflight hooks have run.
    Preflight,
    /// The provisioning script has run.
    Provisioning,
    /// Programs of the extended image are started.
    Programs,
    /// All stages but sync and permissions have ended.
    Ready,
}

impl Stage {
    /// Returns the name of its log.
    #[must_use]
    pub fn log(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Permissions => "config",
            Self::Preflight => "preflight",
            Self::Provisioning => "provisioning",
            Self::Programs | Self::Ready => "boot",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sync => "sync",
            Self::Permissions => "permissions",
            Self::Preflight => "preflight",
            Self::Provisioning => "provisioning",
            Self::Programs => "programs",
            Self::Ready => "ready",
        })
    }
}

/// Result of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageResult {
    /// Everything requested was done.
    Done,
    /// Nothing was requested.
    Skipped,
    /// Something requested was not done.
    Failed,
}
