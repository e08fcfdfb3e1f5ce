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
/// So many characters of a sentence's beginning and end are kept.
const HALF: usize = 1_000;

impl Monitor {
    /// The conflicts between files and whatever else has their names.
    pub fn conflicts(&self) -> impl Iterator<Item = (&PathBuf, &Conflict)> {
        // In the storage itself, a user's file wins over the image's, as it should.
        // Only the first are kept.
        let findings = self.mapped.findings.iter();
        findings.flat_map(|(place, found)| found.conflicts.iter().map(move |conflict| (place, conflict)))
    }

    /// What is wrong, as sentences.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        let found = self.mapped.findings.iter().chain(self.shipped.findings.iter());
        let errors = found.flat_map(|(place, found)| found.errors.iter().map(move |error| (place, error)));
        let errors = errors.map(|(place, error)| brief(&format!("{}: {error}", quoted(place))));
        self.whole_problems().map(|problem| brief(problem)).chain(errors)
    }

    /// The state, but for what the watching part knows.
    pub fn status(&self) -> Status {
        Status {
            pid: std::process::id(),
            storage: self.places().storage.clone(),
            links: self.mapped.ledger.count(),
            shipped: self.shipped.ledger.count(),
            conflicts: self.mapped.findings.count(),
            conflict_list: listed(
                self.conflicts().map(|(place, conflict)| sentence(place, conflict)),
                encoded,
            ),
            problems: listed(self.problems(), encoded),
            waiting: listed(
                self.waiting().iter().map(|(path, why)| (brief(&quoted(path)), brief(why))),
                |(path, why)| encoded(path) + encoded(why),
            ),
            ..Status::default()
        }
    }
}

/// The first sentences, as many as there is room for.
fn listed<S, C: FromIterator<S>>(sentences: impl Iterator<Item = S>, length: impl Fn(&S) -> usize) -> C {
    let mut used = 0;
    let fits = |sentence: &S| {
        used += length(sentence);
        used <= ROOM
    };
    sentences.take(LISTED).take_while(fits).collect()
}

/// How many bytes a sentence takes in the state.
fn encoded(sentence: &String) -> usize {
    serde_json::to_vec(sentence).map_or(ROOM, |text| text.len())
}

/// A sentence without its middle, if it is too long: paths may have any length, and names may need escapes for each byte.
pub fn brief(sentence: &str) -> String {
    let ends = (sentence.char_indices().nth(HALF), sentence.char_indices().rev().nth(HALF));
    match ends {
        (Some((head, _)), Some((tail, _))) if head < tail => {
            format!("{} … {}", &sentence[..head], &sentence[tail..])
        }
        _ => sentence.to_owned(),
    }
}

/// A conflict in words.
pub fn sentence(place: &Path, conflict: &Conflict) -> String {
    let name = OsStr::from_bytes(&conflict.name);
    let (path, file) = (quoted(&place.join(name)), quoted(&conflict.source.join(name)));
    brief(&match &conflict.winner {
        Some(winner) => format!("{path} leads to {}, not to {file}", quoted(&winner.join(name))),
        None => format!("{path} is something else; it does not lead to {file}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sentence_keeps_its_ends() {
        assert_eq!(brief("short"), "short");
        let whole = "ä".repeat(2 * HALF);
        assert_eq!(brief(&whole), whole);
        let long = format!("a{}z", "ä".repeat(1 << 20));
        let short = brief(&long);
        assert!(short.starts_with("aä") && short.ends_with("äz"));
        assert_eq!(short.chars().count(), 2 * HALF + 4);
    }

    #[test]
    fn what_is_listed_has_room_in_the_state() {
        let worst = brief(&"\u{1}".repeat(1 << 20));
        let all: Vec<String> = listed(std::iter::repeat(worst.clone()), encoded);
        assert!(!all.is_empty() && all.len() * encoded(&worst) <= ROOM);
    }
}
