//! Resource limits that every program inherits.

use kit::{Problem, open_files};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

/// Enough for thousands of visitors; more would slow down programs that close every possible descriptor.
const OPEN_FILES: u64 = 65_536;
/// Below this, services fail under load; supervisord's default.
const FEWEST_FILES: u64 = 1_024;
/// Below this number of processes and threads per account, services may not start; supervisord's default.
const FEWEST_PROCESSES: u64 = 200;

/// Raises the soft limit on open files, because some engines set it to 1,024; reports limits that are too low.
pub fn raise(problems: &mut Vec<Problem>) {
    match open_files::raise_to(OPEN_FILES) {
        Ok(hard) => problems.extend(too_low("nofile", "open files of a program", hard, FEWEST_FILES, 65_536)),
        Err(error) => {
            problems.push(Problem::new("limits", format!("cannot raise the number of open files: {error}")));
        }
    }
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NPROC) {
        problems.extend(too_low(
            "nproc",
            "processes and threads of an account",
            hard,
            FEWEST_PROCESSES,
            4_096,
        ));
    }
}

fn too_low(name: &str, what: &str, limit: u64, fewest: u64, enough: u64) -> Option<Problem> {
    (limit != RLIM_INFINITY && limit < fewest).then(|| {
        let message = format!(
            "the {what} are limited to {limit}, below the {fewest} that services need; start the container with: \
             --ulimit {name}={enough}"
        );
        Problem::new(name, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_named_with_the_option_that_raises_it() {
        let message =
            |limit| too_low("nproc", "processes", limit, 200, 4_096).map(|problem| problem.to_string());
        assert_eq!(
            message(20).as_deref(),
            Some(
                "nproc: the processes are limited to 20, below the 200 that services need; start the container with: \
                 --ulimit nproc=4096"
            )
        );
        assert_eq!((message(200), message(RLIM_INFINITY)), (None, None));
    }
}
