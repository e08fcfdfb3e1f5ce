//! One log that is followed.

use crate::log_reader::LogReader;
use crate::{entry, file_name};

/// A log by the number of its directory and the name of its base.
pub type Key = (usize, String);

pub struct Followed {
    pub label: String,
    pub stream: LogReader,
    /// Why it could not be read the last time.
    pub trouble: Option<String>,
}

impl Followed {
    pub fn new(stream: LogReader) -> Self {
        let service = file_name::service_name(stream.name()).unwrap_or(stream.name());
        Self { label: entry::sanitize_label(service), stream, trouble: None }
    }
}
