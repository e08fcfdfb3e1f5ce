//! The steps in one directory: noted, done or shown.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use kit::quote::quoted;

use crate::apply;
use crate::changes::Names;
use crate::engine::Engine;
use crate::findings::Tally;
use crate::held::{Builder, Source};
use crate::ledger::{Ledger, Note};
use crate::make_directory::make_directory;
use crate::plan::Step;
use crate::shown::Shown;

/// What the steps came to.
#[derive(Debug)]
pub struct Done {
    /// What is ours now.
    pub links: Links,
    /// The first error of the system, if there was one.
    pub errors: Vec<String>,
}

/// Our links in a directory, or some of them.
#[derive(Debug)]
pub enum Links {
    All(Builder),
    Some(BTreeMap<Vec<u8>, Option<Source>>),
}

impl Done {
    /// Nothing yet, of these names.
    pub fn new(ledger: &Ledger, names: &Names) -> Self {
        let links = match names {
            Names::All => Links::All(ledger.list()),
            Names::Only(names) => Links::Some(names.iter().map(|name| (name.clone(), None)).collect()),
        };
        Self { links, errors: Vec::new() }
    }
}

impl Links {
    fn add(&mut self, name: &[u8], source: Source) {
        match self {
            Self::All(list) => list.push(name, source),
            Self::Some(links) => _ = links.insert(name.to_vec(), Some(source)),
        }
    }

    /// Tells the ledger.
    pub fn hold(self, ledger: &mut Ledger, place: &Rc<Path>) {
        match self {
            Self::All(list) => ledger.hold(place, list.finish()),
            Self::Some(links) => ledger.edit(place, &links),
        }
    }
}

impl Engine {
    /// Shows the steps to who asked for them.
    pub fn show(
        &self,
        place: &Path,
        steps: &[Step<'_>],
        gone: &BTreeSet<Rc<Path>>,
        show: &mut dyn FnMut(Shown),
    ) {
        let again = gone.iter().any(|gone| gone.parent() == Some(place));
        for step in steps {
            let at = |name: &[u8]| place.join(OsStr::from_bytes(name));
            let to = |name: &[u8], source| self.ledger.source(source).join(OsStr::from_bytes(name));
            let shown = match *step {
                Step::Link(name, source) => Shown::Link(at(name), to(name, source)),
                Step::Relink(name, _, source) => Shown::Relink(at(name), to(name, source)),
                Step::Unlink(name, _) => Shown::Unlink(at(name)),
                Step::MakeDirectory(name) => Shown::MakeDirectory(at(name)),
                Step::Keep(..) | Step::Adopt(..) | Step::Forget(..) => continue,
            };
            // All else was shown before.
            if !again || gone.contains(shown.path().as_path()) {
                show(shown);
            }
        }
    }

    /// Does the steps in a directory.
    pub fn carry_out(
        &mut self,
        tally: &mut Tally,
        place: &Path,
        directory: &OwnedFd,
        steps: &[Step<'_>],
        done: &mut Done,
    ) {
        let began = Instant::now();
        for step in steps {
            match *step {
                Step::Link(name, source) | Step::Relink(name, _, source) | Step::Adopt(name, source) => {
                    self.ledger.note(Note::Link(place, name, source));
                }
                Step::Forget(name, source) => self.ledger.note(Note::Unlink(place, name, source)),
                Step::MakeDirectory(name) => {
                    self.ledger.note(Note::Directory(&place.join(OsStr::from_bytes(name))));
                }
                Step::Keep(..) | Step::Unlink(..) => {}
            }
        }
        // Before anything is made: a kill must leave no link that nobody knows.
        let recorded = self.ledger.save();
        for step in steps {
            if recorded.is_err() && self.renounce(place, *step, &mut done.links) {
                tally.failed += 1;
                continue;
            }
            if let Err((name, error)) = self.step(tally, place, directory, *step, &mut done.links) {
                tally.failed += 1;
                if done.errors.is_empty() {
                    done.errors.push(format!("{}: {error}", quoted(Path::new(OsStr::from_bytes(name)))));
                }
            }
        }
        if let Err(error) = recorded {
            tally.ledger = Some(format!("{error:#}"));
        }
        // What is kept costs as much with each look.
        if steps.iter().any(|step| !matches!(step, Step::Keep(..))) {
            tally.changing += began.elapsed();
        }
    }

    /// Leaves as it is what was to be made and could not be recorded; says whether the step was such a one.
    fn renounce(&mut self, place: &Path, step: Step<'_>, links: &mut Links) -> bool {
        match step {
            Step::Link(..) | Step::Adopt(..) => {}
            Step::Relink(name, from, _) => links.add(name, from),
            Step::MakeDirectory(name) => {
                self.ledger.note(Note::Forget(&place.join(OsStr::from_bytes(name))));
            }
            Step::Keep(..) | Step::Unlink(..) | Step::Forget(..) => return false,
        }
        true
    }

    /// Does one step, and says which link is ours afterwards; fails with the name and the system's reason.
    fn step<'a>(
        &mut self,
        tally: &mut Tally,
        place: &Path,
        directory: &OwnedFd,
        step: Step<'a>,
        links: &mut Links,
    ) -> Result<(), (&'a [u8], std::io::Error)> {
        match step {
            Step::Keep(name, source) | Step::Adopt(name, source) => links.add(name, source),
            Step::Forget(..) => {}
            Step::Link(name, source) => {
                // If the name is taken meanwhile, the next pass sees it.
                if apply::link(directory, name, self.ledger.source(source)).map_err(|error| (name, error))? {
                    links.add(name, source);
                    tally.linked += 1;
                }
            }
            Step::Relink(name, from, to) => {
                match apply::relink(
                    directory,
                    &self.temporary,
                    name,
                    self.ledger.source(from),
                    self.ledger.source(to),
                ) {
                    Ok(true) => {
                        self.ledger.note(Note::Unlink(place, name, from));
                        links.add(name, to);
                        tally.linked += 1;
                    }
                    Ok(false) => links.add(name, from),
                    Err(error) => {
                        links.add(name, from);
                        return Err((name, error));
                    }
                }
            }
            Step::Unlink(name, source) => {
                match apply::unlink(directory, &self.temporary, name, self.ledger.source(source)) {
                    Ok(removed) => {
                        self.ledger.note(Note::Unlink(place, name, source));
                        tally.removed += usize::from(removed);
                    }
                    Err(error) => {
                        links.add(name, source);
                        return Err((name, error));
                    }
                }
            }
            Step::MakeDirectory(name) => {
                make_directory(directory, name).map_err(|error| (name, error))?;
                tally.directories += 1;
            }
        }
        Ok(())
    }
}
