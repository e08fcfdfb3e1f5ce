//! What is there to be followed at the moment.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use nix::errno::Errno;

use super::{Followed, Follower, Key};
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
        let left = std::mem::take(&mut self.left);
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
            for (_, log) in self.logs.range_mut((index, String::new())..(index + 1, String::new())) {
                log.stream.forget_gone(&listing.ids);
            }
            let names: BTreeSet<String> = listing.families.keys().cloned().collect();
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
                // Renamed to `x.1.log`, or to `x-20261128.log` before there is another `x.log`: read as lines of `x`.
                let is_renamed = !self.logs.contains_key(&key)
                    && family.base_id().is_some_and(|id| self.is_of_another(&key, id, &names));
                if is_renamed {
                    continue;
                }
                own.insert(key.1.clone());
                let followed = match self.logs.entry(key.clone()) {
                    Entry::Occupied(followed) => followed.into_mut(),
                    Entry::Vacant(place) => {
                        let own = self.positions.left(&path).map(|left| (path.as_path(), left));
                        // Renamed while nobody read.
                        let renamed =
                            || family.base_id().and_then(|id| self.positions.left_in(directory.path(), id));
                        let left = own.or_else(renamed).map(|(path, left)| (path.to_owned(), left.clone()));
                        let former = left.as_ref().map_or(path.clone(), |(path, _)| path.clone());
                        let stream = match left {
                            Some((_, left)) => Stream::resumed(&key.1, left, directory, &family),
                            None if first => Ok(Stream::current(&key.1, &family)),
                            None => Ok(Stream::whole(&key.1)),
                        };
                        match stream {
                            Ok(stream) => {
                                self.positions.is_back(&former);
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
                if left.get(&key).is_some_and(|times| *times > 1) {
                    followed.stream.has_missed();
                }
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
            let streams = self.logs.range((index, String::new())..(index + 1, String::new()));
            let owners = streams.flat_map(|((_, name), log)| log.stream.files().map(|id| (id, name.clone())));
            let owners = owners.collect();
            let directory = &mut self.directories[index];
            directory.own.extend(own);
            directory.owners = owners;
        }
        self.remark(troubles);
        if is_split {
            self.look();
        }
    }

    /// True if a file was read, or is to be read, as one of another log of the same directory, than this new one.
    fn is_of_another(&self, key: &Key, id: FileId, names: &BTreeSet<String>) -> bool {
        let directory = self.directories[key.0].path();
        let mut others = self.logs.iter().filter(|(log, _)| log.0 == key.0);
        if others.any(|(_, log)| log.stream.files().any(|file| file == id)) {
            return true;
        }
        let left_in = self.positions.left_in(directory, id).and_then(|(log, _)| log.file_name()?.to_str());
        self.positions.has_read(directory, &key.1, id)
            || left_in.is_some_and(|log| log != key.1 && names.contains(log))
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
