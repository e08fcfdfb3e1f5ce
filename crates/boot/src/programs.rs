//! The programs stage: what extended images put into supervisord's directory starts after provisioning.
//!
//! supervisord's configuration is static and includes two directories: the base image's own programs, and
//! `/run/leonardo/programs`. That is a link; `init` points it to a directory without programs, this stage to the one
//! where everybody expects to put theirs. Nobody has to do anything for a program to start late.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use crate::ending::Ending;
use crate::supervisor;

/// Shows supervisord the programs, and has it start those that start by themselves.
pub fn run(programs: &Path, shown: &Path) -> Result<Ending> {
    show(programs, shown)?;
    if !has_any(programs)? {
        return Ok(Ending::skipped());
    }
    match supervisor::ask(&["update"]) {
        Ok(()) => Ok(Ending::done()),
        Err(error) => Ok(Ending::failed(
            format!("{error:#}"),
            format!("correct what is in {}, then type: supervisorctl update", programs.display()),
        )),
    }
}

/// Points the link to the directory, in one rename.
fn show(programs: &Path, shown: &Path) -> Result<()> {
    let next = shown.with_extension("next");
    let cannot = || format!("cannot make {}", shown.display());
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(cannot),
        _ => {}
    }
    symlink(programs, &next).and_then(|()| fs::rename(&next, shown)).with_context(cannot)
}

/// Whether a file there has a section; the one that the image ships is an explanation.
fn has_any(programs: &Path) -> Result<bool> {
    let cannot = || format!("cannot read {}", programs.display());
    for entry in fs::read_dir(programs).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        // What cannot be read is for supervisord to complain about.
        if path.extension().is_some_and(|extension| extension == "conf")
            && fs::read(&path).map_or(true, |text| has_section(&text))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_section(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'\n').any(|line| line.trim_ascii_start().starts_with(b"["))
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
