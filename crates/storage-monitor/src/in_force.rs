//! The mapping in force: what the mappings file says, or said when it was last good.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use anyhow::Result;
use kit::quote::quoted;

use crate::evaluate::{Evaluated, evaluate};
use crate::mapping::Mapping;
use crate::memory;
use crate::places::Places;

/// A file that was found wrong is evaluated again after that: what was missing, or busy, may be there now.
const AGAIN: Duration = Duration::from_mins(1);
/// More characters of a message help nobody.
const MESSAGE: usize = 2_000;

/// The mapping, and what is known about its file.
#[derive(Debug)]
pub struct InForce {
    /// Nothing if none was ever good.
    pub mapping: Option<Mapping>,
    /// What is wrong with the file now.
    wrong: Option<String>,
    /// The state of the file that was evaluated last.
    evaluated: Option<[i64; 5]>,
    /// When that was.
    evaluated_at: Instant,
    /// Why the mapping cannot be kept.
    forgetful: Option<String>,
}

impl InForce {
    /// What an earlier run has kept.
    pub fn recall(places: &Places) -> Result<Self> {
        Ok(Self {
            mapping: memory::recall(&places.last_mapping())?,
            wrong: None,
            evaluated: None,
            evaluated_at: Instant::now(),
            forgetful: None,
        })
    }

    /// Reads the file if it has changed, or if what it computes may have; says whether another mapping is in force now.
    pub fn read(&mut self, places: &Places, anew: bool) -> bool {
        let state = fs::metadata(&places.mappings).ok();
        let state = state.map(|meta| {
            [
                meta.ino().cast_signed(),
                meta.size().cast_signed(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime_nsec(),
            ]
        });
        let anew = anew || self.wrong.is_some() && self.evaluated_at.elapsed() >= AGAIN;
        if !anew && state.is_some() && state == self.evaluated {
            return false;
        }
        self.evaluated = state;
        self.evaluated_at = Instant::now();
        match evaluate(&places.mappings, &places.workspace) {
            Ok(Evaluated { mut mapping, doubt }) => {
                let missing = self.mapping.as_ref().map(|old| old.without(&mapping)).unwrap_or_default();
                // Without anything to lose, an empty map is what an image comes with.
                let doubt = doubt.filter(|_| !missing.0.is_empty() || !mapping.0.is_empty());
                if doubt.is_some() {
                    mapping.add(missing);
                } else if !missing.0.is_empty() {
                    let keys = missing.0.keys().map(|key| quoted(key)).collect::<Vec<_>>().join(", ");
                    let keys: String = keys.chars().take(MESSAGE).collect();
                    log::info!("the mapping leads less far than before, links are removed: {keys}");
                }
                self.warn(doubt, "what it lacks stays linked");
                let changed = self.mapping.as_ref() != Some(&mapping);
                self.mapping = Some(mapping);
                changed
            }
            Err(error) => {
                self.warn(Some(format!("{error:#}")), "the last good mapping stays in force");
                false
            }
        }
    }

    /// Keeps what is wrong with the file, and logs it once.
    fn warn(&mut self, wrong: Option<String>, consequence: &str) {
        let wrong: Option<String> = wrong.map(|text| text.chars().take(MESSAGE).collect());
        if let Some(text) = &wrong
            && self.wrong != wrong
        {
            log::warn!("{text}; {consequence}");
        }
        self.wrong = wrong;
    }

    /// Keeps the mapping for later runs.
    pub fn keep(&mut self, places: &Places) {
        if let Some(mapping) = &self.mapping {
            let kept = memory::keep(&places.last_mapping(), mapping);
            self.forgetful = kept.err().map(|error| format!("{error:#}"));
        }
    }

    /// What is wrong with the file.
    pub fn wrong(&self) -> Option<&String> {
        self.wrong.as_ref()
    }

    /// Why later runs will not know the mapping.
    pub fn forgetful(&self) -> Option<&String> {
        self.forgetful.as_ref()
    }
}
