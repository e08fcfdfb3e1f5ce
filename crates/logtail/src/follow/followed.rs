//! One log that is followed.

use crate::stream::Stream;
use crate::{entry, names};

/// A log by the number of its directory and the name of its base.
pub type Key = (usize, String);

pub struct Followed {
    pub label: String,
    pub stream: Stream,
    /// Why it could not be read the last time.
    pub trouble: Option<String>,
}

impl Followed {
    pub fn new(stream: Stream) -> Self {
        let service = names::service(stream.name()).unwrap_or(stream.name());
        Self { label: entry::label(service), stream, trouble: None }
    }
}
