//! The container's limit of processes and threads (`docker run --pids-limit`): the kernel refuses to start one more.

use std::io;

use crate::exit::with_hint;

/// What to do at the limit. It can be raised while the container runs.
pub const REMEDY: &str =
    "end programs, or raise the limit of processes: docker update --pids-limit 4096 NAME";

/// Returns the error of a start of a process or thread, with the remedy as its hint if the limit is its reason.
#[must_use]
pub fn explain(error: io::Error) -> anyhow::Error {
    // EAGAIN has no other reason in fork(2) and clone(2), but for the limit of an account.
    let is_limit = error.kind() == io::ErrorKind::WouldBlock;
    let error = anyhow::Error::new(error);
    if is_limit { with_hint(error, REMEDY.to_owned()) } else { error }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;
    use crate::exit::hint;

    #[test]
    fn the_limit_is_named_and_no_other_error_is_taken_for_it() {
        let start = |code| Err(explain(io::Error::from_raw_os_error(code)));
        let refused: anyhow::Error = start(11).context("cannot run \"x\"").map(|(): ()| ()).unwrap_err();
        assert_eq!(
            (format!("{refused:#}").as_str(), hint(&refused).as_deref()),
            ("cannot run \"x\": Resource temporarily unavailable (os error 11)", Some(REMEDY))
        );
        assert_eq!(hint(&start(2).map(|(): ()| ()).unwrap_err()), None);
    }
}
