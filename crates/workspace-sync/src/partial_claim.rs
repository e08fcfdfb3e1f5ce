//! Claim on `NAME.partial`, a copy being made.
//!
//! The file `.sync_partial` in its root names the container that makes the copy, which touches the file every few
//! seconds. A directory of that name without the file is not ours and stays untouched. A kernel lock does not suffice:
//! containers on several machines may share a volume, and many volumes keep locks local to a machine.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::{AtFlags, renameat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};
use std::io::Write;

use crate::copy_marker::{self, Marker};
use crate::reserved_names::{self, CLAIM};
use crate::volume_clock::Timestamp;

/// Interval at which a claim in use is touched.
pub const TOUCH_EVERY: Duration = Duration::from_secs(5);
/// Age after which a claim is abandoned: its container or its volume is gone. Many touches must be missed, because a
/// busy volume can delay one.
const ABANDONED_AFTER_SECONDS: u64 = 90;
/// Time to wait for a touch by an earlier start of this container.
const TAKEOVER_WAIT: Duration = TOUCH_EVERY.saturating_mul(3);

/// Hint if another container makes the copy.
pub const USED_ONCE_COMPLETE: &str = "this container uses the copy once it is complete";

/// Maximum length of a host name (hostname(7)); the claim of another container may contain any text.
const MAX_HOST_LENGTH: usize = 253;

/// Claim of a container on the partial copy of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The tree's name below `/opt`.
    pub tree: String,
    /// Random id of the container. It outlives restarts; a container made from a saved image has the same one.
    pub container: String,
    /// Start of the container, see [`kit::start_id`].
    #[serde(default)]
    pub instance: String,
    /// Its host name, for people.
    pub host: String,
    /// Boot id of the kernel, see [`kit::start_id::boot_id`].
    pub boot: String,
    /// True once everything was copied and the copy waits for its switch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting: bool,
}

/// Result of an attempt to work on a partial copy.
#[derive(Debug)]
pub enum ClaimResult {
    /// The copy is ours.
    Ours {
        /// Its root.
        directory: OwnedFd,
        /// True if the content was written since this boot, so that times and sizes can be trusted: after a power
        /// failure, a file can have both without its content.
        trusted: bool,
    },
    /// Another container makes it.
    Busy {
        /// Host name of that container.
        host: String,
    },
    /// It is a complete copy without a claim, which a refresh replaced.
    Complete {
        /// Its root.
        directory: OwnedFd,
        /// Its marker.
        marker: Marker,
    },
    /// It is not ours.
    Foreign,
}

/// Relation of a claim that was found to our own.
#[derive(Debug, PartialEq, Eq)]
enum ClaimOwner {
    /// The claim is ours, or its container is gone.
    Free,
    /// Another container uses it.
    Busy,
    /// It is from an earlier start of this container, or from a container with the same id (made from a saved image);
    /// only a touch shows that it is in use.
    Unclear,
}

impl Claim {
    /// Reads the claim of a directory, if there is one.
    pub fn read(directory: impl AsFd) -> Result<Option<Self>> {
        let found = copy_marker::read_small(directory, CLAIM)?;
        Ok(found.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// True if `found` is this claim, of this start of this container.
    pub fn is_held_by(&self, found: &Self) -> bool {
        (&self.tree, &self.container, &self.instance) == (&found.tree, &found.container, &found.instance)
    }

    /// `age`: seconds since it was touched.
    fn standing(&self, found: &Self, age: u64) -> ClaimOwner {
        if self.is_held_by(found) || age >= ABANDONED_AFTER_SECONDS {
            ClaimOwner::Free
        } else if self.container == found.container {
            ClaimOwner::Unclear
        } else {
            ClaimOwner::Busy
        }
    }

    /// Creates or takes over the directory `name` in `parent`.
    pub fn take(&self, parent: impl AsFd, name: &std::ffi::OsStr) -> Result<ClaimResult> {
        match mkdirat(parent.as_fd(), name, Mode::from_bits_truncate(0o700)) {
            Ok(()) => {
                let directory = dirfd::open_dir(parent.as_fd(), name).map_err(io::Error::from)?;
                self.write(&directory)?;
                return Ok(ClaimResult::Ours { directory, trusted: true });
            }
            Err(nix::Error::EEXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create {}", name.display())),
        }
        let directory = match dirfd::open_dir(parent.as_fd(), name) {
            Err(error) if dirfd::is_not_directory(error) => return Ok(ClaimResult::Foreign),
            opened => {
                opened.map_err(io::Error::from).with_context(|| format!("cannot open {}", name.display()))?
            }
        };
        let marker = Marker::read(&directory)?.filter(|marker| marker.tree == self.tree);
        let Some(found) = Self::read(&directory)? else {
            if let Some(marker) = marker {
                return Ok(ClaimResult::Complete { directory, marker });
            }
            if is_empty(&directory)? {
                // A process was killed between creating the directory and writing the claim.
                self.write(&directory)?;
                return Ok(ClaimResult::Ours { directory, trusted: true });
            }
            return Ok(ClaimResult::Foreign);
        };
        if found.tree != self.tree {
            return Ok(ClaimResult::Foreign);
        }
        let busy = match self.standing(&found, age(&directory)?) {
            ClaimOwner::Free => false,
            ClaimOwner::Busy => true,
            ClaimOwner::Unclear => is_touched(&directory, TAKEOVER_WAIT)?,
        };
        if busy {
            return Ok(ClaimResult::Busy { host: found.host.chars().take(MAX_HOST_LENGTH).collect() });
        }
        let trusted = found.boot == self.boot;
        // Untrusted content stays untrusted until it is compared, even if this process is killed.
        let claim = if trusted { self.clone() } else { Self { boot: String::new(), ..self.clone() } };
        claim.write(&directory)?;
        if marker.is_some() {
            // It was a complete copy; remove its marker until it is complete again.
            unlinkat(&directory, reserved_names::MARKER, UnlinkatFlags::NoRemoveDir)
                .with_context(|| format!("cannot remove {}", reserved_names::MARKER))?;
        }
        Ok(ClaimResult::Ours { directory, trusted })
    }

    /// True if a container is making the partial copy in `directory`.
    pub fn is_alive(directory: &OwnedFd) -> Result<bool> {
        Ok(age(directory)? < ABANDONED_AFTER_SECONDS)
    }

    /// Writes the claim into a directory.
    pub fn write(&self, directory: impl AsFd) -> Result<()> {
        let cannot = || format!("cannot write {CLAIM}");
        let temporary = format!("{CLAIM}.{}", self.container);
        let mut file =
            dirfd::create_file(directory.as_fd(), temporary.as_str(), 0o600).with_context(cannot)?;
        file.write_all(&serde_json::to_vec(self)?).with_context(cannot)?;
        file.sync_all().with_context(cannot)?;
        renameat(directory.as_fd(), temporary.as_str(), directory.as_fd(), CLAIM).with_context(cannot)
    }
}

/// Removes the claim of a complete copy.
pub fn release(directory: impl AsFd) -> Result<()> {
    dirfd::unlink(directory, CLAIM).map(drop).with_context(|| format!("cannot remove {CLAIM}"))
}

/// True if a directory is empty, except for temporary files of claims.
pub fn is_empty(directory: &OwnedFd) -> Result<bool> {
    let own = format!("{CLAIM}.");
    let names = dirfd::names(directory).context("cannot list a directory")?;
    Ok(names.iter().all(|name| name.as_bytes().starts_with(own.as_bytes())))
}

/// Returns the seconds since the claim in `directory` was touched, by the volume's own clock.
fn age(directory: &OwnedFd) -> Result<u64> {
    let now = Timestamp::now(directory)?;
    Ok(touched(directory)?.seconds_until(now))
}

fn touched(directory: &OwnedFd) -> Result<Timestamp> {
    let stat = fstatat(directory, CLAIM, AtFlags::AT_SYMLINK_NOFOLLOW)
        .with_context(|| format!("cannot read {CLAIM}"))?;
    Ok(Timestamp::change_time(&stat))
}

/// True if the claim in `directory` is touched within this time.
fn is_touched(directory: &OwnedFd, listen: Duration) -> Result<bool> {
    let before = touched(directory)?;
    let next = kit::wait::until(listen, "a touch", || match touched(directory) {
        Ok(now) => (now != before).then_some(Ok(())),
        Err(error) => Some(Err(error)),
    });
    // No touch within the time: the claim is abandoned.
    next.map_or(Ok(false), |touch| touch.map(|()| true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy_marker::tests::marker;
    use std::ffi::OsStr;
    use std::fs;
    use std::path::Path;

    fn claim(container: &str, boot: &str) -> Claim {
        Claim {
            tree: "x".into(),
            container: container.into(),
            instance: "i".into(),
            host: "h".into(),
            boot: boot.into(),
            waiting: false,
        }
    }

    fn take(claim: &Claim, at: &Path) -> ClaimResult {
        claim.take(dirfd::open_root(at).unwrap(), OsStr::new("x.partial")).unwrap()
    }

    #[test]
    fn a_partial_copy_is_resumed_by_its_container_and_left_alone_by_others_while_it_lives() {
        let dir = tempfile::tempdir().unwrap();
        let own = claim("a", "1");
        assert!(matches!(take(&own, dir.path()), ClaimResult::Ours { trusted: true, .. }));
        assert!(matches!(take(&own, dir.path()), ClaimResult::Ours { trusted: true, .. }));
        assert!(matches!(take(&claim("b", "1"), dir.path()), ClaimResult::Busy { host } if host == "h"));
    }

    #[test]
    fn a_claim_is_left_alone_for_ninety_seconds_and_what_may_be_a_twins_is_listened_to() {
        let own = claim("a", "1");
        let other = claim("b", "1");
        let earlier = Claim { instance: "j".into(), ..own.clone() };
        let cases = [
            (&own, 0, ClaimOwner::Free),
            (&other, 0, ClaimOwner::Busy),
            (&other, 89, ClaimOwner::Busy),
            (&other, 90, ClaimOwner::Free),
            (&earlier, 0, ClaimOwner::Unclear),
            (&earlier, 89, ClaimOwner::Unclear),
            (&earlier, 90, ClaimOwner::Free),
        ];
        for (found, age, expected) in cases {
            assert_eq!(own.standing(found, age), expected, "{found:?} after {age} s");
        }
    }

    #[test]
    fn a_touch_is_heard_and_silence_is_too() {
        let dir = tempfile::tempdir().unwrap();
        let ClaimResult::Ours { directory, .. } = take(&claim("a", "1"), dir.path()) else {
            panic!("it is new")
        };
        assert!(!is_touched(&directory, Duration::ZERO).unwrap());
        let file = fs::File::options().write(true).open(dir.path().join("x.partial").join(CLAIM)).unwrap();
        let heard = std::thread::scope(|scope| {
            let listener = scope.spawn(|| is_touched(&directory, Duration::from_mins(1)).unwrap());
            while !listener.is_finished() {
                file.set_modified(std::time::SystemTime::now()).unwrap();
                std::thread::yield_now();
            }
            listener.join().unwrap()
        });
        assert!(heard);
    }

    #[test]
    fn after_another_start_of_the_machine_content_is_not_trusted_until_confirmed() {
        let dir = tempfile::tempdir().unwrap();
        take(&claim("a", "1"), dir.path());
        let now = claim("a", "2");
        assert!(matches!(take(&now, dir.path()), ClaimResult::Ours { trusted: false, .. }));
        let ClaimResult::Ours { directory, trusted: false } = take(&now, dir.path()) else {
            panic!("a kill before the comparison must not make it trusted");
        };
        now.write(&directory).unwrap();
        assert!(matches!(take(&now, dir.path()), ClaimResult::Ours { trusted: true, .. }));
    }

    #[test]
    fn a_whole_one_with_a_claim_is_still_in_the_making_and_one_without_was_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let own = claim("a", "1");
        let ClaimResult::Ours { directory, .. } = take(&own, dir.path()) else { panic!("it is new") };
        let marker = marker();
        let file = dir.path().join("x.partial").join(reserved_names::MARKER);
        fs::write(&file, marker.render().unwrap()).unwrap();
        assert!(
            matches!(take(&claim("b", "1"), dir.path()), ClaimResult::Busy { .. }),
            "its maker copies more"
        );
        assert!(file.exists());
        assert!(matches!(take(&own, dir.path()), ClaimResult::Ours { trusted: true, .. }));
        assert!(!file.exists(), "while another source is copied to it, it is incomplete");
        fs::write(&file, marker.render().unwrap()).unwrap();
        release(&directory).unwrap();
        assert!(
            matches!(take(&own, dir.path()), ClaimResult::Complete { marker: found, .. } if found == marker)
        );
    }

    #[test]
    fn what_somebody_put_in_the_place_of_a_new_file_makes_way() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("claim");
        nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
        let directory = dirfd::open_root(dir.path()).unwrap();
        dirfd::create_file(&directory, "claim", 0o600).unwrap().write_all(b"x").unwrap();
        assert_eq!(fs::read(&fifo).unwrap(), b"x");
        fs::hard_link(&fifo, dir.path().join("other")).unwrap();
        dirfd::create_file(&directory, "claim", 0o600).unwrap();
        assert_eq!(fs::read(dir.path().join("other")).unwrap(), b"x");
    }

    #[test]
    fn a_directory_of_that_name_that_is_not_ours_is_never_taken() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("x.partial");
        fs::create_dir(&partial).unwrap();
        assert!(
            matches!(take(&claim("a", "1"), dir.path()), ClaimResult::Ours { .. }),
            "an empty one is nobody's"
        );
        fs::remove_file(partial.join(CLAIM)).unwrap();
        fs::write(partial.join("thesis.tex"), "").unwrap();
        assert!(matches!(take(&claim("a", "1"), dir.path()), ClaimResult::Foreign));
        fs::remove_dir_all(&partial).unwrap();
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &partial).unwrap();
        assert!(matches!(take(&claim("a", "1"), dir.path()), ClaimResult::Foreign), "a link is not followed");
        assert_eq!(fs::read_dir(dir.path().join("elsewhere")).unwrap().count(), 0);
    }
}
