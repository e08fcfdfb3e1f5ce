//! Limits that every program inherits.

use kit::Problem;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Enough for thousands of visitors; more would only slow down programs that close every possible descriptor.
const OPEN_FILES: u64 = 65_536;

/// Lets programs open as many files as the container may: some engines start it with 1,024.
pub fn raise_open_files(problems: &mut Vec<Problem>) {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = soft.max(hard.min(OPEN_FILES));
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    });
    if let Err(error) = raised {
        problems.push(Problem::new("limits", format!("cannot raise the number of open files: {error}")));
    }
}
