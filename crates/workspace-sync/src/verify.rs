//! `verify`: compares the workspace's copy with the image's.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kit::{Exit, Outcome};
use serde::Serialize;
use tree_copy::{Check, Counters, Difference, Note, NoteKind, Observer, Options};

use crate::copy_job;
use crate::decision::WorkspaceCopy;
use crate::image_listing::Listing;
use crate::reserved_names;
use crate::sync_context::SyncContext;
use crate::tree_paths::TreePaths;
use crate::tree_state;
use kit::units;

/// Maximum number of names of each kind in the result.
const MAX_LISTED: usize = 20;

/// Result of comparing one copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The tree's name below `/opt`.
    pub tree: String,
    /// Entries of the image's copy.
    pub entries: u64,
    /// Entries that were written in the workspace since, or got another owner, mode, access list or hard links.
    pub changed: u64,
    /// Entries that are missing.
    pub missing: u64,
    /// Entries with the image's time and another size or content, or of another type, which no program does on purpose.
    pub damaged: u64,
    /// Some of the missing.
    pub missing_names: Vec<PathBuf>,
    /// Some of the damaged.
    pub damaged_names: Vec<PathBuf>,
}

/// Compares each tree's copy with the image's; exits with "no" if entries are missing or damaged.
pub fn run(setting: &SyncContext<'_>, trees: Vec<&TreePaths>, content: bool, json: bool) -> Outcome {
    let mut exit = Exit::Done;
    for tree in trees {
        let WorkspaceCopy::Complete(_) = tree_state::inspect_copy(tree, &setting.workspace.path, &tree.copy)?
        else {
            log::info!("{}: there is no copy at {}", tree.name, tree.copy.display());
            continue;
        };
        if tree.image_tree().is_none() {
            log::warn!(
                "{}: the image's directory was replaced by the link {}, so there is nothing to compare with",
                tree.name,
                tree.active_link.display()
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
            print_verdict(&verdict)?;
        }
    }
    Ok(exit)
}

fn verify(setting: &SyncContext<'_>, tree: &TreePaths, content: bool) -> anyhow::Result<VerifyReport> {
    let copy = tree_state::open_in_workspace(&setting.workspace.path, &tree.copy)?;
    let capabilities = setting.capabilities(tree)?;
    let keep = reserved_names::all();
    let options = Options {
        write: false,
        prune: false,
        durable: false,
        keep: &keep,
        check: if content { Check::Content } else { Check::Metadata },
        ..Options::new(&capabilities)
    };
    let at = copy_job::path_of(&copy);
    let image = tree.image_tree().unwrap_or(&tree.image);
    let found = VerifyObserver { listing: setting.listing(tree)?, ..VerifyObserver::default() };
    let pass = tree_copy::pass(image, &at, &options, &found)?;
    let verdict = found.verdict.into_inner().unwrap_or_default();
    Ok(VerifyReport { tree: tree.name.clone(), entries: pass.entries, ..verdict })
}

fn print_verdict(verdict: &VerifyReport) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(
        out,
        "{}: of {} entries of the image, {} are missing, {} damaged, and {} were changed since",
        verdict.tree,
        units::format_count(verdict.entries),
        units::format_count(verdict.missing),
        units::format_count(verdict.damaged),
        units::format_count(verdict.changed)
    )?;
    for (what, names) in [("missing", &verdict.missing_names), ("damaged", &verdict.damaged_names)] {
        for name in names {
            writeln!(out, "  {what}: {:?}", name.display().to_string())?;
        }
    }
    Ok(())
}

/// Meaning of a difference for `verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// Intended: users write, and `fix-perms` changes access.
    Changed,
    Missing,
    Damaged,
}

fn judge(difference: Difference) -> Option<Finding> {
    match difference {
        Difference::Missing => Some(Finding::Missing),
        // No program sets a time back to what it was.
        Difference::Kind | Difference::Content => Some(Finding::Damaged),
        Difference::Modified | Difference::HardLinks | Difference::Metadata => Some(Finding::Changed),
        // Not an entry of the image.
        Difference::Extra => None,
    }
}

/// Counts the findings.
#[derive(Default)]
struct VerifyObserver {
    verdict: Mutex<VerifyReport>,
    listing: Option<Listing>,
}

impl VerifyObserver {
    /// True unless a program of this container created or changed the entry in the image's tree. Byte code is in no listing:
    /// Python writes it everywhere.
    fn is_images(&self, name: &Path) -> bool {
        let Some(listing) = &self.listing else { return true };
        listing.named(name).is_some_and(|row| !row.touched)
    }
}

impl Observer for VerifyObserver {
    fn on_progress(&self, _counters: &Counters) {}

    fn on_note(&self, note: Note) {
        let NoteKind::Differs(difference) = note.what else { return };
        if !self.is_images(&note.path) {
            return;
        }
        let (Some(finding), Ok(mut verdict)) = (judge(difference), self.verdict.lock()) else { return };
        let verdict = &mut *verdict;
        let (number, names) = match finding {
            Finding::Changed => {
                verdict.changed += 1;
                return;
            }
            Finding::Missing => (&mut verdict.missing, &mut verdict.missing_names),
            Finding::Damaged => (&mut verdict.damaged, &mut verdict.damaged_names),
        };
        *number += 1;
        if names.len() < MAX_LISTED {
            names.push(note.path);
        }
    }

    fn stop(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_no_damage() {
        let findings = [
            (Difference::Missing, Some(Finding::Missing)),
            (Difference::Extra, None),
            (Difference::Kind, Some(Finding::Damaged)),
            (Difference::Modified, Some(Finding::Changed)),
            (Difference::Content, Some(Finding::Damaged)),
            (Difference::HardLinks, Some(Finding::Changed)),
            (Difference::Metadata, Some(Finding::Changed)),
        ];
        for (difference, finding) in findings {
            assert_eq!(judge(difference), finding, "{difference:?}");
        }
    }
}
