//! The mapping in force: what the mappings file says, or said when it was last good.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::evaluate::evaluate;
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
            Ok(mapping) => {
                self.wrong = None;
                let changed = self.mapping.as_ref() != Some(&mapping);
                self.mapping = Some(mapping);
                changed
            }
            Err(error) => {
                let text: String = format!("{error:#}").chars().take(MESSAGE).collect();
                if self.wrong.as_ref() != Some(&text) {
                    log::warn!("{text}; the last good mapping stays in force");
                }
                self.wrong = Some(text);
                false
            }
        }
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
