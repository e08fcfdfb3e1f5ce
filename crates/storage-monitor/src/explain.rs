//! Why a file of the storage is linked, or is not.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kit::Exit;
use kit::logging::escape_control;
use kit::quote::quoted;

use crate::directory_scan::{ARIA2_SUFFIX, waiting_reason};
use crate::findings::Conflict;
use crate::mapping::Source;
use crate::monitor::Monitor;
use crate::plan::DryRunStep;

/// Prints a line for each place where the file is linked or wanted, or the reason why there is none.
pub fn explain(mut monitor: Monitor, path: &Path) -> Result<Exit> {
    let file = below(&monitor, path)?;
    monitor.read_mapping(false);
    let mut steps = Vec::new();
    monitor.full_scan(Some(&mut |step| steps.push(step)));
    let (lines, linked) = reasons(&monitor, &file, &steps);
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{}", escape_control(&line))?;
    }
    Ok(if linked { Exit::Done } else { Exit::No })
}

/// The path below the storage. Only the directory that holds the file is resolved: the file may be a link of its own.
fn below(monitor: &Monitor, path: &Path) -> Result<PathBuf> {
    let storage = &monitor.paths().storage;
    let real = fs::canonicalize(storage).with_context(|| format!("cannot find {}", storage.display()))?;
    let name = path.file_name().with_context(|| format!("{} names no file", quoted(path)))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = fs::canonicalize(parent).with_context(|| format!("cannot find {}", quoted(parent)))?;
    let Ok(below) = parent.strip_prefix(&real) else {
        bail!("{} is not in {}", quoted(path), storage.display());
    };
    Ok(below.join(name))
}

fn reasons(monitor: &Monitor, file: &Path, steps: &[DryRunStep]) -> (Vec<String>, bool) {
    if let Some(reason) = unlinkable_reason(&monitor.paths().storage, file) {
        return (vec![format!("not linked: {reason}")], false);
    }
    let mut lines = Vec::new();
    let mut linked = false;
    // What keeps a directory on the way from being mirrored keeps the file from being linked.
    let mut way: Vec<&Path> = file.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
    way.reverse();
    for part in way {
        for place in targets_of(monitor, part.parent().unwrap_or(part)) {
            let there = place.join(part.file_name().unwrap_or_default());
            match look(monitor, &there, part, steps) {
                Placement::Linked if part == file => {
                    linked = true;
                    lines.push(format!("linked: {}", quoted(&there)));
                }
                Placement::NotYet(step) if part == file => lines.push(format!("not yet: {step}")),
                Placement::Lost(why) => lines.push(format!("not linked: {why}")),
                Placement::Linked | Placement::NotYet(_) | Placement::Mirrored => {}
            }
        }
    }
    let keys = monitor.mapping().into_iter().flat_map(|mapping| &mapping.0);
    for (_, directories) in keys.filter(|(key, _)| file.starts_with(key)) {
        let waiting = monitor.waiting().iter().filter(|(directory, _)| directories.contains(*directory));
        lines.extend(
            waiting.map(|(directory, why)| format!("not linked: {} waits: {why}", quoted(directory))),
        );
    }
    lines.extend(monitor.problems().map(|problem| format!("problem: {problem}")));
    if lines.is_empty() {
        let mappings = monitor.paths().mappings.display();
        lines.push(format!("not linked: no key of {mappings} leads here"));
    }
    (lines, linked)
}

/// What became of a file or directory of the storage in one place.
enum Placement {
    Linked,
    /// A directory, in which to look further.
    Mirrored,
    NotYet(String),
    Lost(String),
}

/// Directories into which a directory of the storage leads.
fn targets_of<'a>(monitor: &'a Monitor, directory: &'a Path) -> impl Iterator<Item = &'a Arc<Path>> {
    let routes = monitor.mapped.routes.targets().iter();
    let leads = move |sources: &[Source]| sources.iter().any(|source| *source.directory == *directory);
    routes.filter(move |(_, sources)| leads(sources)).map(|(place, _)| place)
}

/// From what is there and what would be done: conflicts are not all kept.
fn look(monitor: &Monitor, there: &Path, part: &Path, steps: &[DryRunStep]) -> Placement {
    let storage = &monitor.paths().storage;
    let ours = storage.join(part);
    let sources = monitor.mapped.routes.sources(there);
    if sources.iter().any(|source| *source.directory == *part) {
        return Placement::Mirrored;
    }
    let lost = |to: Option<&Path>| {
        // A directory that has the name belongs to another source, or to nobody whom we know.
        let winner = to.and_then(|to| to.strip_prefix(storage).ok()).filter(|winner| *winner != part);
        let (Some(target), Some(source), Some(name)) = (there.parent(), part.parent(), part.file_name())
        else {
            return Placement::Mirrored;
        };
        let winner = winner.and_then(Path::parent).map(Path::to_owned);
        let conflict = Conflict { name: name.as_bytes().into(), source: source.to_owned(), winner };
        Placement::Lost(conflict.sentence(target))
    };
    match steps.iter().rfind(|step| step.path() == there) {
        Some(DryRunStep::Link(_, to) | DryRunStep::Relink(_, to)) if *to != ours => lost(Some(to)),
        Some(step) => Placement::NotYet(step.to_string()),
        None => match fs::read_link(there) {
            Ok(to) if to == ours => Placement::Linked,
            found => match sources.first() {
                Some(first) => lost(Some(&storage.join(&first.directory))),
                None => lost(found.ok().as_deref()),
            },
        },
    }
}

/// What keeps the file from being linked anywhere.
fn unlinkable_reason(storage: &Path, file: &Path) -> Option<String> {
    let mut path = storage.to_owned();
    for component in file.components() {
        let Component::Normal(name) = component else { continue };
        path.push(name);
        if let Some(why) = waiting_reason(name.as_bytes()) {
            return Some(format!("{}: {why}", quoted(Path::new(name))));
        }
        let Ok(meta) = fs::symlink_metadata(&path) else {
            return Some(format!("{} is not there", quoted(&path)));
        };
        let last = path.strip_prefix(storage) == Ok(file);
        if meta.is_symlink() && !last {
            return Some(format!("{} is a link, which is not gone into", quoted(&path)));
        }
        if meta.is_symlink() && fs::metadata(&path).is_err() {
            return Some(format!("{} is a link that leads nowhere", quoted(&path)));
        }
        if !meta.is_symlink() && !meta.is_file() && !meta.is_dir() {
            return Some(format!("{} is neither a file nor a directory", quoted(&path)));
        }
    }
    let mut control = file.file_name()?.to_owned();
    control.push(OsStr::from_bytes(ARIA2_SUFFIX));
    let control = path.with_file_name(control);
    control.exists().then(|| format!("{} says that it is not complete", quoted(&control)))
}
