//! Logs of a portal under test, and requests about them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::fixture::Portal;

/// Words of a request by the script of the log page.
pub const SCRIPT: &str = "portal own session content-type=application/json POST";

/// Portal with a directory of logs.
pub struct LogPortal(pub Portal);

impl LogPortal {
    pub fn new() -> Self {
        Self::with(&[])
    }

    pub fn with(variables: &[(&str, &str)]) -> Self {
        let portal = Portal::with(variables);
        fs::create_dir_all(portal.directory.path().join("logs/var/log/supervisor")).unwrap();
        Self(portal)
    }

    /// Returns the path of a program's log file.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.directory.path().join("logs/var/log/supervisor").join(file)
    }

    /// Appends to a program's log file.
    pub fn append(&self, file: &str, text: impl AsRef<[u8]>) {
        let mut log: File = OpenOptions::new().create(true).append(true).open(self.path(file)).unwrap();
        log.write_all(text.as_ref()).unwrap();
    }

    /// Sends a request of the script; returns the messages of the response, one for each line.
    pub fn post(&self, path: &str, body: &Value) -> Vec<Value> {
        let response = self.0.send(&format!("{SCRIPT} /leonardo/logs/{path}"), &body.to_string());
        response.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Requests a page of lines.
    pub fn page(&self, body: &Value) -> Value {
        self.post("history", body).remove(0)
    }

    /// Requests what is new since a cursor, which then continues behind it.
    pub fn poll(&self, cursor: &mut Value, filter: &str) -> Vec<Value> {
        let messages = self.post("poll", &json!({ "filter": filter, "cursor": cursor }));
        for message in &messages {
            if let Some(next) = message.get("cursor") {
                *cursor = next.clone();
            }
        }
        messages
    }
}

/// Returns the texts of rows, in the order of `rows` of a page or a message.
pub fn texts(rows: &Value) -> Vec<String> {
    let spans = |row: &Value| {
        let spans = row["spans"].as_array().unwrap().iter();
        spans.map(|span| span["text"].as_str().unwrap()).collect::<String>()
    };
    rows["rows"].as_array().map_or_else(Vec::new, |rows| rows.iter().map(spans).collect())
}

/// Returns the texts of all rows of messages.
pub fn all_texts(messages: &[Value]) -> Vec<String> {
    messages.iter().flat_map(texts).collect()
}
