//! Links of the storage into applications.

use std::path::Path;

use anyhow::Result;
use storage_monitor::{STATUS_PATH, Status};

use crate::context::Context;
use crate::finding::Finding;

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    Ok(match Status::read(Path::new(STATUS_PATH)) {
        Ok(Some(status)) => findings(&status, status.is_running()),
        Ok(None) if context.is_booting() => vec![Finding::skip("the monitor has not run yet")],
        Ok(None) => vec![Finding::fail("the monitor has not run", START)],
        Err(error) => vec![Finding::fail(format!("{error:#}"), "supervisorctl restart storagemonitor")],
    })
}

const START: &str = "supervisorctl start storagemonitor";

fn findings(status: &Status, is_running: bool) -> Vec<Finding> {
    let mut findings = vec![if is_running {
        Finding::pass(status.summary())
    } else {
        Finding::fail("the monitor is not running", START)
    }];
    let messages = status.messages().into_iter();
    findings.extend(messages.map(|message| Finding::warn(message, "storage-monitor status")));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_that_does_not_run_is_a_fault_and_a_conflict_is_a_warning() {
        let status = Status { links: 2, conflicts: 1, conflict_list: vec!["c".into()], ..Status::default() };
        let conflict = Finding::warn("c", "storage-monitor status");
        assert_eq!(
            findings(&status, true),
            [Finding::pass("2 files linked into applications, 1 conflict"), conflict.clone()]
        );
        assert_eq!(findings(&status, false), [Finding::fail("the monitor is not running", START), conflict]);
    }
}
