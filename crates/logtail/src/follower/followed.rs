//! A log that is followed.

use log_history::file_name;

use crate::entry;
use crate::log_reader::LogReader;

/// Number of the directory, and name of the log.
pub type LogKey = (usize, String);

pub struct Followed {
    pub label: String,
    pub stream: LogReader,
    /// Error of the last read.
    pub trouble: Option<String>,
}

impl Followed {
    pub fn new(stream: LogReader) -> Self {
        let service = file_name::service_name(stream.name()).unwrap_or(stream.name());
        Self { label: entry::sanitize_label(service), stream, trouble: None }
    }
}
