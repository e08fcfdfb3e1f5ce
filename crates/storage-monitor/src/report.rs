//! What the monitor has to say: problems, conflicts, its state.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kit::quote::quoted;

use crate::findings::Conflict;
use crate::monitor::Monitor;
use crate::status::{LISTED, Status};

/// So many bytes of sentences of one kind are in the state: it must stay small enough to be read.
const ROOM: usize = 128 << 10;

impl Monitor {
    /// The conflicts between files and whatever else has their names.
    pub fn conflicts(&self) -> impl Iterator<Item = (&PathBuf, &Conflict)> {
        // In the storage itself, a user's file wins over the image's, as it should.
        let findings = self.mapped().findings.iter();
        findings.flat_map(|(place, found)| found.conflicts.iter().map(move |conflict| (place, conflict)))
    }

    /// What is wrong, as sentences.
    pub fn problems(&self) -> Vec<String> {
        let mut all: Vec<String> = self.whole_problems().cloned().collect();
        for (place, found) in self.mapped().findings.iter().chain(&self.shipped().findings) {
            all.extend(found.errors.iter().map(|error| format!("{}: {error}", quoted(place))));
        }
        all
    }

    /// The state, but for what the watching part knows.
    pub fn status(&self) -> Status {
        Status {
            pid: std::process::id(),
            storage: self.places().storage.clone(),
            links: self.mapped().ledger.count(),
            shipped: self.shipped().ledger.count(),
            conflicts: self.conflicts().count(),
            conflict_list: listed(
                self.conflicts().map(|(place, conflict)| sentence(place, conflict)),
                String::len,
            ),
            problems: listed(self.problems().into_iter(), String::len),
            waiting: listed(
                self.waiting().iter().map(|(path, why)| (quoted(path), why.clone())),
                |(path, why)| path.len() + why.len(),
            ),
            ..Status::default()
        }
    }
}

/// The first sentences: at least one, and no more than there is room for.
fn listed<S, C: FromIterator<S>>(sentences: impl Iterator<Item = S>, length: impl Fn(&S) -> usize) -> C {
    let mut used = 0;
    let fits = |sentence: &S| {
        let first = used == 0;
        used += length(sentence);
        first || used <= ROOM
    };
    sentences.take(LISTED).take_while(fits).collect()
}

/// A conflict in words.
pub fn sentence(place: &Path, conflict: &Conflict) -> String {
    let name = OsStr::from_bytes(&conflict.name);
    let (path, file) = (quoted(&place.join(name)), quoted(&conflict.source.join(name)));
    match &conflict.winner {
        Some(winner) => format!("{path} leads to {}, not to {file}", quoted(&winner.join(name))),
        None => format!("{path} is something else; it does not lead to {file}"),
    }
}
