//! Reasons why a file of the storage is linked, or is not.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use kit::Exit;
use kit::quote::escape_control;
use kit::quote::quoted;

use crate::directory_scan::{ARIA2_SUFFIX, waiting_reason};
use crate::findings::Conflict;
use crate::mapping::Source;
use crate::monitor::Monitor;
use crate::plan::DryRunStep;

/// Prints a line for each place where the file is or should be linked, or the reason why it is not linked.
pub fn explain(mut monitor: Monitor, path: &Path, json: bool) -> Result<Exit> {
    let file = storage_relative(&monitor.paths().storage, path)?;
    monitor.read_mapping(false);
    let mut steps = Vec::new();
    monitor.full_scan(Some(&mut |step| steps.push(step)));
    let reasons = reasons(&monitor, &file, &steps);
    let mut out = io::stdout().lock();
    for Reason { state, place, text } in &reasons {
        if json {
            let reason = serde_json::json!({ "place": place, "state": state, "reason": text });
            writeln!(out, "{reason}")?;
        } else {
            let text = text.as_ref().or(place.as_ref()).map_or("", String::as_str);
            writeln!(out, "{state}: {}", escape_control(text))?;
        }
    }
    Ok(if reasons.iter().any(|reason| reason.state == LINKED) { Exit::Done } else { Exit::No })
}

/// Returns the path below the storage; a relative one is looked up in the current directory, then in the storage. Only the
/// directory that holds the file is resolved: the file may be a link of its own.
fn storage_relative(storage: &Path, path: &Path) -> Result<PathBuf> {
    let real = fs::canonicalize(storage).with_context(|| format!("cannot find {}", storage.display()))?;
    let name = path.file_name().with_context(|| format!("{} is not a file name", quoted(path)))?;
    let parent = path.parent().unwrap_or(path);
    // Joining an absolute path replaces the base.
    [Path::new("."), &real]
        .into_iter()
        .filter_map(|base| fs::canonicalize(base.join(parent)).ok())
        .find_map(|parent| Some(parent.strip_prefix(&real).ok()?.join(name)))
        .with_context(|| format!("{} is neither in {} nor a path below it", quoted(path), storage.display()))
}

const LINKED: &str = "linked";
const NOT_LINKED: &str = "not linked";

/// State of the file in one place, or in all.
struct Reason {
    state: &'static str,
    /// Quoted path of the link or directory.
    place: Option<String>,
    text: Option<String>,
}

fn reasons(monitor: &Monitor, file: &Path, steps: &[DryRunStep]) -> Vec<Reason> {
    let reason = |state, place: Option<&Path>, text| Reason { state, place: place.map(quoted), text };
    if let Some(why) = unlinkable_reason(&monitor.paths().storage, file) {
        return vec![reason(NOT_LINKED, None, Some(why))];
    }
    let mut reasons = Vec::new();
    // If a directory above the file cannot be mirrored, the file cannot be linked.
    let mut parts: Vec<&Path> = file.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
    parts.reverse();
    for part in parts {
        for target in targets_of(monitor, part.parent().unwrap_or(part)) {
            let path = target.join(part.file_name().unwrap_or_default());
            let found = match placement(monitor, &path, part, steps) {
                Placement::Linked if part == file => (LINKED, None),
                Placement::NotYet(step) if part == file => ("not yet", Some(step)),
                Placement::Conflict(why) => (NOT_LINKED, Some(why)),
                Placement::Linked | Placement::NotYet(_) | Placement::Mirrored => continue,
            };
            reasons.push(reason(found.0, Some(&path), found.1));
        }
    }
    let keys = monitor.mapping().into_iter().flat_map(|mapping| &mapping.0);
    for (_, directories) in keys.filter(|(key, _)| file.starts_with(key)) {
        let waiting = monitor.waiting().iter().filter(|(directory, _)| directories.contains(*directory));
        reasons.extend(waiting.map(|(directory, why)| {
            let why = format!("{} is not ready: {why}", quoted(directory));
            reason(NOT_LINKED, Some(directory), Some(why))
        }));
    }
    reasons.extend(monitor.problems().map(|problem| reason("problem", None, Some(problem))));
    if reasons.is_empty() {
        let mappings = monitor.paths().mappings.display();
        reasons.push(reason(NOT_LINKED, None, Some(format!("no mapping in {mappings} covers this path"))));
    }
    reasons
}

/// State of a file or directory of the storage in one place.
enum Placement {
    Linked,
    /// A directory, whose entries decide.
    Mirrored,
    NotYet(String),
    Conflict(String),
}

/// Directories into which a directory of the storage leads.
fn targets_of<'a>(monitor: &'a Monitor, directory: &'a Path) -> impl Iterator<Item = &'a Arc<Path>> {
    let routes = monitor.mapped.routes.targets().iter();
    let leads = move |sources: &[Source]| sources.iter().any(|source| *source.directory == *directory);
    routes.filter(move |(_, sources)| leads(sources)).map(|(target, _)| target)
}

/// Finds the state from the present entry and the planned steps, because not all conflicts are kept.
fn placement(monitor: &Monitor, path: &Path, part: &Path, steps: &[DryRunStep]) -> Placement {
    let storage = &monitor.paths().storage;
    let ours = storage.join(part);
    let sources = monitor.mapped.routes.sources(path);
    if sources.iter().any(|source| *source.directory == *part) {
        return Placement::Mirrored;
    }
    let conflict = |to: Option<&Path>| {
        // A directory that has the name belongs to another source, or is not ours.
        let winner = to.and_then(|to| to.strip_prefix(storage).ok()).filter(|winner| *winner != part);
        let (Some(target), Some(source), Some(name)) = (path.parent(), part.parent(), part.file_name())
        else {
            return Placement::Mirrored;
        };
        let winner = winner.and_then(Path::parent).map(Path::to_owned);
        let conflict = Conflict { name: name.as_bytes().into(), source: source.to_owned(), winner };
        Placement::Conflict(conflict.message(target))
    };
    match steps.iter().rfind(|step| step.path == path) {
        Some(DryRunStep { to: Some(to), .. }) if *to != ours => conflict(Some(to)),
        Some(step) => Placement::NotYet(step.to_string()),
        None => match fs::read_link(path) {
            Ok(to) if to == ours => Placement::Linked,
            found => match sources.first() {
                Some(first) => conflict(Some(&storage.join(&first.directory))),
                None => conflict(found.ok().as_deref()),
            },
        },
    }
}

/// Returns why the file is not linked anywhere.
fn unlinkable_reason(storage: &Path, file: &Path) -> Option<String> {
    let mut path = storage.to_owned();
    for component in file.components() {
        let Component::Normal(name) = component else { continue };
        path.push(name);
        if let Some(why) = waiting_reason(name.as_bytes()) {
            return Some(format!("{}: {why}", quoted(Path::new(name))));
        }
        let Ok(meta) = fs::symlink_metadata(&path) else {
            return Some(format!("{} does not exist", quoted(&path)));
        };
        let last = path.strip_prefix(storage) == Ok(file);
        if meta.is_symlink() && !last {
            return Some(format!("{} is a symbolic link, which is not followed", quoted(&path)));
        }
        if meta.is_symlink() && fs::metadata(&path).is_err() {
            return Some(format!("{} is a broken symbolic link", quoted(&path)));
        }
        if !meta.is_symlink() && !meta.is_file() && !meta.is_dir() {
            return Some(format!("{} is neither a file nor a directory", quoted(&path)));
        }
    }
    let mut control = file.file_name()?.to_owned();
    control.push(OsStr::from_bytes(ARIA2_SUFFIX));
    let control = path.with_file_name(control);
    control.exists().then(|| format!("{} marks it as incomplete", quoted(&control)))
}
