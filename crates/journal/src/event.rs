//! The vocabulary of the journal.

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
    /// `init` has settled everything and hands over to supervisord.
    InitEnded {
        /// Duration in milliseconds.
        milliseconds: u64,
    },
    /// A setting could not be used as given.
    Problem {
        /// The setting's name.
        setting: String,
        /// Description of the mistake, and the value used instead.
        message: String,
    },
    /// Late boot begins; it may do so more than once between two starts of the container.
    BootStarted {
        /// The process that does it.
        pid: u32,
    },
    /// Late boot was asked to stop, and does; nothing restarts it automatically.
    BootStopped,
    /// A stage of late boot begins.
    StageStarted {
        /// The stage.
        stage: Stage,
    },
    /// A tree is being copied to the workspace.
    SyncProgress {
        /// Its name below `/opt`.
        tree: String,
        /// Entries that are done.
        entries: u64,
        /// Entries in all.
        entries_total: u64,
        /// Bytes that are done.
        bytes: u64,
        /// Bytes in all.
        bytes_total: u64,
        /// The rate since the copy began.
        bytes_per_second: u64,
        /// Estimated time left at that rate, if it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds_left: Option<u64>,
    },
    /// Something about a synced tree that the user should know, and that is no failure.
    SyncNote {
        /// Its name below `/opt`.
        tree: String,
        /// A sentence without its full stop.
        message: String,
        /// True if it is why the tree is not on the workspace: the next such note replaces it, and the switch removes it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pending: bool,
    },
    /// A tree of which a pending note was written is used from the workspace.
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

/// The stages of late boot. Sync and permissions run beside the others, which come one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Synced trees are on the workspace.
    Sync,
    /// Owners, modes and access lists are right.
    Permissions,
    /// Hooks of extended images have run.
    Preflight,
    /// The user's own script has run.
    Provisioning,
    /// Programs of extended images have been started.
    Programs,
    /// Every stage but sync and permissions has ended.
    Ready,
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
    /// Everything asked for was done.
    Done,
    /// Nothing was asked for.
    Skipped,
    /// Something asked for was not done.
    Failed,
}
