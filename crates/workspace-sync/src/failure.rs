//! Failure of one tree: transient, or permanent until the user acts.

use std::io;

use nix::libc::{EDQUOT, ENOSPC, EROFS};
use tree_copy::Error;

/// Failure of one tree.
#[derive(Debug)]
pub enum Failure {
    /// An I/O error, a full disk or a busy copy: it is retried.
    Transient(anyhow::Error),
    /// An obstacle that only the user can remove.
    Permanent(anyhow::Error),
}

impl Failure {
    /// True if a retry may succeed without the user.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    /// Returns the cause in one line, and the next step if one is known.
    pub fn message_and_hint(&self) -> (String, Option<String>) {
        let (Self::Transient(error) | Self::Permanent(error)) = self;
        (format!("{error:#}"), hint(error))
    }
}

/// Returns the next step after an error, if one is known.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    kit::exit::hint(error).or_else(|| {
        let hint = if is_read_only(error) {
            "mount the volume writable, or start without WORKSPACE_SYNC=true"
        } else if is_of(error, &[ENOSPC, EDQUOT]) {
            "free up space, then run: workspace-sync run"
        } else {
            return None;
        };
        Some(hint.to_owned())
    })
}

fn is_read_only(error: &anyhow::Error) -> bool {
    is_of(error, &[EROFS])
}

/// True if the cause is one of these error numbers.
fn is_of(error: &anyhow::Error, codes: &[i32]) -> bool {
    error.chain().any(|cause| {
        let nix = cause.downcast_ref::<nix::Error>().map(|cause| *cause as i32);
        nix.or_else(|| cause.downcast_ref::<io::Error>()?.raw_os_error())
            .is_some_and(|code| codes.contains(&code))
    })
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        if is_read_only(&error) { Self::Permanent(error) } else { Self::Transient(error) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        anyhow::Error::new(error).into()
    }
}

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> Self {
        let (Failure::Transient(error) | Failure::Permanent(error)) = failure;
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use nix::libc::{EBUSY, EIO, ENOENT, ESTALE};

    #[test]
    fn only_a_read_only_volume_stays_as_it_is_by_itself() {
        let cases = [
            (EIO, true, None),
            (ENOSPC, true, Some("free up space, then run: workspace-sync run")),
            (EBUSY, true, None),
            (ENOENT, true, None),
            (ESTALE, true, None),
            (EROFS, false, Some("mount the volume writable, or start without WORKSPACE_SYNC=true")),
        ];
        for (code, passes, hint) in cases {
            let io: anyhow::Result<()> = Err(io::Error::from_raw_os_error(code)).context("cannot write x");
            let failure = Failure::from(io.unwrap_err());
            assert_eq!(failure.is_transient(), passes, "{failure:?}");
            assert_eq!(failure.message_and_hint().1.as_deref(), hint, "{failure:?}");
            let nix: anyhow::Result<()> = Err(nix::Error::from_raw(code)).context("cannot write x");
            assert_eq!(Failure::from(nix.unwrap_err()).is_transient(), passes);
        }
    }
}
