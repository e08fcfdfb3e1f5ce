//! The log of all logs.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::Result;

use crate::context::Context;
use crate::finding::Finding;

const LOG: &str = "/var/log/logtail.log";
const REMEDY: &str = "supervisorctl restart logtail";

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let began = context.timeline.as_ref().and_then(|timeline| timeline.began);
    let written = fs::metadata(LOG).ok().map(|meta| meta.mtime());
    Ok(vec![finding(began, written)])
}

/// Decides by the start and the last line, both in seconds since the Unix epoch.
fn finding(began: Option<f64>, written: Option<i64>) -> Finding {
    #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970 fit")]
    let began = began.map(|began| began as i64);
    match (began, written) {
        (_, None) => Finding::fail(format!("{LOG} is missing"), REMEDY),
        (None, _) => Finding::skip("init has not ended"),
        (Some(began), Some(written)) if written < began => {
            Finding::fail(format!("{LOG} has no line of this start"), REMEDY)
        }
        _ => Finding::pass("collected in /var/log/logtail.log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_without_a_line_of_this_start_is_a_fault() {
        for (began, written, expected) in [
            (Some(10.9), None, Finding::fail("/var/log/logtail.log is missing", REMEDY)),
            (None, Some(1), Finding::skip("init has not ended")),
            (Some(10.9), Some(9), Finding::fail("/var/log/logtail.log has no line of this start", REMEDY)),
            (Some(10.9), Some(10), Finding::pass("collected in /var/log/logtail.log")),
        ] {
            assert_eq!(finding(began, written), expected);
        }
    }
}
