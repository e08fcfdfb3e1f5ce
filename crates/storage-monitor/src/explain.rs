//! Why a file of the storage is linked, or is not.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use kit::Exit;
use kit::logging::harmless;

use crate::monitor::Monitor;
use crate::names::waits;
use crate::report::sentence;
use crate::shown::Shown;
use kit::quote::quoted;

/// Prints a line for each place where the file is linked or wanted, or the reason why there is none.
pub fn explain(mut monitor: Monitor, path: &Path) -> Result<Exit> {
    let file = below(&monitor, path)?;
    monitor.read_mapping(false);
    let mut steps = Vec::new();
    monitor.all(Some(&mut |step| steps.push(step)));
    let (lines, linked) = reasons(&monitor, &file, &steps);
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{}", harmless(&line))?;
    }
    Ok(if linked { Exit::Done } else { Exit::No })
}

/// The path below the storage. Only the directory that holds the file is resolved: the file may be a link of its own.
fn below(monitor: &Monitor, path: &Path) -> Result<PathBuf> {
    let storage = &monitor.places().storage;
    let real = fs::canonicalize(storage).with_context(|| format!("cannot find {}", storage.display()))?;
    let name = path.file_name().with_context(|| format!("{} names no file", quoted(path)))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = fs::canonicalize(parent).with_context(|| format!("cannot find {}", quoted(parent)))?;
    let Ok(below) = parent.strip_prefix(&real) else {
        bail!("{} is not in {}", quoted(path), storage.display());
    };
    Ok(below.join(name))
}

fn reasons(monitor: &Monitor, file: &Path, steps: &[Shown]) -> (Vec<String>, bool) {
    if let Some(reason) = obstacle(&monitor.places().storage, file) {
        return (vec![format!("not linked: {reason}")], false);
    }
    let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else { return (Vec::new(), false) };
    let mut lines = Vec::new();
    let mut linked = false;
    for (place, sources) in monitor.mapped().routes() {
        if !sources.iter().any(|source| source.directory == parent) {
            continue;
        }
        let there = place.join(name);
        let lost = monitor.conflicts().find(|(at, conflict)| {
            *at == place && conflict.source == parent && OsStr::from_bytes(&conflict.name) == name
        });
        if let Some((at, conflict)) = lost {
            lines.push(format!("not linked: {}", sentence(at, conflict)));
        } else if let Some(step) = steps.iter().find(|step| *step.path() == there) {
            lines.push(format!("not yet: {step}"));
        } else {
            linked = true;
            lines.push(format!("linked: {}", quoted(&there)));
        }
    }
    let keys = monitor.mapping().into_iter().flat_map(|mapping| &mapping.0);
    for (_, directories) in keys.filter(|(key, _)| file.starts_with(key)) {
        let waiting = monitor.waiting().iter().filter(|(directory, _)| directories.contains(*directory));
        lines.extend(
            waiting.map(|(directory, why)| format!("not linked: {} waits: {why}", quoted(directory))),
        );
    }
    lines.extend(monitor.problems().into_iter().map(|problem| format!("problem: {problem}")));
    if lines.is_empty() {
        let mappings = monitor.places().mappings.display();
        lines.push(format!("not linked: no key of {mappings} leads here"));
    }
    (lines, linked)
}

/// What keeps the file from being linked anywhere.
fn obstacle(storage: &Path, file: &Path) -> Option<String> {
    let mut path = storage.to_owned();
    for component in file.components() {
        let Component::Normal(name) = component else { continue };
        path.push(name);
        if let Some(why) = waits(name.as_bytes()) {
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
    control.push(".aria2");
    let control = path.with_file_name(control);
    control.exists().then(|| format!("{} says that it is not complete", quoted(&control)))
}
