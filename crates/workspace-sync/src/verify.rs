//! `verify`: is everything that the image brings in the workspace's copy, as it was?

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kit::{Exit, Outcome};
use serde::Serialize;
use tree_copy::{Check, Counters, Note, Observer, Options, What};

use crate::copy;
use crate::decide::Copy;
use crate::look;
use crate::sync::Setting;
use crate::tree::Tree;
use kit::units;

/// So many names of each kind are kept for the answer.
const SHOWN: usize = 20;

/// What was found about one copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The tree's name below `/opt`.
    pub tree: String,
    /// Entries of the image's copy.
    pub entries: u64,
    /// Those that were written in the workspace since: with other times, so that somebody meant it.
    pub changed: u64,
    /// Those that are not there.
    pub missing: u64,
    /// Those with the time of the image's and another size or content: nobody meant that.
    pub damaged: u64,
    /// Some of the missing.
    pub missing_names: Vec<PathBuf>,
    /// Some of the damaged.
    pub damaged_names: Vec<PathBuf>,
}

/// Compares each tree's copy with the image's; answers "no" if something is missing or damaged.
pub fn run(setting: &Setting<'_>, trees: Vec<&Tree>, content: bool, json: bool) -> Outcome {
    let mut exit = Exit::Done;
    for tree in trees {
        let Copy::Whole(_) = look::copy(tree, &setting.workspace.path, &tree.copy)? else {
            log::info!("{}: there is no copy at {}", tree.name, tree.copy.display());
            continue;
        };
        if tree.brought().is_none() {
            log::warn!(
                "{}: the image's directory was emptied for the link at {}, so that this container has nothing to \
                 compare with",
                tree.name,
                tree.entrance.display()
            );
            exit = Exit::No;
            continue;
        }
        let verdict = verify(setting, tree, content)?;
        if verdict.missing + verdict.damaged > 0 {
            exit = Exit::No;
        }
        if json {
            serde_json::to_writer(io::stdout(), &verdict).map_err(io::Error::from)?;
            writeln!(io::stdout())?;
        } else {
            tell(&verdict)?;
        }
    }
    Ok(exit)
}

fn verify(setting: &Setting<'_>, tree: &Tree, content: bool) -> anyhow::Result<Verdict> {
    let copy = look::open(&setting.workspace.path, &tree.copy)?;
    let capabilities = tree_copy::probe(&copy::path_of(&copy::open_parent(tree, &setting.workspace.path)?))?;
    let keep = copy::kept();
    let options = Options {
        write: false,
        prune: false,
        durable: false,
        keep: &keep,
        check: if content { Check::Content } else { Check::Metadata },
        full_speed: setting.manner.full_speed,
        ..Options::new(&capabilities)
    };
    let at = copy::path_of(&copy);
    let image = tree.brought().unwrap_or(&tree.image);
    let found = Found { image, copy: &at, verdict: Mutex::default() };
    let pass = tree_copy::pass(image, &at, &options, &found)?;
    let verdict = found.verdict.into_inner().unwrap_or_default();
    Ok(Verdict { tree: tree.name.clone(), entries: pass.entries, ..verdict })
}

fn tell(verdict: &Verdict) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(
        out,
        "{}: of {} entries of the image, {} are missing, {} damaged, and {} were changed since",
        verdict.tree,
        units::count(verdict.entries),
        units::count(verdict.missing),
        units::count(verdict.damaged),
        units::count(verdict.changed)
    )?;
    for (what, names) in [("missing", &verdict.missing_names), ("damaged", &verdict.damaged_names)] {
        for name in names {
            writeln!(out, "  {what}: {:?}", name.display().to_string())?;
        }
    }
    Ok(())
}

/// Sorts differences by whether somebody meant them.
struct Found<'a> {
    image: &'a Path,
    copy: &'a Path,
    verdict: Mutex<Verdict>,
}

impl Observer for Found<'_> {
    fn counted(&self, _counters: &Counters) {}

    fn noted(&self, note: Note) {
        if note.what != What::Differs {
            return;
        }
        let image = self.image.join(&note.path).symlink_metadata();
        let copy = self.copy.join(&note.path).symlink_metadata();
        let Ok(mut verdict) = self.verdict.lock() else { return };
        let Ok(copy) = copy else {
            verdict.missing += 1;
            if verdict.missing_names.len() < SHOWN {
                verdict.missing_names.push(note.path);
            }
            return;
        };
        let same_time = image.is_ok_and(|image| {
            image.is_file() && copy.is_file() && image.modified().ok() == copy.modified().ok()
        });
        if same_time {
            verdict.damaged += 1;
            if verdict.damaged_names.len() < SHOWN {
                verdict.damaged_names.push(note.path);
            }
        } else {
            verdict.changed += 1;
        }
    }

    fn stop(&self) -> bool {
        false
    }
}
