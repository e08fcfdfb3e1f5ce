//! The programs stage: starts the programs of extended images after provisioning.
//!
//! supervisord's configuration is static and includes two directories: the base image's programs, and
//! `/run/leonardo/programs`. That is a link; `init` points it to a directory without programs, this stage to `conf.d`.
//! Programs of extended images start late without any setting.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::untrusted_file::ReadError;
use kit::{ReadPolicy, missing_ok};

use crate::stage_outcome::StageOutcome;
use crate::supervisorctl::supervisorctl;

/// Maximum size of a file in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Directory of the base image's programs.
const BASE: &str = "/etc/supervisor/base.d";

/// Makes the programs visible to supervisord and starts them.
pub fn run(programs: &Path, link: &Path) -> Result<StageOutcome> {
    start(programs, Path::new(BASE), link)
}

fn start(programs: &Path, base: &Path, link: &Path) -> Result<StageOutcome> {
    let taken = match find_conflict(programs, base) {
        Err(error) if error.is::<ReadError>() => {
            let hint = "remove it or make it a plain file, then run: supervisorctl restart boot";
            return Ok(StageOutcome::failed(format!("{error:#}"), hint));
        }
        taken => taken?,
    };
    // supervisord would replace the base image's program, for example boot itself, which runs this stage.
    if let Some(taken) = taken {
        return Ok(StageOutcome::failed(
            format!("{} uses a program name of the base image: {}", taken.file.display(), taken.name),
            "rename it, then run: supervisorctl restart boot",
        ));
    }
    show(programs, link)?;
    if !has_any(programs)? {
        return Ok(StageOutcome::skipped());
    }
    match supervisorctl(&["update"]) {
        Ok(()) => Ok(StageOutcome::done()),
        Err(error) => Ok(StageOutcome::failed(
            format!("{error:#}"),
            format!("correct what is in {}, then run: supervisorctl update", programs.display()),
        )),
    }
}

/// Files of programs, as this stage reads them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ProgramFiles {
    /// Files that supervisord can read.
    pub readable: Vec<PathBuf>,
    /// Files because of which this stage starts no program, each with the reason.
    pub problems: Vec<(PathBuf, String)>,
}

/// Returns the files of programs in `base` and `programs`, and the problems of those in `programs`; for checks of an image.
pub fn program_files(programs: &Path, base: &Path) -> Result<ProgramFiles> {
    let mut found = ProgramFiles::default();
    let mut taken = Vec::new();
    for (directory, is_base) in [(base, true), (programs, false)] {
        for file in files(directory)? {
            match text(&file) {
                Ok(text) if is_base => taken.extend(names(&text)),
                Ok(text) => {
                    let conflicts = names(&text).into_iter().filter(|name| taken.contains(name));
                    found.problems.extend(conflicts.map(|name| {
                        (file.clone(), format!("it uses a program name of the base image: {name}"))
                    }));
                }
                Err(error) => {
                    found.problems.push((file, format!("{error:#}")));
                    continue;
                }
            }
            found.readable.push(file);
        }
    }
    Ok(found)
}

/// Points the link to the directory with one rename.
fn show(programs: &Path, link: &Path) -> Result<()> {
    let next = link.with_extension("next");
    let cannot = || format!("cannot create {}", link.display());
    missing_ok(fs::remove_file(&next)).with_context(cannot)?;
    symlink(programs, &next).and_then(|()| fs::rename(&next, link)).with_context(cannot)
}

/// A program name used twice.
#[derive(Debug, PartialEq, Eq)]
struct NameConflict {
    file: PathBuf,
    name: String,
}

/// Returns the first name in `programs` that `base` uses.
fn find_conflict(programs: &Path, base: &Path) -> Result<Option<NameConflict>> {
    let mut own = Vec::new();
    for file in files(base)? {
        own.extend(names(&text(&file)?));
    }
    for file in files(programs)? {
        let found = names(&text(&file)?);
        if let Some(name) = found.into_iter().find(|name| own.contains(name)) {
            return Ok(Some(NameConflict { file, name }));
        }
    }
    Ok(None)
}

/// Returns the names of a file's programs and groups, and of the members of its groups.
fn names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_group = false;
    for line in text.lines() {
        // Like supervisord: a section header starts at the beginning of a line.
        if let Some((header, _)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            let (kind, name) = header.split_once(':').unwrap_or((header, ""));
            in_group = kind == "group";
            names.push(name.trim().to_owned());
        } else if let Some((key, value)) = line.split_once(['=', ':'])
            && in_group
            && key.trim() == "programs"
        {
            names.extend(value.split(',').map(|name| name.trim().to_owned()));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Returns the files that supervisord reads in a directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// True if a file there has a section; the one that the image ships contains only comments.
fn has_any(programs: &Path) -> Result<bool> {
    for file in files(programs)? {
        if has_section(&text(&file)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns a file's text. supervisord would block on a FIFO, and refuse all programs because of a directory.
fn text(file: &Path) -> Result<String> {
    let bytes = ReadPolicy::max_size(MAX_BYTES).read(file)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn has_section(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with('['))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_changes_its_end_whatever_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let (waiting, programs) = (dir.path().join("waiting"), dir.path().join("conf.d"));
        let shown = dir.path().join("programs");
        show(&waiting, &shown).unwrap();
        symlink("/left/behind", dir.path().join("programs.next")).unwrap();
        show(&programs, &shown).unwrap();
        assert_eq!(fs::read_link(&shown).unwrap(), programs);
        assert!(!dir.path().join("programs.next").exists());
    }

    #[test]
    fn a_program_of_the_base_image_is_not_replaced() {
        let (base, added) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(base.path().join("boot.conf"), "[program:boot]\ncommand=boot run\n").unwrap();
        let file = added.path().join("x.conf");
        for (text, name) in [
            ("; [program:boot]\n[program:boots]\ncommand=x boot\nprograms=boot\n", None),
            ("[program:x]\n[program: boot ] ; mine\n", Some("boot")),
            ("[eventlistener:boot]\n", Some("boot")),
            ("[group:boot]\nprograms=x\n", Some("boot")),
            ("[group:g]\nprograms = x, boot\n", Some("boot")),
        ] {
            fs::write(&file, text).unwrap();
            let expected = name.map(|name| NameConflict { file: file.clone(), name: name.to_owned() });
            assert_eq!(find_conflict(added.path(), base.path()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_that_would_hold_supervisord_up_is_named_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let (programs, shown) = (dir.path().join("conf.d"), dir.path().join("programs"));
        let fifo = programs.join("x.conf");
        fs::create_dir(&programs).unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let ending = start(&programs, dir.path(), &shown).unwrap();
        let cause = format!("cannot read {}: it is a FIFO, not a regular file", fifo.display());
        let hint = "remove it or make it a plain file, then run: supervisorctl restart boot";
        assert_eq!(ending, StageOutcome::failed(cause, hint));
        assert!(!shown.is_symlink());
    }

    #[test]
    fn an_explanation_is_no_program() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("README.conf"), "; [program:x]\n# more\n").unwrap();
        fs::write(dir.path().join("x.conf.off"), "[program:x]\n").unwrap();
        assert!(!has_any(dir.path()).unwrap());
        fs::write(dir.path().join("x.conf"), "; mine\n\n[program:x]\n").unwrap();
        assert!(has_any(dir.path()).unwrap());
        assert!(has_any(&dir.path().join("none")).is_err());
    }
}
