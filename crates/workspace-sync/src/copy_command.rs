//! `copy`: runs the copy engine on any two directories.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use journal::Journal;
use kit::{Exit, HintExt, Outcome};
use tree_copy::{Check, Counters, NoObserver, Note, NoteKind, Observer, Options, PassStats, Survey};

use crate::cli::{CopyOptions, DryRun};
use crate::progress::{Phase, Progress, Total};
use kit::units;

/// Copies `source` to `target` and compares.
pub fn copy(source: &Path, target: &Path, copy_options: CopyOptions) -> Outcome {
    let CopyOptions { prune, verify, json, dry: DryRun { dry_run } } = copy_options;
    refuse_nesting(source, target)?;
    let check = if verify.is_some() { Check::Content } else { Check::Metadata };
    if !dry_run
        && target.is_dir()
        && let Some(seen) = equal(source, target, prune, check)?
    {
        log::info!("{} already equals {}", target.display(), source.display());
        return print(json, &seen);
    }
    let survey = tree_copy::survey(source, tree_copy::default_threads(), &[], &NoObserver)?;
    if dry_run {
        let step = format!(
            "copy {} entries with {} from {} to {}",
            units::format_count(survey.entries),
            units::format_bytes(survey.bytes),
            source.display(),
            target.display()
        );
        if json {
            writeln!(io::stdout(), "{}", serde_json::json!({ "step": step }))?;
        } else {
            writeln!(io::stdout(), "{step}")?;
        }
        return Ok(Exit::Done);
    }
    fs::create_dir_all(target).with_context(|| format!("cannot create {}", target.display()))?;
    let capabilities = tree_copy::probe(target)?;
    for lost in tree_copy::check_compatibility(&survey.needs, &capabilities)
        .map_err(|refusal| anyhow!("{} cannot hold the copy: {refusal}", target.display()))?
    {
        log::warn!("at {}, {lost}", target.display());
    }
    let shared = tree_copy::shares_blocks(source, target, &capabilities)?;
    let counted = |survey: Survey| if shared { survey.with_shared_blocks() } else { survey };
    let have = tree_copy::survey(target, tree_copy::default_threads(), &[], &NoObserver).map(counted)?;
    let free_space = tree_copy::free_space(target)?.with_reused(&have);
    let survey = counted(survey);
    tree_copy::fits(&survey, &free_space, capabilities.hard_links, 0)?;
    let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Not part of a stage, so its progress goes to the terminal only.
    let nowhere = Journal::new(Path::new("/dev/null"));
    let progress =
        Progress::new(&name, Total { entries: survey.entries, bytes: survey.bytes }, &nowhere, None);
    let options = Options { check, prune, ..Options::new(&capabilities) };
    let done = tree_copy::pass(source, target, &options, &progress)?;
    progress.enter(Phase::Comparing);
    let look = Options { write: false, durable: false, ..options };
    let seen = tree_copy::pass(source, target, &look, &progress)?;
    let differing = progress.take_differing();
    drop(progress);
    if let Some(first) = differing.first() {
        let count = seen.differing + seen.vanished;
        return Err(anyhow!("{count} entries differ after the copy, such as {}", first.display())).hint(
            || "programs are writing to the source, or the target does not store data reliably".to_owned(),
        );
    }
    log::info!(
        "{} entries with {} are equal; {} were copied or corrected, {} removed",
        units::format_count(seen.entries),
        units::format_bytes(seen.bytes),
        units::format_count(done.updated),
        units::format_count(done.removed)
    );
    print(
        json,
        &PassStats {
            updated: done.updated,
            removed: done.removed,
            copied_files: done.copied_files,
            copied_bytes: done.copied_bytes,
            ..seen
        },
    )
}

/// Prints the result with `--json`; the log has it as text.
fn print(json: bool, result: &PassStats) -> Outcome {
    if json {
        writeln!(io::stdout(), "{}", serde_json::to_string(result)?)?;
    }
    Ok(Exit::Done)
}

/// Compares both trees once, the whole cost of a repeated copy; nothing if they differ.
fn equal(source: &Path, target: &Path, prune: bool, check: Check) -> Result<Option<PassStats>> {
    let capabilities = tree_copy::probe(target)?;
    let look = Options { check, prune, write: false, durable: false, ..Options::new(&capabilities) };
    match tree_copy::pass(source, target, &look, &FirstDifference::default()) {
        Ok(seen) => Ok((seen.differing + seen.vanished == 0).then_some(seen)),
        Err(tree_copy::Error::Stopped) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Stops a comparison at the first difference, because the pass that follows compares again.
#[derive(Default)]
struct FirstDifference(AtomicBool);

impl Observer for FirstDifference {
    fn on_progress(&self, _counters: &Counters) {}

    fn on_note(&self, note: Note) {
        if matches!(note.what, NoteKind::Differs(_) | NoteKind::Vanished) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn stop(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Refuses a directory and its own subdirectory: the copy would never end, or destroy the source.
fn refuse_nesting(source: &Path, target: &Path) -> Result<()> {
    let source = fs::canonicalize(source).with_context(|| format!("cannot open {}", source.display()))?;
    let above = target.ancestors().find_map(|above| {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        Some((fs::canonicalize(above).ok()?, target.strip_prefix(above).ok()?.to_owned()))
    });
    let target = above.map_or_else(|| target.to_owned(), |(above, rest)| above.join(rest));
    // Joining nothing leaves a slash behind, which `starts_with` does not mind.
    if target.starts_with(&source) || source.starts_with(&target) {
        bail!("{} and {} contain each other", source.display(), target.display());
    }
    Ok(())
}
