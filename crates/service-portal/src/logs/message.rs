//! Messages of the live protocol, the same over every transport: one JSON object each.

use std::collections::BTreeMap;

use serde::Serialize;

use super::row::LogRow;

#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Message {
    /// Rows in the order of their times. A known id replaces its row.
    Rows {
        rows: Vec<LogRow>,
        /// Where the logs continue after these rows.
        cursor: BTreeMap<String, String>,
    },
    /// Where the logs continue; the first message of every connection.
    Cursor { cursor: BTreeMap<String, String> },
    /// Lines that were too many to show; `None` where they were not even counted.
    Skipped { service: String, lines: Option<u64>, bytes: u64 },
    /// What happened to a log. With `restarted`, it has new content: later rows replace none of the earlier ones.
    Notice { service: String, text: String, restarted: bool },
    /// Another search runs, and this one waits for its end.
    Waiting,
    /// Progress of a search, in bytes.
    Progress { done: u64, total: u64 },
    /// End of a search.
    Done { from: BTreeMap<String, String>, to: BTreeMap<String, String>, at_start: bool },
    /// The request is refused; it must not be repeated.
    Error { message: String, field: &'static str },
    /// The visitor is logged out.
    End,
    /// Keeps proxies from closing the connection.
    Ping,
}

impl Message {
    pub fn to_json(&self) -> String {
        // No value here can fail to serialize: maps have text keys.
        serde_json::to_string(self).unwrap_or_default()
    }
}
