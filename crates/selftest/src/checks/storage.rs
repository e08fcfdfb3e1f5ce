//! Links of the storage into applications.

use std::path::Path;

use anyhow::Result;
use storage_monitor::{STATUS_PATH, Status};

use crate::context::Context;
use crate::finding::{Finding, show_log};

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
    findings.extend(messages.map(|message| {
        let remedy = remedy(&message);
        Finding::warn(message, remedy)
    }));
    findings
}

/// Returns what to do about a conflict, a directory that is pending, or another problem.
fn remedy(message: &str) -> String {
    if let Some((path, _)) = message.split_once(" already exists and is not a link to ") {
        return format!("keep one of the two files: rename or remove {path}");
    }
    if message.contains(" links to ") {
        return "rename one of the two files in the storage".to_owned();
    }
    if let Some((directory, _)) = message.split_once(" is pending: ") {
        return format!("create {directory}, or correct /opt/leonardo/storage_monitor/etc/mappings.sh");
    }
    let command = message.rsplit_once("run: ").map(|(_, command)| command.to_owned());
    command.unwrap_or_else(|| show_log("storagemonitor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_that_does_not_run_is_a_fault_and_a_conflict_is_a_warning() {
        let message = "\"/a/x\" already exists and is not a link to \"/w/x\"";
        let status =
            Status { links: 2, conflicts: 1, conflict_list: vec![message.into()], ..Status::default() };
        let conflict = Finding::warn(message, "keep one of the two files: rename or remove \"/a/x\"");
        assert_eq!(
            findings(&status, true),
            [Finding::pass("2 files linked into applications, 1 conflict"), conflict.clone()]
        );
        assert_eq!(findings(&status, false), [Finding::fail("the monitor is not running", START), conflict]);
    }

    #[test]
    fn each_message_has_a_remedy_of_its_kind() {
        for (message, expected) in [
            ("\"/a/x\" links to \"/w/1/x\", not to \"/w/2/x\"", "rename one of the two files in the storage"),
            (
                "/opt/app is pending: it does not exist",
                "create /opt/app, or correct /opt/leonardo/storage_monitor/etc/mappings.sh",
            ),
            ("others can write to m; run: sudo chown root m", "sudo chown root m"),
            ("cannot read /w", "logtail storagemonitor -n 50 --no-follow"),
        ] {
            assert_eq!(remedy(message), expected);
        }
    }
}
