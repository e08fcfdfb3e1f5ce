//! What is there to be followed at the moment.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use nix::errno::Errno;

use super::{Followed, Follower};
use crate::identity::FileId;
use crate::plan::Family;
use crate::stream::Stream;

impl Follower {
    /// Looks at every directory, opens what is new, and forgets what is gone.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        // What was rotated before there were positions is old; later, it has come while nobody looked.
        let first = self.looked.is_none() && self.positions.are_the_first();
        self.looked = Some(now);
        let mut troubles = BTreeMap::new();
        let mut is_split = false;
        for index in 0..self.directories.len() {
            let watched = self.watch.keep(index, &self.directories[index]);
            self.blind(watched.err());
            let mut own = BTreeSet::new();
            let directory = &self.directories[index];
            let mut trouble = |name: &str, why: String| {
                troubles.insert(format!("cannot read {}", directory.path().join(name).display()), why);
            };
            let listing = match directory.list() {
                Ok(listing) => listing,
                Err(error) => {
                    trouble("", error.to_string());
                    continue;
                }
            };
            for (name, why) in listing.refused {
                trouble(&name, why);
            }
            let gone = self.logs.range((index, String::new())..(index + 1, String::new()));
            let gone: Vec<String> = gone
                .filter(|((_, name), _)| !listing.families.contains_key(name))
                .map(|((_, name), _)| name.clone())
                .collect();
            let gone = gone.into_iter().map(|name| (name, Family::default()));
            for (name, family) in listing.families.into_iter().chain(gone) {
                let path = directory.path().join(&name);
                let is_gone = family == Family::default();
                let key = (index, name);
                // Renamed to `x-20261128.log` before there is another `x.log`.
                let is_rotated =
                    !self.logs.contains_key(&key) && family.base_id().is_some_and(|id| self.has(index, id));
                if is_rotated {
                    continue;
                }
                own.insert(key.1.clone());
                let followed = match self.logs.entry(key.clone()) {
                    Entry::Occupied(followed) => followed.into_mut(),
                    Entry::Vacant(place) => {
                        // Renamed while nobody read.
                        let renamed =
                            || family.base_id().and_then(|id| self.positions.left_in(directory.path(), id));
                        let stream = match self.positions.left(&path).or_else(renamed) {
                            Some(left) => Stream::resumed(&key.1, left.clone(), directory, &family),
                            None if first => Ok(Stream::current(&key.1, &family)),
                            None => Ok(Stream::whole(&key.1)),
                        };
                        match stream {
                            Ok(stream) => {
                                self.positions.is_back(&path);
                                place.insert(Followed::new(stream))
                            }
                            // It keeps its place until it can be read.
                            Err(error) => {
                                trouble(&key.1, error.to_string());
                                continue;
                            }
                        }
                    }
                };
                let looked = followed.stream.look(directory, family.clone(), now);
                match looked.and_then(|()| followed.stream.release_strangers(&family)) {
                    Ok(strangers) => {
                        is_split |= !strangers.is_empty();
                        own.extend(strangers);
                    }
                    Err(error) => trouble(&key.1, error.to_string()),
                }
                for text in followed.stream.take_lost().sentences(&followed.label) {
                    self.sinks.remark(&text);
                }
                if is_gone && followed.stream.is_over() {
                    self.logs.remove(&key);
                } else {
                    self.ready.insert(key);
                }
            }
            self.directories[index].own.extend(own);
        }
        self.remark(troubles);
        if is_split {
            self.look();
        }
    }

    /// True if a file belongs to a log of a directory that is followed.
    fn has(&self, index: usize, id: FileId) -> bool {
        self.logs.iter().any(|((directory, _), log)| *directory == index && log.stream.has(id))
    }

    /// Says what is new among the troubles, each once for as long as it lasts.
    fn remark(&mut self, troubles: BTreeMap<String, String>) {
        for (what, why) in &troubles {
            if self.remarked.get(what) != Some(why) {
                self.sinks.remark(&format!("{what}: {why}"));
            }
        }
        self.remarked = troubles;
    }

    /// Says why there are no events.
    pub(super) fn blind(&mut self, error: Option<Errno>) {
        if let Some(error) = error {
            let advice = "raise fs.inotify.max_user_instances and max_user_watches on the host";
            self.sinks.remark(&format!("no events of the file system ({error}), looking often; {advice}"));
        }
    }
}
