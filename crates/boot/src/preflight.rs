//! The preflight stage: hooks of extended images, which prepare the container and may export variables for it.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use env_store::{ContainerRecord, Store};
use kit::{Env, missing_ok};

use crate::stage_outcome::StageOutcome;
use crate::{hook, shutdown};

/// Paths of the preflight stage.
#[derive(Debug)]
pub struct PreflightPaths<'a> {
    /// Directory of `preflight.d/*.sh` and `preflight.sh`.
    pub hooks: &'a Path,
    /// Environment store for the exported variables.
    pub store: &'a Path,
    /// Record of the stored names, so that a container made from this one removes them.
    pub record: &'a Path,
    /// Log of the hooks' output.
    pub log: &'a Path,
}

/// Runs all hooks in order, each with the variables that earlier ones exported; `env` has all of them at the end.
/// `note` receives the name of each hook before it runs.
pub fn run(paths: &PreflightPaths<'_>, env: &mut Env, mut note: impl FnMut(String)) -> Result<StageOutcome> {
    let hooks = find(paths.hooks)?;
    let mounts = workspace::mount_points();
    let mut failures = Vec::new();
    for (index, path) in hooks.iter().enumerate() {
        let name = path.strip_prefix(paths.hooks).unwrap_or(path).display().to_string();
        if shutdown::is_requested() {
            // The running hook may still have succeeded.
            failures.push(format!("stopped before {name} ran"));
            break;
        }
        note(format!("{name} ({} of {})", index + 1, hooks.len()));
        let failure = match refusal(path, &mounts) {
            Ok(None) => run_hook(path, env, paths),
            refused => refused,
        };
        // A failed hook does not stop the others.
        if let Some(failure) = failure.unwrap_or_else(|error| Some(format!("{error:#}"))) {
            log::error!("{name}: {failure}");
            failures.push(format!("{name}: {failure}"));
        }
    }
    Ok(match (hooks.is_empty(), failures.is_empty()) {
        (true, _) => StageOutcome::skipped(),
        (false, true) => StageOutcome::done(),
        (false, false) => StageOutcome::failed(
            failures.join("; "),
            if shutdown::is_requested() {
                "run: supervisorctl restart boot".to_owned()
            } else {
                format!("read {}, correct it, then run: supervisorctl restart boot", paths.log.display())
            },
        ),
    })
}

/// Returns the hooks that this stage would not run, or whose text bash cannot parse, each with the reason; for checks of an
/// image. No hook is run.
pub fn problems(hooks: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for path in find(hooks)? {
        let problem = match refusal(&path, &[]) {
            Ok(None) => hook::parse_problem(&path),
            refused => refused,
        };
        if let Some(problem) = problem.unwrap_or_else(|error| Some(format!("{error:#}"))) {
            found.push((path, problem));
        }
    }
    Ok(found)
}

/// Runs one hook and stores its exported variables for the next hooks and for every session; returns why it failed.
fn run_hook(path: &Path, env: &mut Env, paths: &PreflightPaths<'_>) -> Result<Option<String>> {
    let ended = hook::run(path, env, paths.log)?;
    let exports = changed(env, ended.exports);
    if !exports.is_empty() {
        ContainerRecord::add(paths.record, exports.iter().map(|(name, _)| name.clone()))?;
        Store::update(paths.store, |store| {
            exports.iter().for_each(|(name, value)| store.set(name.clone(), value.clone()));
        })?;
    }
    exports.into_iter().for_each(|(name, value)| env.set(name, value));
    Ok(ended.failure)
}

/// Returns the exported variables that are new or changed and can be stored.
fn changed(env: &Env, exports: Vec<(OsString, OsString)>) -> Vec<(String, OsString)> {
    let new = exports.into_iter().filter(|(name, value)| env.get(name) != Some(value));
    new.filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| env_store::check_storable(name).is_ok())
        .collect()
}

/// Returns `preflight.d/*.sh` in the order of their names, then `preflight.sh`.
fn find(hooks: &Path) -> Result<Vec<PathBuf>> {
    let directory = hooks.join("preflight.d");
    let cannot = || format!("cannot read {}", directory.display());
    let mut found = Vec::new();
    for entry in missing_ok(fs::read_dir(&directory)).with_context(cannot)?.into_iter().flatten() {
        let path = entry.with_context(cannot)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "sh") && !hidden {
            found.push(path);
        }
    }
    found.sort();
    let last = hooks.join("preflight.sh");
    if fs::symlink_metadata(&last).is_ok() {
        found.push(last);
    }
    Ok(found)
}

/// Returns why root must not run this file: other users could have written its content.
fn refusal(path: &Path, mounts: &[PathBuf]) -> Result<Option<String>> {
    let directory = path.parent().unwrap_or(path);
    let cannot = |path: &Path| format!("cannot access {}", path.display());
    let about = |path: &Path| fs::metadata(path).with_context(|| cannot(path));
    let (file, around) = (about(path)?, about(directory)?);
    if !file.is_file() {
        return Ok(Some("it is not a file".to_owned()));
    }
    let real = fs::canonicalize(path).with_context(|| cannot(path))?;
    let directory = fs::canonicalize(directory).with_context(|| cannot(directory))?;
    let entry = directory.join(path.file_name().unwrap_or_default());
    // A mount was chosen by the person who started the container; the target of a link in it was not.
    let is_mounted =
        mounts.iter().any(|mount| (*mount == entry || *mount == directory) && real.starts_with(mount));
    // Write access to the directory of a link's target is enough to change the file.
    let around_real = about(real.parent().unwrap_or(&real))?;
    Ok(if is_mounted || [&file, &around, &around_real].into_iter().all(is_of_root) {
        None
    } else {
        Some(
            "users other than root can change it; run chown root and chmod go-w on the file and its directory"
                .to_owned(),
        )
    })
}

/// True if only root can write there.
fn is_of_root(meta: &Metadata) -> bool {
    meta.uid() == 0 && meta.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::StageResult;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::slice;

    struct Image {
        dir: tempfile::TempDir,
    }

    impl Image {
        fn new(hooks: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("preflight.d")).unwrap();
            for (name, text) in hooks {
                fs::write(dir.path().join(name), text).unwrap();
            }
            Self { dir }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn run(&self) -> (StageOutcome, Vec<String>) {
            let paths = PreflightPaths {
                hooks: self.dir.path(),
                store: &self.path("environment.sh"),
                record: &self.path("container"),
                log: &self.path("preflight.log"),
            };
            let mut env: Env = [("PATH", env!("PATH")), ("GIVEN", "1")].into_iter().collect();
            let mut notes = Vec::new();
            let ending = run(&paths, &mut env, |note| notes.push(note));
            (ending.unwrap(), notes)
        }

        fn stored(&self) -> Vec<(String, String)> {
            let store = Store::read(&self.path("environment.sh")).unwrap();
            store
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_string_lossy().into_owned()))
                .collect()
        }
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn hooks_run_in_order_and_see_what_the_ones_before_them_exported() {
        let image = Image::new(&[
            ("preflight.d/20-b.sh", "export B=$A$GIVEN HOME=/elsewhere GIVEN=1"),
            ("preflight.d/10-a.sh", "export A=first"),
            ("preflight.d/10-a.sh.bak", "exit 9"),
            ("preflight.d/.hidden.sh", "exit 9"),
            ("preflight.sh", "export C=$B-last"),
        ]);
        let (ending, notes) = image.run();
        assert_eq!(ending, StageOutcome::done());
        assert_eq!(
            notes,
            ["preflight.d/10-a.sh (1 of 3)", "preflight.d/20-b.sh (2 of 3)", "preflight.sh (3 of 3)"]
        );
        assert_eq!(image.stored(), [pair("A", "first"), pair("B", "first1"), pair("C", "first1-last")]);
        let recorded = ContainerRecord::read(&image.path("container")).stored;
        assert_eq!(
            recorded,
            ["A", "B", "C"].map(str::to_owned).into(),
            "a container made from this one drops them"
        );
    }

    #[test]
    fn a_failing_hook_is_named_with_its_line_and_the_next_ones_run() {
        let image = Image::new(&[
            ("preflight.d/1.sh", "export A=1\nfalse\n"),
            ("preflight.d/2.sh", "if"),
            ("preflight.d/3.sh", "export C=3\n"),
        ]);
        let (ending, _) = image.run();
        assert_eq!(ending.result, StageResult::Failed);
        let cause = ending.cause.unwrap();
        assert!(
            cause.starts_with(
                "preflight.d/1.sh: line 2: the hook failed with exit code 1; preflight.d/2.sh: line 2: syntax error"
            ),
            "{cause}"
        );
        assert_eq!(image.stored(), [pair("A", "1"), pair("C", "3")]);
    }

    #[test]
    fn root_runs_nothing_that_others_can_change() {
        let image = Image::new(&[("preflight.d/1.sh", "export A=1"), ("preflight.sh", "export B=1")]);
        fs::set_permissions(image.path("preflight.d/1.sh"), fs::Permissions::from_mode(0o664)).unwrap();
        let (ending, _) = image.run();
        assert!(ending.cause.unwrap().contains("users other than root can change it"));
        fs::set_permissions(image.path("preflight.d/1.sh"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(image.path("preflight.d"), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(image.run().0.cause.unwrap().contains("preflight.d/1.sh: users other than root"));
        assert_eq!(image.stored(), [pair("B", "1")]);
    }

    #[test]
    fn what_is_mounted_may_have_the_owner_that_it_has_on_the_host() {
        let image = Image::new(&[("preflight.d/1.sh", "export A=1")]);
        let [directory, hook] = ["preflight.d", "preflight.d/1.sh"].map(|name| image.path(name));
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o666)).unwrap();
        let is_refused = |mounts: &[PathBuf]| refusal(&hook, mounts).unwrap().is_some();
        assert!(is_refused(&[]));
        assert!(is_refused(&[image.path(""), image.path("preflight.d/2.sh")]));
        for mount in [&directory, &hook] {
            assert!(!is_refused(slice::from_ref(mount)), "{}", mount.display());
        }
        // A link in a mounted directory gives no rights to its target.
        fs::rename(&hook, image.path("elsewhere")).unwrap();
        symlink(image.path("elsewhere"), &hook).unwrap();
        assert!(is_refused(&[directory]));
    }

    #[test]
    fn a_link_is_only_as_good_as_what_it_leads_to() {
        // Another file system than the image's own, as a workspace is.
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        let image = Image::new(&[]);
        for other in [elsewhere.path(), &image.path("")] {
            let target = other.join("hook");
            fs::write(&target, "export A=1").unwrap();
            let _ = fs::remove_file(image.path("preflight.sh"));
            symlink(&target, image.path("preflight.sh")).unwrap();
            assert_eq!(refusal(&image.path("preflight.sh"), &[]).unwrap(), None);
            fs::set_permissions(&target, fs::Permissions::from_mode(0o666)).unwrap();
            assert!(refusal(&image.path("preflight.sh"), &[]).unwrap().is_some(), "{}", other.display());
        }
        let target = elsewhere.path().join("hook");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&target, image.path("preflight.d/1.sh")).unwrap();
        assert_eq!(refusal(&image.path("preflight.d/1.sh"), &[]).unwrap(), None);
        fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(
            refusal(&image.path("preflight.d/1.sh"), &[]).unwrap().is_some(),
            "its directory is anybody's"
        );
    }

    #[test]
    fn a_hook_that_is_no_file_is_reported_and_no_hooks_are_skipped() {
        assert_eq!(Image::new(&[]).run().0, StageOutcome::skipped());
        let image = Image::new(&[]);
        symlink("/nonexistent", image.path("preflight.sh")).unwrap();
        assert!(image.run().0.cause.unwrap().starts_with("preflight.sh: cannot access "));
    }
}
