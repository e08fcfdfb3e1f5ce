//! Requests and responses on the socket: one line of JSON each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Path of the socket, which the portal's account and root can use.
pub const SOCKET: &str = "/run/process-control/control.sock";

/// Change of a program's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Start a program that does not run.
    Start,
    /// Stop a running program.
    Stop,
    /// Stop a program if it runs, then start it.
    Restart,
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        })
    }
}

/// The only requests: nothing else of supervisord can be reached.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Request {
    /// All programs.
    List {},
    /// Starts programs.
    Start(Target),
    /// Stops programs.
    Stop(Target),
    /// Restarts programs.
    Restart(Target),
    /// Runs the self-test.
    Selftest {},
}

/// Programs to act on, for whom.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// Name of a program, or `GROUP:*`.
    pub name: String,
    /// Person or program that asked for it, for the log.
    pub requester: String,
}

/// Response to any request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Response {
    /// To [`Request::List`].
    Programs(Vec<Program>),
    /// To an action.
    Outcome(Outcome),
    /// To [`Request::Selftest`]: what `selftest --json` prints.
    Selftest(serde_json::Value),
    /// The request was not carried out.
    Refusal(Refusal),
}

/// A program of supervisord.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Name as `supervisorctl` has it: `NAME`, or `GROUP:NAME` in a group of another name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// State name of supervisord: `RUNNING`, `STARTING`, `STOPPED`, `STOPPING`, `BACKOFF`, `EXITED`, `FATAL` or `UNKNOWN`.
    pub state: String,
    /// Process that supervisord started.
    pub pid: Option<u32>,
    /// Last start, in seconds since the Unix epoch.
    pub started_at: Option<u64>,
    /// Seconds since its start, while it runs.
    pub uptime: Option<u64>,
    /// Processor time of all its processes since an earlier request, in percent of one core; missing without such a request.
    pub cpu_percent: Option<f64>,
    /// Memory of all its processes in bytes; what they share counts once.
    pub memory_bytes: Option<u64>,
    /// Number of its processes.
    pub processes: Option<u32>,
    /// Number of times that supervisord started it again by itself.
    pub restarts: u32,
    /// Its last exit or failed start.
    pub last_exit: Option<Exit>,
    /// Path of its log.
    pub log: Option<String>,
    /// False if it must not be stopped; `protection` says why.
    pub can_stop: bool,
    /// False if it cannot be restarted either.
    pub can_restart: bool,
    /// Reason why it cannot be stopped.
    pub protection: Option<String>,
    /// Consequence of a stop or restart that the user should confirm.
    pub caution: Option<String>,
    /// Action in progress.
    pub action: Option<Action>,
    /// Purpose of a program of the base image.
    pub description: Option<String>,
}

/// End of a program's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// Time, in seconds since the Unix epoch.
    pub at: f64,
    /// How and why it ended, such as `exit code 3`.
    pub sentence: String,
    /// True if it ended as requested or expected.
    pub expected: bool,
    /// Path of the log with its last messages.
    pub log: Option<String>,
    /// Size of that log at that time, in bytes.
    pub log_size: u64,
}

/// Result of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// True if every program is in the requested state.
    pub ok: bool,
    /// False if the action continues: a program may need long to stop.
    pub finished: bool,
    /// One sentence for people, such as `caddy is running with pid 57`.
    pub message: String,
    /// The programs after the action.
    pub programs: Vec<Program>,
}

/// Kind of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// No program has this name.
    Unknown,
    /// The program must not be stopped or restarted.
    Protected,
    /// Another action on the program is in progress, or it is in the requested state.
    Conflict,
    /// `process-control` or supervisord does not answer.
    Unavailable,
    /// Malformed request.
    Invalid,
}

/// Reason why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its kind.
    pub kind: RefusalKind,
    /// Message for people.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_is_closed() {
        let parse = |text: &str| serde_json::from_str::<Request>(text).ok();
        assert_eq!(parse(r#"{"request":"list"}"#), Some(Request::List {}));
        let target = || Target { name: "a:*".into(), requester: "ada".into() };
        assert_eq!(
            parse(r#"{"request":"restart","name":"a:*","requester":"ada"}"#),
            Some(Request::Restart(target()))
        );
        for refused in [
            "",
            "[]",
            "null",
            r#""list""#,
            r#"{"request":"shutdown"}"#,
            r#"{"request":"List"}"#,
            r#"{"request":"list","name":"a"}"#,
            r#"{"request":"stop","name":"a"}"#,
            r#"{"request":"stop","name":["a"],"requester":"x"}"#,
            r#"{"request":"stop","name":"a","requester":"x","signal":9}"#,
            r#"{"request":"signal","name":"a","requester":"x"}"#,
            r#"{"request":"list"}{"request":"list"}"#,
        ] {
            assert_eq!(parse(refused), None, "{refused}");
        }
    }
}
