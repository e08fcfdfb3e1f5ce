//! One walk over the image's files: privileged programs, open permissions, secrets and caches.
//!
//! The image is not trusted: no link is followed, no other mount is entered, only regular files are opened, and at most
//! [`leaked_secrets::MAX_BYTES`] of each are read.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dirfd::FileType;
use dirfd::walk::{Descend, Entry, walk_tree};
use dirfd::xattr::Node;
use kit::units;
use nix::errno::Errno;

use crate::baseline::Baseline;
use crate::finding::Finding;

/// Maximum depth of directories: each level keeps one open.
const MAX_DEPTH: usize = 200;
/// Smallest cache that is reported, in bytes.
const MIN_CACHE: u64 = 1_000_000;
/// Caches by a part of their path, each with the fix.
const CACHES: [(&str, &str); 6] = [
    ("/var/lib/apt/lists/", "end the step with: && rm -rf /var/lib/apt/lists/*"),
    ("/var/cache/apt/archives/", "end the step with: && apt-get clean"),
    ("/.cache/pip/", "pip install --no-cache-dir, or RUN --mount=type=cache"),
    ("/.cache/uv/", "uv pip install --no-cache, or RUN --mount=type=cache"),
    ("/.npm/_cacache/", "end the step with: && npm cache clean --force"),
    ("/micromamba/pkgs/", "end the step with: && micromamba clean --all --yes"),
];

/// Results of the walk, with absolute paths.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileScan {
    /// Number of entries.
    pub entries: u64,
    /// Programs with more rights than their user, each with the reason.
    pub privileged: BTreeMap<PathBuf, &'static str>,
    /// Files and directories that every account can change.
    pub world_writable: BTreeSet<PathBuf>,
    /// Files with a secret.
    pub secrets: BTreeMap<PathBuf, &'static str>,
    /// Bytes of caches, by their place in [`CACHES`].
    caches: BTreeMap<usize, u64>,
    /// The first directory that was too deep to be entered.
    too_deep: Option<PathBuf>,
}

impl FileScan {
    /// Walks over everything below `root`, which the paths begin with as `/`.
    pub fn of(root: &Path) -> Result<Self> {
        kit::open_files::raise();
        let mut scan = Self::default();
        let opened = dirfd::open_root(root).with_context(|| format!("cannot open {}", root.display()))?;
        walk_tree::<Errno>(opened, &mut |entry| Ok(scan.visit(entry)))
            .with_context(|| format!("cannot read the files below {}", root.display()))?;
        Ok(scan)
    }

    fn visit(&mut self, entry: &Entry<'_>) -> Descend {
        self.entries += 1;
        let path = Path::new("/").join(entry.name);
        let (mode, kind) = (entry.stat.st_mode, entry.kind());
        match kind {
            FileType::Directory => {
                if mode & 0o1002 == 0o002 {
                    self.world_writable.insert(path.clone());
                }
                if entry.name.components().count() >= MAX_DEPTH {
                    self.too_deep.get_or_insert(path);
                    return Descend::Skip;
                }
            }
            FileType::RegularFile => self.visit_file(entry, &path),
            _ => {}
        }
        Descend::Enter
    }

    fn visit_file(&mut self, entry: &Entry<'_>, path: &Path) {
        let mode = entry.stat.st_mode;
        if mode & 0o002 != 0 {
            self.world_writable.insert(path.to_owned());
        }
        let reason = match mode {
            _ if mode & 0o4000 != 0 => Some("set-user-ID"),
            _ if mode & 0o2000 != 0 => Some("set-group-ID"),
            _ if mode & 0o111 != 0 && has_capabilities(entry) => Some("capabilities"),
            _ => None,
        };
        if let Some(reason) = reason {
            self.privileged.insert(path.to_owned(), reason);
        }
        let text = path.to_string_lossy();
        let size = u64::try_from(entry.stat.st_size).unwrap_or_default();
        if let Some(cache) = CACHES.iter().position(|(part, _)| text.contains(part)) {
            *self.caches.entry(cache).or_default() += size;
        }
        if let Some(suspect) = leaked_secrets::suspect(path, size)
            && let Ok(content) = start_of(entry)
            && let Some(what) = suspect.find(&content)
        {
            self.secrets.insert(path.to_owned(), what);
        }
    }

    /// Compares the files with those of the base image.
    pub fn findings(&self, base: &Baseline) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (path, reason) in &self.privileged {
            if !base.privileged.contains(path) {
                let effect = "every account of a container can use its rights";
                let fix = match *reason {
                    "capabilities" => format!("remove them: setcap -r {}", path.display()),
                    _ => format!("remove it: chmod ug-s {}", path.display()),
                };
                findings.push(Finding::fault("privileges", path.display(), *reason, effect, fix));
            }
        }
        for path in self.world_writable.difference(&base.world_writable) {
            let effect = "every account of a container can change it, also one that faces the network";
            let fix = format!("chmod o-w {}", path.display());
            findings.push(Finding::fault("privileges", path.display(), "writable by all", effect, fix));
        }
        for (path, what) in &self.secrets {
            let effect = if what.ends_with("of one machine") {
                "all containers made from the image have the same"
            } else {
                "everyone who can pull the image can read it"
            };
            let fix = "remove it in the step that creates it; in a later step it stays in the layer";
            findings.push(Finding::fault("secrets", path.display(), format!("holds {what}"), effect, fix));
        }
        for (cache, bytes) in self.caches.iter().filter(|(_, bytes)| **bytes >= MIN_CACHE) {
            let (part, fix) = CACHES[*cache];
            let (problem, place) = (format!("a cache of {}", units::format_bytes(*bytes)), part);
            findings.push(Finding::fault("caches", place, problem, "the image is larger", fix).as_warning());
        }
        if let Some(path) = &self.too_deep {
            let problem = format!("more than {MAX_DEPTH} directories deep, and not checked");
            findings.push(Finding::fault(
                "files",
                path.display(),
                problem,
                "its files are unknown",
                "remove it",
            ));
        }
        findings
    }
}

fn has_capabilities(entry: &Entry<'_>) -> bool {
    let Ok(name) = CString::new(entry.base.as_bytes()) else { return false };
    Node::named(entry.directory, &name).length(c"security.capability").is_ok()
}

/// Reads the start of a regular file; nothing if it is gone or another entry.
fn start_of(entry: &Entry<'_>) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    if let Some(file) = dirfd::open_file(entry.directory, entry.base)? {
        file.take(leaked_secrets::MAX_BYTES).read_to_end(&mut content)?;
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::fd::AsFd;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn what_is_planted_is_found_and_nothing_outside_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str, mode: u32| {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), text).unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        };
        write("usr/bin/helper", "x", 0o4755);
        write("usr/bin/game", "x", 0o2755);
        write("usr/bin/plain", "x", 0o755);
        write("usr/bin/probe", "x", 0o755);
        // Revision 2 with the flag "effective", and cap_net_raw (linux/capability.h).
        let capabilities = [[1, 0, 0, 2], [0, 0x20, 0, 0], [0; 4], [0; 4], [0; 4]].concat();
        let bin = fs::File::open(at("usr/bin")).unwrap();
        Node::named(bin.as_fd(), c"probe").set(c"security.capability", &capabilities).unwrap();
        write("opt/open", "x", 0o666);
        write("root/.git-credentials", "https://a:b@h", 0o600);
        write("var/lib/apt/lists/index", &"x".repeat(2_000_000), 0o644);
        fs::create_dir_all(at("srv/drop")).unwrap();
        fs::set_permissions(at("srv/drop"), Permissions::from_mode(0o777)).unwrap();
        fs::create_dir_all(at("tmp")).unwrap();
        fs::set_permissions(at("tmp"), Permissions::from_mode(0o1777)).unwrap();
        // A secret of the machine, a FIFO, and a file without an end.
        fs::write(outside.path().join("secret"), "password").unwrap();
        fs::create_dir_all(at("home/ada/.ssh")).unwrap();
        symlink(outside.path().join("secret"), at("home/ada/.netrc")).unwrap();
        nix::unistd::mkfifo(&at("home/ada/.bash_history"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::File::create(at("home/ada/.ssh/authorized_keys")).unwrap().set_len(1 << 40).unwrap();
        let scan = FileScan::of(dir.path()).unwrap();
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
        assert_eq!(
            scan.privileged,
            BTreeMap::from([
                ("/usr/bin/game".into(), "set-group-ID"),
                ("/usr/bin/helper".into(), "set-user-ID"),
                ("/usr/bin/probe".into(), "capabilities")
            ])
        );
        assert_eq!(scan.world_writable, paths(&["/opt/open", "/srv/drop"]));
        assert_eq!(
            scan.secrets,
            BTreeMap::from([
                ("/home/ada/.ssh/authorized_keys".into(), "keys that may log in"),
                ("/root/.git-credentials".into(), "a password of git")
            ])
        );
        let base = Baseline {
            privileged: paths(&["/usr/bin/game"]),
            world_writable: paths(&["/opt/open"]),
            ..Baseline::default()
        };
        let texts: Vec<_> = scan.findings(&base).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "FAIL  /usr/bin/helper: set-user-ID\n      effect: every account of a container can use its rights\n      \
                 fix: remove it: chmod ug-s /usr/bin/helper",
                "FAIL  /usr/bin/probe: capabilities\n      effect: every account of a container can use its rights\n      \
                 fix: remove them: setcap -r /usr/bin/probe",
                "FAIL  /srv/drop: writable by all\n      effect: every account of a container can change it, also one \
                 that faces the network\n      fix: chmod o-w /srv/drop",
                "FAIL  /home/ada/.ssh/authorized_keys: holds keys that may log in\n      effect: everyone who can pull the \
                 image can read it\n      fix: remove it in the step that creates it; in a later step it stays in the layer",
                "FAIL  /root/.git-credentials: holds a password of git\n      effect: everyone who can pull the image \
                 can read it\n      fix: remove it in the step that creates it; in a later step it stays in the layer",
                "warn  /var/lib/apt/lists/: a cache of 2.0 MB\n      effect: the image is larger\n      \
                 fix: end the step with: && rm -rf /var/lib/apt/lists/*",
            ]
        );
    }

    #[test]
    fn a_tree_without_an_end_is_named_and_does_not_stop_the_check() {
        let dir = tempfile::tempdir().unwrap();
        let path = (0..=MAX_DEPTH).fold(dir.path().to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(path).unwrap();
        let findings = FileScan::of(dir.path()).unwrap().findings(&Baseline::default());
        assert_eq!(findings.len(), 1);
        assert!(findings[0].problem.starts_with("more than 200 directories deep"), "{findings:?}");
    }
}
