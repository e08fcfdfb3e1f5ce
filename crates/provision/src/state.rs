//! Record of the last run, so that a kill makes no script run twice or be forgotten.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use kit::{ReadPolicy, missing_ok};
use serde::{Deserialize, Serialize};

use crate::report::{Report, ReportOutcome};
use crate::verdict::rerun_hint;

/// Space that is reserved for the record of an end, in bytes: enough except for an absurdly long address.
const RESERVED_BYTES: usize = 8_192;

/// Maximum size of a record in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// One run of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The script's address, without login and query, or its path.
    pub source: String,
    /// SHA-256 of the script as it was fetched.
    pub digest: String,
    /// Time of its start.
    pub began: String,
    /// Attempt of late boot that it belongs to; nothing for a run by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// Its end; nothing while it runs, or if it was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<RunEnd>,
}

/// End of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Time of the end.
    pub at: String,
    /// Exit code of the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that terminated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Reason of a failure; nothing after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// Reason for which a script that was configured after the last run did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Time of the rejection.
    pub at: String,
    /// Problem of the script.
    pub cause: String,
}

impl RunRecord {
    /// True if the script exited successfully.
    pub fn succeeded(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| ended.cause.is_none())
    }

    /// Returns the report of this run, if it has ended and belongs to this attempt.
    pub fn report_of(&self, attempt: Option<&str>, log: &Path) -> Option<Report> {
        let ended =
            self.ended.as_ref().filter(|_| attempt.is_some() && self.attempt.as_deref() == attempt)?;
        let well = self.succeeded();
        Some(Report {
            source: Some(self.source.clone()),
            digest: Some(self.digest.clone()),
            exit_code: ended.exit_code,
            signal: ended.signal,
            cause: ended.cause.clone(),
            hint: (!well).then(|| rerun_hint(log)),
            ..Report::new(if well { ReportOutcome::Ran } else { ReportOutcome::Failed })
        })
    }
}

/// Directory of script, record and lock.
#[derive(Debug, Clone)]
pub struct StateDirectory(PathBuf);

impl StateDirectory {
    pub fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// Creates the directory if it is missing.
    pub fn prepare(&self) -> Result<()> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.0);
        made.with_context(|| format!("cannot create {}", self.0.display()))
    }

    pub fn script(&self) -> PathBuf {
        self.0.join("script.sh")
    }

    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    fn record(&self) -> PathBuf {
        self.0.join("state.json")
    }

    fn reserved_space_file(&self) -> PathBuf {
        self.0.join(".state.json.reserve")
    }

    /// Returns the last run. An unreadable record is an error, because it may be of a successful run.
    pub fn last_run(&self) -> Result<Option<RunRecord>> {
        let path = self.record();
        let Some(bytes) = ReadPolicy::max_size(MAX_BYTES).read_if_exists(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).with_context(|| format!("cannot parse {}", path.display()))
    }

    fn rejection_file(&self) -> PathBuf {
        self.0.join("rejected.json")
    }

    /// Stores a rejection, or removes the last one.
    pub fn set_rejection(&self, rejection: Option<&Rejection>) -> Result<()> {
        let path = self.rejection_file();
        let Some(rejection) = rejection else {
            return kit::remove_file(&path);
        };
        let text = serde_json::to_vec(rejection).context("cannot serialize the rejection")?;
        atomic::write(&path, &text, WriteOptions::durable(0o644))
    }

    /// Returns the rejection of the script that was configured last.
    pub fn rejection(&self) -> Option<Rejection> {
        serde_json::from_slice(&fs::read(self.rejection_file()).ok()?).ok()
    }

    /// Writes the script, readable and executable for its account only.
    pub fn store_script(&self, script: &[u8], gid: u32) -> Result<()> {
        let path = self.script();
        atomic::remove_leftovers(&path)?;
        atomic::write(&path, script, WriteOptions::durable(0o550).owned_by(0, gid))
    }

    /// Records the start of a script, and reserves the space for its end, so that a script that fills the disk does not keep
    /// its end from being recorded.
    pub fn record_start(&self, record: &RunRecord) -> Result<UnfinishedRun> {
        let reserve = self.reserved_space_file();
        let cannot = || format!("cannot write {}", reserve.display());
        missing_ok(fs::remove_file(&reserve)).with_context(cannot)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&reserve)
            .with_context(cannot)?;
        file.write_all(&[b' '; RESERVED_BYTES]).and_then(|()| file.sync_all()).with_context(cannot)?;
        atomic::remove_leftovers(&self.record())?;
        atomic::write(&self.record(), &serialize(record)?, WriteOptions::durable(0o644))?;
        Ok(UnfinishedRun { file, directory: self.clone(), record: record.clone() })
    }
}

/// A run whose end is not recorded yet.
#[derive(Debug)]
pub struct UnfinishedRun {
    file: File,
    directory: StateDirectory,
    record: RunRecord,
}

impl UnfinishedRun {
    /// Records the end, in the space that was reserved.
    pub fn record_end(mut self, ended: RunEnd) -> Result<()> {
        let path = self.directory.record();
        self.record.ended = Some(ended);
        let mut text = serialize(&self.record)?;
        if text.len() > RESERVED_BYTES {
            // Only with a source of thousands of bytes; it takes new space.
            return atomic::write(&path, &text, WriteOptions::durable(0o644));
        }
        text.resize(RESERVED_BYTES, b' ');
        self.file
            .write_all_at(&text, 0)
            .and_then(|()| self.file.sync_all())
            .and_then(|()| fs::rename(self.directory.reserved_space_file(), &path))
            .and_then(|()| File::open(&self.directory.0)?.sync_all())
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn serialize(record: &RunRecord) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec(record).context("cannot serialize the record")?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn record() -> RunRecord {
        RunRecord { source: "s".into(), digest: "d".into(), began: "t".into(), attempt: None, ended: None }
    }

    #[test]
    fn only_a_run_that_ended_in_an_attempt_is_reported_for_it() {
        let of = |attempt: Option<&str>, ended: Option<RunEnd>| RunRecord {
            attempt: attempt.map(str::to_owned),
            ended,
            ..record()
        };
        let well = RunEnd { at: "u".into(), exit_code: Some(0), signal: None, cause: None };
        let bad = RunEnd { exit_code: Some(3), cause: Some("x".into()), ..well.clone() };
        let report = |record: RunRecord, attempt| record.report_of(attempt, Path::new("/l"));
        for nothing in [of(None, Some(bad.clone())), of(Some("1"), None), of(Some("2"), Some(bad.clone()))] {
            assert_eq!(report(nothing, Some("1")), None);
        }
        assert_eq!(report(of(None, Some(bad.clone())), None), None);
        let about = Report {
            source: Some("s".into()),
            digest: Some("d".into()),
            exit_code: Some(0),
            ..Report::new(ReportOutcome::Ran)
        };
        assert_eq!(report(of(Some("1"), Some(well)), Some("1")), Some(about.clone()));
        let failed = Report {
            outcome: ReportOutcome::Failed,
            exit_code: Some(3),
            cause: Some("x".into()),
            hint: Some("read /l; to run it again: supervisorctl restart boot".into()),
            ..about
        };
        assert_eq!(report(of(Some("1"), Some(bad)), Some("1")), Some(failed));
    }

    #[test]
    fn a_run_is_unfinished_until_its_end_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(&dir.path().join("a/b"));
        directory.prepare().unwrap();
        assert_eq!(directory.last_run().unwrap(), None);
        let begun = directory.record_start(&record()).unwrap();
        assert_eq!(directory.last_run().unwrap(), Some(record()));
        assert!(!record().succeeded());
        drop(begun);
        for cause in [Some("x".repeat(2_000)), None] {
            let well = cause.is_none();
            let ended = RunEnd { at: "u".into(), exit_code: Some(0), signal: None, cause };
            directory.record_start(&record()).unwrap().record_end(ended.clone()).unwrap();
            let last = directory.last_run().unwrap().unwrap();
            assert_eq!(last.succeeded(), well);
            assert_eq!(last, RunRecord { ended: Some(ended), ..record() });
        }
        let left: Vec<_> =
            fs::read_dir(dir.path().join("a/b")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["state.json"]);
    }

    #[test]
    fn a_damaged_record_is_an_error_and_not_a_first_run() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("state.json"), "{").unwrap();
        let error = StateDirectory::new(dir.path()).last_run().unwrap_err();
        assert!(error.to_string().starts_with("cannot parse "), "{error}");
    }

    #[test]
    fn a_script_is_its_groups_alone() {
        let dir = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(dir.path());
        directory.store_script(b"echo", 0).unwrap();
        assert_eq!(fs::metadata(directory.script()).unwrap().permissions().mode() & 0o7777, 0o550);
    }
}
