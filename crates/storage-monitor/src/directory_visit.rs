//! Visits one target directory: reads, plans and corrects it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dirfd::FileType;
use kit::quote::quoted;
use log::Level;
use nix::errno::Errno;

use crate::directory_scan::{self, Listing, Names};
use crate::execute;
use crate::findings::{Conflict, ScanCounts};
use crate::ledger::{Ledger, LinkSet, SourceId};
use crate::mapping::Source;
use crate::plan::{DryRunStep, NameConflict, Plan, PlanContext, Step, plan};
use crate::rescan_interval::event_coverage;
use crate::routes::{children_of, in_tree};
use crate::safe_resolve::is_absent;
use crate::tree_linker::{Job, Pass, TreeLinker, Visit};

/// Number of steps that are recorded together, before the first of them is made.
const BATCH: usize = 1_024;
/// Age after which no monitor needs a temporary link.
const LEFTOVER_AGE: Duration = Duration::from_hours(1);

impl TreeLinker {
    /// Corrects one directory.
    pub fn visit(&mut self, pass: &mut Pass<'_, '_>, target: &Arc<Path>, job: &Job) -> Visit {
        let Job { sources, names } = job;
        let read = self.scan_sources(pass, job).and_then(|offered| {
            let entered = self.enter(pass, target, sources.is_empty());
            let read = entered.and_then(|directory| {
                let present = self.scan_target(pass, target, directory.as_ref(), names)?;
                Ok((offered, directory, present))
            });
            read.map_err(|error| (sources.is_empty() && is_absent(&error), error.to_string()))
        });
        let (offered, directory, present) = match read {
            Ok(read) => read,
            Err((true, _)) => return Visit::Absent,
            Err((false, error)) => {
                pass.counts.failed += 1;
                self.findings.set(target, Vec::new(), 0, Some(error));
                return Visit::Unknown;
            }
        };
        let ids: Vec<_> = sources
            .iter()
            .map(|source| self.ledger.source_id(&in_tree(&self.root, &source.directory)))
            .collect();
        let reserved: BTreeSet<&[u8]> = children_of(&pass.targets.roots, target, &Names::All)
            .filter_map(|(root, _)| root.file_name().map(OsStr::as_bytes))
            .collect();
        let context = PlanContext {
            ids: &ids,
            reserved: &|name| reserved.contains(name),
            link_source: &|name| link_source(&self.ledger, directory.as_ref(), name),
        };
        let Plan { steps, directories, conflicts, conflict_count } =
            plan(&offered, some_of(self.ledger.links(target), names), &present, context);
        let removed = steps.iter().filter(|step| matches!(step, Step::Unlink(..))).count();
        let error = match (&mut pass.dry_run, &directory) {
            (Some(dry_run), _) => {
                // After a removal, only its effects are left to be shown.
                let again = pass.gone.iter().any(|gone| gone.parent() == Some(target));
                for step in steps.iter().filter_map(|step| step.dry_run(target, &self.ledger)) {
                    if !again || pass.gone.contains(step.path.as_path()) {
                        dry_run(step);
                    }
                }
                None
            }
            (None, Some(directory)) => self.execute(&mut pass.counts, target, directory, steps),
            (None, None) => None,
        };
        let conflicts = conflicts.into_iter().map(|lost| conflict(sources, lost)).collect();
        self.findings.set(target, conflicts, conflict_count, error);
        let down = |name: &OsStr, index: usize| Source {
            directory: sources[index].directory.join(name).into(),
            depth: sources[index].depth,
        };
        let children = directories.into_iter().map(|(name, indices)| {
            (target.join(&name).into(), indices.into_iter().map(|index| down(&name, index)).collect())
        });
        Visit::Done { children: children.collect(), remaining: present.len() - removed }
    }

    /// Lists the sources; one that does not exist is empty.
    fn scan_sources(&mut self, pass: &Pass<'_, '_>, job: &Job) -> Result<Vec<Listing>, (bool, String)> {
        let mut listings = Vec::with_capacity(job.sources.len());
        for Source { directory, .. } in &job.sources {
            let opened = match &pass.top {
                Some(top) => dirfd::open_beneath(top, directory),
                None => Err(Errno::ENOENT),
            };
            let listing = opened.and_then(|opened| {
                self.routes.set_identity(directory, Some(dirfd::identity(&opened)?));
                self.coverage = self.coverage.max(event_coverage(&opened));
                directory_scan::scan_source(&opened, &job.names)
            });
            listings.push(match listing {
                Ok(listing) => listing,
                Err(error) if dirfd::is_absent(error) => {
                    self.routes.set_identity(directory, None);
                    Listing::new()
                }
                Err(error) => {
                    let path = in_tree(&self.root, directory);
                    let error = io::Error::from(error);
                    return Err((false, format!("cannot read {}: {error}", quoted(&path))));
                }
            });
        }
        Ok(listings)
    }

    /// Opens a directory, and creates it first if it is wanted; returns `None` if a dry run would have created it.
    fn enter(
        &mut self,
        pass: &mut Pass<'_, '_>,
        target: &Path,
        unwanted: bool,
    ) -> io::Result<Option<OwnedFd>> {
        let opened = match dirfd::open_absolute(target) {
            Err(error) if error == Errno::ENOENT && !unwanted => {
                let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
                    return Err(error.into());
                };
                if let Some(dry_run) = &mut pass.dry_run {
                    // A directory in one that is wanted was shown as a step there.
                    if pass.targets.roots.contains_key(target) && !self.routes.targets().contains_key(parent)
                    {
                        dry_run(DryRunStep { action: "mkdir", path: target.to_owned(), to: None });
                    }
                    return Ok(None);
                }
                let parent = dirfd::open_absolute(parent)?;
                self.ledger.record_directory(target);
                self.ledger.save().map_err(|error| io::Error::other(format!("{error:#}")))?;
                self.make_directory(&mut pass.counts, target, &parent, name.as_bytes())?;
                dirfd::open_absolute(target)?
            }
            opened => opened?,
        };
        if pass.identity == Some(dirfd::identity(&opened)?) {
            return Err(io::Error::other("it is the storage itself"));
        }
        Ok(Some(opened))
    }

    /// Creates a directory that is recorded already.
    fn make_directory(
        &mut self,
        counts: &mut ScanCounts,
        path: &Path,
        parent: &OwnedFd,
        name: &[u8],
    ) -> io::Result<()> {
        let made = execute::make_directory(parent, name);
        if matches!(made, Ok(true)) {
            self.ledger.insert_directory(path);
            counts.directories += 1;
        } else if !self.ledger.created_directory(path) {
            self.ledger.forget_directory(path);
        }
        made.map(drop)
    }

    /// Lists the entries that are present, without those that this scan removed, or would have removed.
    fn scan_target(
        &self,
        pass: &Pass<'_, '_>,
        target: &Path,
        directory: Option<&OwnedFd>,
        names: &Names,
    ) -> io::Result<Listing> {
        let Some(directory) = directory else { return Ok(Listing::new()) };
        let gone = pass.gone.iter().filter(|path| path.parent() == Some(target));
        let gone: BTreeSet<&[u8]> = gone.filter_map(|path| path.file_name().map(OsStr::as_bytes)).collect();
        let mut present = directory_scan::scan_target(directory, names)?;
        present.retain(|(name, kind)| {
            // Where a leftover cannot be removed, links cannot be made either, and that is reported.
            let leftover =
                *kind == FileType::Symlink && pass.dry_run.is_none() && execute::is_temporary(name);
            let removed = leftover
                && execute::remove_leftover(directory, name, &self.root, LEFTOVER_AGE).unwrap_or(false);
            !removed && !gone.contains(&**name)
        });
        Ok(present)
    }

    /// Makes the steps in a directory; returns the first error of the system.
    fn execute(
        &mut self,
        counts: &mut ScanCounts,
        target: &Arc<Path>,
        directory: &OwnedFd,
        steps: Vec<Step>,
    ) -> Option<String> {
        let mut first_error = None;
        let mut steps = steps.into_iter().peekable();
        while steps.peek().is_some() {
            let start = Instant::now();
            let batch: Vec<Step> = steps.by_ref().take(BATCH).collect();
            for step in &batch {
                self.record(target, step);
                if log::log_enabled!(Level::Debug)
                    && let Some(step) = step.dry_run(target, &self.ledger)
                {
                    log::debug!("{step}");
                }
            }
            // Before any step: a kill must leave no link without a record.
            let saved = self.ledger.save();
            for step in batch {
                if saved.is_err() && !matches!(step, Step::Forget(..) | Step::Unlink(..)) {
                    counts.failed += 1;
                } else if let Err((name, error)) = self.execute_step(counts, target, directory, step) {
                    counts.failed += 1;
                    let name = quoted(Path::new(OsStr::from_bytes(&name)));
                    first_error.get_or_insert_with(|| format!("{name}: {error}"));
                }
            }
            if let Err(error) = saved {
                counts.ledger_error = Some(format!("{error:#}"));
            }
            counts.change_time += start.elapsed();
        }
        first_error
    }

    /// Records the link or directory that a step will create, or that is no longer ours.
    fn record(&mut self, target: &Path, step: &Step) {
        match step {
            Step::Adopt(name, source) | Step::Link(name, source) | Step::Relink { name, to: source, .. } => {
                self.ledger.record_link(target, name, *source);
            }
            Step::Forget(name, source) => self.ledger.record_unlink(target, name, *source),
            Step::MakeDirectory(name) => {
                self.ledger.record_directory(&target.join(OsStr::from_bytes(name)));
            }
            Step::Unlink(..) => {}
        }
    }

    /// Makes one step; fails with the name and the system's reason.
    fn execute_step(
        &mut self,
        counts: &mut ScanCounts,
        target: &Arc<Path>,
        directory: &OwnedFd,
        step: Step,
    ) -> Result<(), (Box<[u8]>, io::Error)> {
        match step {
            Step::Adopt(name, source) => self.ledger.insert(target, name, source),
            Step::Forget(name, _) => self.ledger.remove(target, &name),
            Step::Link(name, source) => match execute::link(directory, &name, self.ledger.source(source)) {
                Ok(true) => {
                    self.ledger.insert(target, name, source);
                    counts.linked += 1;
                }
                // Another entry was created meanwhile: the next scan sees it.
                Ok(false) => {}
                Err(error) => return Err((name, error)),
            },
            Step::Relink { name, from, to } => {
                match execute::relink(directory, &name, self.ledger.source(from), self.ledger.source(to)) {
                    Ok(true) => {
                        self.ledger.record_unlink(target, &name, from);
                        self.ledger.insert(target, name, to);
                        counts.linked += 1;
                    }
                    Ok(false) => {}
                    Err(error) => return Err((name, error)),
                }
            }
            Step::Unlink(name, source) => match execute::unlink(directory, &name, self.ledger.source(source))
            {
                Ok(removed) => {
                    self.ledger.record_unlink(target, &name, source);
                    self.ledger.remove(target, &name);
                    counts.removed += usize::from(removed);
                }
                Err(error) => return Err((name, error)),
            },
            Step::MakeDirectory(name) => {
                let path = target.join(OsStr::from_bytes(&name));
                self.make_directory(counts, &path, directory, &name).map_err(|error| (name, error))?;
            }
        }
        Ok(())
    }
}

/// Our links among these names.
fn some_of<'a>(links: &'a LinkSet, names: &'a Names) -> Box<dyn Iterator<Item = (&'a [u8], SourceId)> + 'a> {
    match names {
        Names::All => Box::new(links.iter().map(|(name, source)| (&**name, *source))),
        Names::Only(names) => {
            Box::new(names.iter().filter_map(|name| Some((name.as_slice(), *links.get(name.as_slice())?))))
        }
    }
}

/// Returns the source that a link leads into, if it leads to its own name in one.
fn link_source(ledger: &Ledger, directory: Option<&OwnedFd>, name: &[u8]) -> Option<SourceId> {
    let text = dirfd::read_link(directory?, name).ok()??;
    let source = text.as_bytes().strip_suffix(name)?.strip_suffix(b"/")?;
    ledger.find_source(OsStr::from_bytes(source))
}

fn conflict(sources: &[Source], lost: NameConflict) -> Conflict {
    let directory = |index: usize| -> PathBuf { sources[index].directory.to_path_buf() };
    Conflict { name: lost.name, source: directory(lost.source), winner: lost.winner.map(directory) }
}
