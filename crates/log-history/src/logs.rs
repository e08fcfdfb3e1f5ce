//! The logs of a container.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::file_name;
use crate::log::Log;
use crate::log_directory::{Listing, LogDirectory, Selection};
use crate::log_files::LogFiles;
use crate::time_index;

/// Logs of boot, which `init` creates in `/var/log`.
pub const BOOT: &[&str] = &["config.log", "sync.log", "preflight.log", "provisioning.log", "debug.log"];
/// Name of the merged log in `/var/log`, which `logtail follow` writes.
pub const MERGED_LOG: &str = "logtail.log";
/// Before the name of a program's log that has the name of a boot log.
const PROGRAM: &str = "supervisor:";
/// Maximum length of a name in bytes.
const MAX_NAME: usize = 255;

/// Lists are made often: the first failure is reported.
static WARNED: Once = Once::new();

/// The logs of boot and of all programs, below a root directory.
#[derive(Debug, Clone)]
pub struct Logs {
    root: PathBuf,
}

/// A log in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogInfo {
    /// Name, as [`Logs::open`] takes it.
    pub name: String,
    /// Size of its files on disk in bytes.
    pub bytes: u64,
    /// Last change of its newest file.
    pub modified: SystemTime,
}

impl Logs {
    /// Names the logs below a root directory, which is `/` except in tests.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Returns the directories of logs: of boot, then of programs.
    #[must_use]
    pub fn directories(&self) -> [LogDirectory; 2] {
        [
            LogDirectory::new(self.root.join("var/log"), Selection::These(BOOT)),
            LogDirectory::new(self.root.join("var/log/supervisor"), Selection::Every),
        ]
    }

    /// Returns the directory of the merged log.
    #[must_use]
    pub fn merged_directory(&self) -> LogDirectory {
        LogDirectory::new(self.root.join("var/log"), Selection::These(&[MERGED_LOG]))
    }

    /// Lists all logs by name, without the merged one. A directory that cannot be read is an error if there is no other log.
    pub fn names(&self) -> Result<Vec<LogInfo>> {
        let (mut found, mut failed) = (Vec::new(), None);
        for (directory, is_program) in self.directories().into_iter().zip([false, true]) {
            let path = directory.path().to_owned();
            let listing = directory.list().with_context(|| format!("cannot read {}", path.display()));
            let listing = listing.unwrap_or_else(|error| {
                failed = Some(error);
                Listing::default()
            });
            for (base, files) in listing.families {
                let Some(service) = file_name::service_name(&base) else { continue };
                let is_taken = is_program && BOOT.contains(&base.as_str());
                let name = if is_taken { format!("{PROGRAM}{service}") } else { service.to_owned() };
                if let Some((bytes, modified)) = usage(&path, &files) {
                    found.push(LogInfo { name, bytes, modified });
                }
            }
        }
        if let Some(error) = failed {
            if found.is_empty() {
                return Err(error);
            }
            WARNED.call_once(|| log::warn!("{error:#}; its logs are not listed"));
        }
        found.sort_by(|one: &LogInfo, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Opens a log by its name; `logtail` is the merged log. A name that is no file name is refused.
    pub fn open(&self, name: &str) -> Result<Log> {
        let plain = name.strip_prefix(PROGRAM).unwrap_or(name);
        let is_name = !plain.is_empty() && plain.len() <= MAX_NAME && !plain.starts_with('.');
        if !is_name || plain.contains(['/', '\0']) {
            bail!("{name:?} is not the name of a log");
        }
        let [boot, programs] = self.directories();
        let base = format!("{plain}.log");
        let directory = if base == MERGED_LOG {
            self.merged_directory()
        } else if name == plain && BOOT.contains(&base.as_str()) {
            boot
        } else {
            programs
        };
        let times = time_index::directory(&self.root);
        let mut log = Log::new(name.to_owned(), base, directory, times);
        log.refresh()?;
        if log.is_gone() {
            bail!("there is no log {name:?}");
        }
        Ok(log)
    }
}

/// Returns size and last change of the files of a log; nothing if they are gone.
fn usage(directory: &Path, files: &LogFiles) -> Option<(u64, SystemTime)> {
    let metas = files.files().filter_map(|file| directory.join(&file.name).symlink_metadata().ok());
    metas
        .filter_map(|meta| Some((meta.len(), meta.modified().ok()?)))
        .reduce(|(bytes, newest), (more, time)| (bytes + more, newest.max(time)))
}
