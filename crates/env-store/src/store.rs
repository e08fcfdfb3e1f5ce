//! The store: names and values, and their file.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};
use kit::lock::Lock;
use sha2::{Digest, Sha256};

use crate::quote::{quote, unquote};
use crate::variable_name::VERSION_VARIABLE;

const HEADER: &str = "# Environment variables for every session. Change it with: env-store set NAME=VALUE\n";
/// Start of the first line; the digest of the variables follows.
const FIRST_LINE: &str = "# environment ";
const GROUP: &str = "leonardo";
/// Maximum size in bytes, far more than a program can be given.
const MAX_BYTES: u64 = 64 << 20;
/// A change takes milliseconds; a longer one hangs.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Variables for every session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store(BTreeMap<String, OsString>);

impl Store {
    /// Reads a store; a missing file is an empty store, a damaged one is an error that names the line.
    pub fn read(path: &Path) -> Result<Self> {
        let Some(bytes) = ReadPolicy::max_size(MAX_BYTES).read_if_exists(path)? else {
            return Ok(Self::default());
        };
        Self::parse(&bytes).with_context(|| format!("cannot parse {}", path.display()))
    }

    /// Replaces the file unless it already has this content; root gives it to group `leonardo`, and no other account
    /// can read it.
    pub fn write(&self, path: &Path) -> Result<bool> {
        let mut placement = WriteOptions::durable(0o640);
        if uzers::get_effective_uid() == 0
            && let Some(group) = uzers::get_group_by_name(GROUP)
        {
            placement = placement.owned_by(0, group.gid());
        }
        atomic::write_if_changed(path, &self.render(), placement)
    }

    /// Reads, changes and replaces the file under a lock; returns whether it was written.
    ///
    /// Readers need no lock: they see the file before or after. The lock is a file beside it, so that only an account
    /// that may replace the store can hold it.
    pub fn update(path: &Path, change: impl FnOnce(&mut Self)) -> Result<bool> {
        let name = path.file_name().with_context(|| format!("{} does not name a file", path.display()))?;
        let lock = path.with_file_name(format!(".{}.lock", name.to_string_lossy()));
        let cannot = || format!("cannot write {}", path.display());
        let lock = Lock::open(&lock).with_context(cannot)?;
        lock.acquire(TIMEOUT).with_context(cannot)?;
        let mut store = Self::read(path)?;
        change(&mut store);
        store.write(path)
    }

    /// Stores a value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    /// Forgets a value.
    pub fn unset(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Names and values in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_os_str()))
    }

    /// The file: its version, the variables, and the version again as a variable.
    ///
    /// A shell inside a shell compares its variable with the first line, and reads the file only if it is another
    /// one: so what a person changed in a session stays, and a changed store still reaches every new shell.
    pub(crate) fn render(&self) -> Vec<u8> {
        let mut exports = Vec::new();
        for (name, value) in &self.0 {
            exports.extend(export(name, value));
        }
        let digest = Sha256::digest(&exports);
        let version = format!("{FIRST_LINE}{:016x}", u64::from_be_bytes(first_eight(&digest)));
        let mut text = format!("{version}\n{HEADER}").into_bytes();
        text.extend(exports);
        text.extend(export(VERSION_VARIABLE, OsStr::new(&version)));
        text
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut variables = BTreeMap::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            if rest[0] == b'#' || rest[0] == b'\n' {
                let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
                rest = &rest[end..];
                continue;
            }
            let Some((name, value, behind)) = parse_export(rest) else {
                let line =
                    bytes[..bytes.len() - rest.len()].iter().filter(|&&byte| byte == b'\n').count() + 1;
                bail!("line {line} is not export NAME='VALUE'");
            };
            if name != VERSION_VARIABLE {
                variables.insert(name, value);
            }
            rest = behind;
        }
        Ok(Self(variables))
    }
}

fn first_eight(bytes: &[u8]) -> [u8; 8] {
    std::array::from_fn(|index| bytes.get(index).copied().unwrap_or(0))
}

fn export(name: &str, value: &OsStr) -> Vec<u8> {
    [format!("export {name}=").as_bytes(), &quote(value), b"\n"].concat()
}

fn parse_export(text: &[u8]) -> Option<(String, OsString, &[u8])> {
    let rest = text.strip_prefix(b"export ")?;
    let equals = rest.iter().position(|&byte| byte == b'=')?;
    let name = std::str::from_utf8(&rest[..equals]).ok()?;
    (name == VERSION_VARIABLE || crate::check_storable(name).is_ok()).then_some(())?;
    let (value, behind) = unquote(&rest[equals + 1..])?;
    Some((name.to_owned(), value, behind.strip_prefix(b"\n")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("environment.sh");
        let mut store = Store::default();
        store.set("A", "b=c==");
        store.set("NEWLINES", "\n'\n\n");
        store.set("EMPTY", "");
        assert!(store.write(&path).unwrap());
        assert!(!store.write(&path).unwrap(), "an unchanged store is not written again");
        assert_eq!(Store::read(&path).unwrap(), store);
    }

    #[test]
    fn the_first_line_changes_with_the_variables_and_a_shell_can_compare_it() {
        let mut store = Store::default();
        store.set("A", "1");
        let first = |store: &Store| {
            let text = String::from_utf8(store.render()).unwrap();
            let line = text.lines().next().unwrap().to_owned();
            assert!(text.ends_with(&format!("export LEONARDO_ENVIRONMENT='{line}'\n")), "{text}");
            line
        };
        let before = first(&store);
        assert_eq!(first(&store), before);
        store.set("A", "2");
        assert_ne!(first(&store), before);
    }

    #[test]
    fn changes_at_the_same_time_do_not_lose_one_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("environment.sh");
        std::thread::scope(|scope| {
            for name in ["A", "B", "C", "D"] {
                let path = &path;
                scope.spawn(move || {
                    for value in 0..10 {
                        Store::update(path, |store| store.set(name, value.to_string())).unwrap();
                    }
                });
            }
        });
        let store = Store::read(&path).unwrap();
        assert_eq!(store.iter().map(|(name, _)| name).collect::<String>(), "ABCD");
        assert!(store.iter().all(|(_, value)| value == "9"));
    }

    #[test]
    fn a_damaged_store_names_the_line() {
        let error = Store::parse(b"# x\nexport A='1\n2'\nexport B=$(id)\n").unwrap_err();
        assert_eq!(error.to_string(), "line 4 is not export NAME='VALUE'");
    }

    #[test]
    fn a_missing_store_is_empty() {
        assert_eq!(Store::read(Path::new("/no/such/store")).unwrap(), Store::default());
    }
}
