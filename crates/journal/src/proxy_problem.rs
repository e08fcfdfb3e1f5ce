//! Problems of Caddy's configuration, as reported by `caddy-run`.

use std::path::Path;

use kit::ReadPolicy;
use kit::quote::escape_control_line;
use kit::untrusted_file::{ReadError, ReadErrorKind};

use crate::SettingProblem;

/// Path of the file in which `caddy-run` reports problems. Caddy's account, which faces the network, can write there.
pub const PROXY_PROBLEM_FILE: &str = "/opt/caddy/etc/problem.txt";
/// Bytes of the message that are shown.
const MAX_SHOWN_BYTES: usize = 2_000;
const INPUT: ReadPolicy = ReadPolicy::max_size(64_000).no_follow().owned_like_directory();

/// Returns the message in `file` as one line, if the file exists.
#[must_use]
pub fn proxy_problem(file: &Path) -> Option<SettingProblem> {
    let message = match INPUT.read(file) {
        Err(ReadError { reason: ReadErrorKind::Missing, .. }) => return None,
        Err(refused) => refused.to_string(),
        Ok(mut bytes) => {
            bytes.truncate(MAX_SHOWN_BYTES);
            String::from_utf8_lossy(&bytes)
                .trim()
                .lines()
                .map(escape_control_line)
                .collect::<Vec<_>>()
                .join(". ")
        }
    };
    (!message.is_empty()).then(|| SettingProblem { setting: "proxy".to_owned(), message })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn the_message_is_one_line_without_control_characters() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("problem.txt");
        let message = || proxy_problem(&file).map(|problem| problem.message);
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

    #[test]
    fn another_account_can_neither_show_a_foreign_file_nor_block_the_reader() {
        let dir = tempfile::tempdir().unwrap();
        let (own, login) = (dir.path().join("etc"), dir.path().join("web_credentials.json"));
        fs::create_dir(&own).unwrap();
        fs::write(&login, "secret").unwrap();
        let (file, own) = (own.join("problem.txt"), own.as_path());
        let caddy = |path: &Path| chown(path, Some(61112), None).unwrap();
        caddy(own);
        let placed = |place: &dyn Fn()| {
            place();
            let message = proxy_problem(&file).unwrap().message;
            fs::remove_file(&file).unwrap();
            message.strip_prefix(&format!("cannot read {}: ", file.display())).unwrap().to_owned()
        };
        assert_eq!(placed(&|| symlink(&login, &file).unwrap()), "it is a symbolic link, not a regular file");
        assert_eq!(placed(&|| fs::hard_link(&login, &file).unwrap()), "it belongs to uid 0");
        assert_eq!(placed(&|| mkfifo(&file, Mode::S_IRWXU).unwrap()), "it is a FIFO, not a regular file");
        let sparse = || {
            fs::File::create(&file).unwrap().set_len(1 << 30).unwrap();
            caddy(&file);
        };
        assert_eq!(placed(&sparse), "it is larger than 64.0 kB");
        fs::write(&file, "line 3").unwrap();
        caddy(&file);
        assert_eq!(proxy_problem(&file).unwrap().message, "line 3");
    }
}
