//! Changes to a tree, as busy programs make them.

use std::fs::{self, FileTimes, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::content;
use crate::random::Random;

/// Longer paths are not changed: with the root's path they would exceed the kernel's limit.
const MAX_PATH_LENGTH: usize = 3_000;
/// Maximum number of consecutive attempts without a change: the tree is empty or cannot be written.
const MAX_MISSES: u32 = 1_000;

/// Makes `changes` changes below `root` and returns a description of each: files appear, vanish, move, grow, shrink, are
/// rewritten in place or replaced, change their mode or time, become directories or links, and the other way round.
///
/// The same tree and seed give the same changes. Links are never followed, and `root` itself stays.
pub fn mutate(root: &Path, seed: u64, changes: usize) -> Result<Vec<String>> {
    let mut tree =
        Tree { root: root.to_owned(), names: Vec::new(), random: Random::new(seed), made: 0, seed };
    tree.list(Path::new(""))?;
    let (mut done, mut misses) = (Vec::with_capacity(changes), 0);
    while done.len() < changes {
        match tree.change().with_context(|| format!("cannot change {}", root.display()))? {
            Some(change) => {
                done.push(change);
                misses = 0;
            }
            None if misses == MAX_MISSES => bail!("{} has nothing to change", root.display()),
            None => misses += 1,
        }
    }
    Ok(done)
}

struct Tree {
    root: PathBuf,
    /// Relative paths; some may have gone with a directory.
    names: Vec<PathBuf>,
    random: Random,
    made: u64,
    seed: u64,
}

impl Tree {
    fn list(&mut self, below: &Path) -> Result<()> {
        let path = self.root.join(below);
        let context = || format!("cannot read {}", path.display());
        let mut names: Vec<_> = fs::read_dir(&path)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .with_context(context)?
            .into_iter()
            .map(|entry| entry.file_name())
            .collect();
        // The order in which a file system lists names is its own.
        names.sort_unstable();
        for name in names {
            let name = below.join(name);
            if name.as_os_str().len() > MAX_PATH_LENGTH {
                continue;
            }
            let kind = fs::symlink_metadata(self.root.join(&name)).with_context(context)?.file_type();
            self.names.push(name.clone());
            if kind.is_dir() {
                self.list(&name)?;
            }
        }
        Ok(())
    }

    /// One change; none if the name that was picked does not suit it, or is gone.
    fn change(&mut self) -> Result<Option<String>> {
        let index = self.random.index(self.names.len());
        let Some(name) = self.names.get(index).cloned() else {
            return self.create(Path::new("")).map(Some);
        };
        let path = self.root.join(&name);
        let kind = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                self.names.swap_remove(index);
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot stat {}", path.display())),
        };
        let shown = name.as_os_str().as_bytes().escape_ascii().to_string();
        let context = || format!("cannot change {}", path.display());
        let change = match (self.random.below(14), kind.is_dir(), kind.is_file()) {
            (0..=2, true, _) => self.create(&name)?,
            (3, true, _) if self.random.percent(20) => {
                fs::remove_dir_all(&path).with_context(context)?;
                format!("{shown}: the directory is gone")
            }
            (4, true, _) if self.random.percent(10) => {
                fs::remove_dir_all(&path).with_context(context)?;
                self.write(&name, 900).with_context(context)?;
                format!("{shown}: a directory became a file")
            }
            (5, _, _) => return self.rename(&name),
            (6, _, true) | (6 | 7, false, false) => {
                fs::remove_file(&path).with_context(context)?;
                format!("{shown}: gone")
            }
            (7, _, true) => {
                fs::remove_file(&path).and_then(|()| fs::create_dir(&path)).with_context(context)?;
                self.create(&name)?;
                format!("{shown}: a file became a directory")
            }
            (8, _, true) => {
                fs::remove_file(&path).and_then(|()| symlink("elsewhere", &path)).with_context(context)?;
                format!("{shown}: a file became a link")
            }
            (9, _, true) => {
                let to = self.fresh(Path::new(""));
                fs::hard_link(&path, self.root.join(&to)).with_context(context)?;
                self.names.push(to.clone());
                format!("{shown}: has another name {}", to.display())
            }
            (10.., _, true) => self.rewrite(&name, &shown).with_context(context)?,
            (10..=11, true, _) => {
                let mode = self.other_mode(&path, &[0o755, 0o775, 0o700, 0o2775]).with_context(context)?;
                format!("{shown}: has mode {mode:o}")
            }
            _ => return Ok(None),
        };
        Ok(Some(change))
    }

    /// A file, a directory or a link in a directory.
    fn create(&mut self, directory: &Path) -> Result<String> {
        let name = self.fresh(directory);
        let path = self.root.join(&name);
        let size = self.random.below(40_000);
        let (made, what) = match self.random.below(5) {
            0 => (fs::create_dir(&path), "a directory"),
            1 => (symlink("../elsewhere", &path), "a link"),
            _ => (self.write(&name, size), "a file"),
        };
        made.with_context(|| format!("cannot create {}", path.display()))?;
        self.names.push(name.clone());
        Ok(format!("{}: {what} was made", name.as_os_str().as_bytes().escape_ascii()))
    }

    fn rename(&mut self, name: &Path) -> Result<Option<String>> {
        let directories = name.parent().into_iter().chain([Path::new("")]);
        let directory = directories.clone().nth(self.random.index(directories.count())).unwrap_or(name);
        let to = self.fresh(directory);
        let (from, target) = (self.root.join(name), self.root.join(&to));
        fs::rename(&from, &target).with_context(|| format!("cannot rename {}", from.display()))?;
        self.names.push(to.clone());
        let shown = |path: &Path| path.as_os_str().as_bytes().escape_ascii().to_string();
        Ok(Some(format!("{}: is now {}", shown(name), shown(&to))))
    }

    /// Changes the content of a file, its mode or its time.
    fn rewrite(&mut self, name: &Path, shown: &str) -> io::Result<String> {
        let path = self.root.join(name);
        let size = fs::symlink_metadata(&path)?.len();
        let open = || OpenOptions::new().write(true).open(&path);
        let stream = Random::fork(self.seed, self.random.bits());
        let what = match self.random.below(6) {
            0 => {
                let bytes = content::bytes(stream, 1 + self.random.index(20_000));
                open()?.write_all_at(&bytes, size)?;
                "grew"
            }
            1 => {
                open()?.set_len(self.random.below(size + 1))?;
                "shrank"
            }
            // The size stays: only the time differs.
            2 if size > 0 => {
                let at = self.random.below(size);
                let length = usize::try_from((size - at).min(5_000)).unwrap_or(1);
                open()?.write_all_at(&content::bytes(stream, length), at)?;
                "was rewritten in place"
            }
            3 => {
                let fresh = self.fresh(name.parent().unwrap_or(Path::new("")));
                self.write(&fresh, size)?;
                fs::rename(self.root.join(fresh), &path)?;
                "was replaced"
            }
            4 => {
                self.other_mode(&path, &[0o644, 0o600, 0o755, 0o4755, 0o444])?;
                "has another mode"
            }
            _ => {
                let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(self.random.bits() >> 2);
                open()?.set_times(FileTimes::new().set_modified(time))?;
                "has another time"
            }
        };
        Ok(format!("{shown}: {what}"))
    }

    /// Gives an entry one of the modes that it does not have.
    fn other_mode(&mut self, path: &Path, modes: &[u32]) -> io::Result<u32> {
        let has = fs::symlink_metadata(path)?.permissions().mode() & 0o7777;
        let others: Vec<u32> = modes.iter().copied().filter(|mode| *mode != has).collect();
        let mode = *self.random.pick(&others);
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        Ok(mode)
    }

    fn write(&mut self, name: &Path, size: u64) -> io::Result<()> {
        let mut file = fs::File::create_new(self.root.join(name))?;
        content::write(&mut file, Random::fork(self.seed, self.random.bits()), size)
    }

    /// A name that nothing has yet.
    fn fresh(&mut self, directory: &Path) -> PathBuf {
        self.made += 1;
        directory.join(format!("new-{:x}-{}", self.seed, self.made))
    }
}
