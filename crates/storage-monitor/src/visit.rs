//! A look at one directory that storage leads into.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use kit::quote::quoted;
use nix::errno::Errno;

use crate::apply;
use crate::carry_out::Done;
use crate::changes::Names;
use crate::engine::{Engine, children_of, in_tree};
use crate::findings::Conflict;
use crate::held::{self, Held};
use crate::ledger::{Ledger, Note};
use crate::listing::Listing;
use crate::make_directory::make_directory;
use crate::merge::merge;
use crate::pace;
use crate::pass::{Children, Job, Pass, Visit};
use crate::plan::{Known, Loss, Plan, Planner};
use crate::shown::Shown;
use crate::targets::Source;
use crate::there::There;
use crate::way;

/// So many steps are decided, written into the ledger and done at once.
const STEPS: usize = 1_024;

impl Engine {
    /// Makes one directory right.
    pub fn visit(&mut self, pass: &mut Pass<'_, '_>, place: &Rc<Path>, job: &Job) -> Visit {
        let Job { sources, names } = job;
        let mut listings = match self.offered(pass, job) {
            Ok(listings) => listings,
            Err(problem) => return self.unknown(pass, place, problem),
        };
        let directory = match self.enter(pass, place, sources.is_empty()) {
            Ok(directory) => directory,
            Err(error) if sources.is_empty() && way::is_absent(&error) => return Visit::Absent,
            Err(error) => return self.unknown(pass, place, error.to_string()),
        };
        let there = match self.look(pass, place, directory.as_ref(), names, &mut listings) {
            Ok(there) => there,
            Err(error) => return self.unknown(pass, place, error.to_string()),
        };
        let numbers: Vec<_> = sources
            .iter()
            .map(|source| self.ledger.number(&in_tree(&self.tree, &source.directory)))
            .collect();
        let reserved: BTreeSet<&[u8]> = children_of(&pass.targets.roots, place, &Names::All)
            .filter_map(|(root, _)| root.file_name().map(OsStr::as_bytes))
            .collect();
        let reserved = |name: &[u8]| reserved.contains(name);
        let held = self.ledger.settled(place, |name| leads(&self.ledger, directory.as_ref(), name));
        let links = there.links.iter().map(|(name, _)| name);
        let mut planner = Planner::new(merge(&listings), ours(&held, names), links);
        let mut done = Done::new(&self.ledger, names);
        loop {
            let leads = |name: &[u8]| leads(&self.ledger, directory.as_ref(), name);
            let known = Known { numbers: &numbers, reserved: &reserved, leads: &leads };
            let more = planner.decide(known, STEPS);
            let steps = std::mem::take(&mut planner.plan.steps);
            match (&mut pass.show, &directory) {
                (Some(show), _) => self.show(place, &steps, &pass.gone, *show),
                (None, Some(directory)) => {
                    self.carry_out(&mut pass.tally, place, directory, &steps, &mut done);
                }
                (None, None) => {}
            }
            if !more {
                break;
            }
            if self.is_stopped() {
                return Visit::Stopped;
            }
        }
        if pass.show.is_none() {
            done.links.hold(&mut self.ledger, place);
        }
        self.find(place, job, &planner.plan, done.errors);
        Visit::Done(
            children(place, sources, &planner.plan),
            there.count.saturating_add_signed(planner.plan.more),
        )
    }

    fn unknown(&mut self, pass: &mut Pass<'_, '_>, place: &Path, problem: String) -> Visit {
        pass.tally.failed += 1;
        self.findings.set(place, [], vec![problem]);
        Visit::Unknown
    }

    /// What each source has; one that is not there has nothing.
    fn offered(&mut self, pass: &Pass<'_, '_>, job: &Job) -> Result<Vec<Listing>, String> {
        let mut listings = Vec::with_capacity(job.sources.len());
        for Source { directory, .. } in &job.sources {
            let opened = match &pass.top {
                Some(top) => dirfd::open_beneath(top, directory),
                None => Err(Errno::ENOENT),
            };
            let listing = opened.map_err(io::Error::from).and_then(|opened| {
                self.routes.see(directory, Some(dirfd::identity(&opened)?));
                self.events = self.events.worst(pace::events_of(&opened));
                Listing::offered(&opened, &job.names)
            });
            listings.push(match listing {
                Ok(listing) => listing,
                Err(error) if way::is_absent(&error) => {
                    self.routes.see(directory, None);
                    Listing::default()
                }
                Err(error) => {
                    return Err(format!("cannot read {}: {error}", quoted(&in_tree(&self.tree, directory))));
                }
            });
        }
        Ok(listings)
    }

    /// Opens a directory, and makes it first if it is wanted; nothing if it would have been made.
    fn enter(
        &mut self,
        pass: &mut Pass<'_, '_>,
        place: &Path,
        unwanted: bool,
    ) -> io::Result<Option<OwnedFd>> {
        let opened = match dirfd::open_absolute(place) {
            Err(error) if error == Errno::ENOENT && !unwanted => {
                let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
                    return Err(error.into());
                };
                if let Some(show) = &mut pass.show {
                    // A directory in one that is wanted was shown as a step there.
                    if pass.targets.roots.contains_key(place) && !self.routes.places().contains_key(parent) {
                        show(Shown::MakeDirectory(place.to_owned()));
                    }
                    return Ok(None);
                }
                let parent = dirfd::open_absolute(parent)?;
                self.ledger.note(Note::Directory(place));
                if let Err(error) = self.ledger.save() {
                    self.ledger.note(Note::Forget(place));
                    return Err(io::Error::other(format!("{error:#}")));
                }
                make_directory(&parent, name.as_bytes())?;
                pass.tally.directories += 1;
                dirfd::open_absolute(place)?
            }
            opened => opened?,
        };
        if pass.identity == Some(dirfd::identity(&opened)?) {
            return Err(io::Error::other("it is the storage itself"));
        }
        Ok(Some(opened))
    }

    /// What is there, without what was, or would have been, removed meanwhile.
    fn look(
        &self,
        pass: &Pass<'_, '_>,
        place: &Path,
        directory: Option<&OwnedFd>,
        names: &Names,
        listings: &mut [Listing],
    ) -> io::Result<There> {
        let Some(directory) = directory else { return Ok(There::default()) };
        let gone = pass.gone.iter().filter(|path| path.parent() == Some(place));
        let gone = gone.filter_map(|path| path.file_name().map(OsStr::as_bytes)).collect();
        let mut there = There::look(directory, names, &gone, listings, &self.temporary)?;
        if !there.leftovers.is_empty() && pass.show.is_none() {
            // Where it cannot be removed, links cannot be made either, and that is told.
            let removed = apply::remove_leftovers(directory, &there.leftovers, &self.tree).unwrap_or(0);
            there.count = there.count.saturating_sub(removed);
        }
        Ok(there)
    }

    /// Notes what could not be done, in place of what was known about these names.
    fn find(&mut self, place: &Path, job: &Job, plan: &Plan<'_>, errors: Vec<String>) {
        let directory = |index: usize| job.sources[index].directory.to_path_buf();
        let new = plan.conflicts.iter().map(|lost| Conflict {
            name: lost.name.to_vec(),
            source: directory(lost.source),
            winner: match lost.why {
                Loss::Taken => None,
                Loss::To(index) => Some(directory(index)),
            },
        });
        match &job.names {
            Names::All => self.findings.set(place, new, errors),
            Names::Only(names) => {
                let mut all = self.findings.remove(place).conflicts;
                all.retain(|conflict| !names.contains(&conflict.name));
                all.extend(new);
                all.sort_by(|one, other| one.name.cmp(&other.name));
                self.findings.set(place, all, errors);
            }
        }
    }
}

/// Our links among these names.
fn ours<'a>(held: &'a Held, names: &'a Names) -> Box<dyn Iterator<Item = (&'a [u8], held::Source)> + 'a> {
    match names {
        Names::All => Box::new(held.iter()),
        Names::Only(names) => {
            Box::new(names.iter().filter_map(|name| Some((name.as_slice(), held.get(name)?))))
        }
    }
}

/// Into which source a link leads, if it leads to its own name in one.
fn leads(ledger: &Ledger, directory: Option<&OwnedFd>, name: &[u8]) -> Option<held::Source> {
    let text = dirfd::link_text(directory?, name).ok()??;
    let source = text.as_bytes().strip_suffix(name)?.strip_suffix(b"/")?;
    let number = ledger.known(Path::new(OsStr::from_bytes(source)))?;
    // Paths are equal that are not spelt alike, and whoever spelt this one otherwise was not we.
    (ledger.source(number).as_os_str().as_bytes() == source).then_some(number)
}

/// What leads into the directories of a directory.
fn children(place: &Path, sources: &[Source], plan: &Plan<'_>) -> Children {
    let down = |name: &OsStr, index: usize| Source {
        directory: sources[index].directory.join(name).into(),
        depth: sources[index].depth,
    };
    let directories = plan.directories.iter().map(|(name, indices)| (OsStr::from_bytes(name), indices));
    directories
        .map(|(name, indices)| {
            (place.join(name).into(), indices.iter().map(|&index| down(name, index)).collect())
        })
        .collect()
}
