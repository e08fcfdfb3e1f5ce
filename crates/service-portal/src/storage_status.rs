//! Summary of the storage monitor for the page of services.

use std::path::Path;

use serde::Serialize;
use storage_monitor::Status;

use crate::log_limit;

/// Maximum number of problems on the page; `storage-monitor status` prints all of them.
const MAX_LISTED: usize = 5;

/// Section of the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// Number of linked files.
    pub summary: String,
    /// Files and mappings that could not be linked.
    #[serde(rename = "complaints")]
    pub problems: Vec<String>,
}

/// Reads the status; `None` if the monitor has not run, or has neither links nor problems.
pub fn storage_status(path: &Path) -> Option<Storage> {
    let status = Status::read(path).unwrap_or_else(|error| {
        log_limit::error(&error);
        None
    });
    let status = status?;
    let mut problems = status.messages();
    if status.links + status.shipped + problems.len() == 0 {
        return None;
    }
    let more = problems.len().saturating_sub(MAX_LISTED);
    if more > 0 {
        problems.truncate(MAX_LISTED);
        problems.push(format!("{more} more: storage-monitor status"));
    }
    Some(Storage { summary: status.summary(), problems })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_links_and_the_first_problems_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("status.json");
        assert_eq!(storage_status(&file), None);
        Status::default().write(&file).unwrap();
        assert_eq!(storage_status(&file), None, "an empty status is not shown");
        let all: Vec<String> = (1..=7).map(|number| format!("problem {number}")).collect();
        Status { links: 2, problems: all.clone(), ..Status::default() }.write(&file).unwrap();
        let mut problems = all[..5].to_vec();
        problems.push("2 more: storage-monitor status".to_owned());
        let summary = "2 files linked into applications".to_owned();
        assert_eq!(storage_status(&file), Some(Storage { summary, problems }));
        std::fs::write(&file, "{").unwrap();
        assert_eq!(storage_status(&file), None);
    }
}
