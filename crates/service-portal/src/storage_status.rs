//! What the storage monitor has linked, in a few lines.

use std::path::Path;

use serde::Serialize;
use storage_monitor::Status;

use crate::log_limit;

/// More than these would hide the services; `storage-monitor status` has them all.
const SHOWN: usize = 5;

/// Lines for the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// How much is linked.
    pub summary: String,
    /// What could not be.
    pub complaints: Vec<String>,
}

/// Reads what the monitor says; nothing if it has not run, or has nothing to tell.
pub fn storage_status(path: &Path) -> Option<Storage> {
    let status = Status::read(path).unwrap_or_else(|error| {
        log_limit::error(&error);
        None
    });
    let status = status?;
    let mut complaints = status.messages();
    if status.links + status.shipped + complaints.len() == 0 {
        return None;
    }
    let more = complaints.len().saturating_sub(SHOWN);
    if more > 0 {
        complaints.truncate(SHOWN);
        complaints.push(format!("{more} more: storage-monitor status"));
    }
    Some(Storage { summary: status.summary(), complaints })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_how_much_is_linked_and_the_first_complaints() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("status.json");
        assert_eq!(storage_status(&file), None);
        Status::default().write(&file).unwrap();
        assert_eq!(storage_status(&file), None, "an image without applications says nothing");
        let problems: Vec<String> = (1..=7).map(|number| format!("problem {number}")).collect();
        Status { links: 2, problems: problems.clone(), ..Status::default() }.write(&file).unwrap();
        let mut complaints = problems[..5].to_vec();
        complaints.push("2 more: storage-monitor status".to_owned());
        let summary = "2 files linked into applications".to_owned();
        assert_eq!(storage_status(&file), Some(Storage { summary, complaints }));
        std::fs::write(&file, "{").unwrap();
        assert_eq!(storage_status(&file), None);
    }
}
