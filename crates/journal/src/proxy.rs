//! What is wrong with Caddy's configuration, as `caddy-run` wrote it down.

use std::io::Read;
use std::path::Path;

use kit::Input;
use kit::input::{Reason, Refused};
use kit::quote::printable;

use crate::Trouble;

/// Where `caddy-run` says what is wrong. The account of Caddy, which faces the network, can write there.
pub const PROXY_PROBLEM: &str = "/opt/caddy/etc/problem.txt";
/// A longer message would hide everything else, in bytes.
const LARGEST: u64 = 2_000;

/// Returns the message in `file` in one line; nothing without the file.
#[must_use]
pub fn proxy_problem(file: &Path) -> Option<Trouble> {
    let message = match Input::up_to(u64::MAX).no_follow().open(file) {
        Err(Refused { reason: Reason::Missing, .. }) => return None,
        Err(refused) => refused.to_string(),
        Ok(opened) => {
            let mut bytes = Vec::new();
            opened.into_file().take(LARGEST).read_to_end(&mut bytes).ok()?;
            String::from_utf8_lossy(&bytes).trim().lines().map(printable).collect::<Vec<_>>().join(". ")
        }
    };
    (!message.is_empty()).then(|| Trouble { setting: "proxy".to_owned(), message })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_a_file_says_is_one_line_that_a_terminal_only_shows() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("problem.txt");
        let message = || proxy_problem(&file).map(|trouble| trouble.message);
        assert_eq!(message(), None);
        fs::write(&file, "line 3: \u{1b}[31mbad\nthe rest stays\n").unwrap();
        assert_eq!(message().as_deref(), Some("line 3: \\u{1b}[31mbad. the rest stays"));
        fs::write(&file, "\n").unwrap();
        assert_eq!(message(), None);
        fs::write(&file, "x".repeat(10_000)).unwrap();
        assert_eq!(message().map(|message| message.len()), Some(2_000));
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(message().unwrap().ends_with("it is a directory, not a regular file"));
    }
}
