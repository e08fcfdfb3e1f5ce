//! Executing another program, in a test process of its own: even a failed attempt changes the process's handling of
//! SIGPIPE, which would kill a concurrent test that writes to a closed pipe.

use std::process::Command;

use kit::{Exit, cmd};

#[test]
fn what_cannot_be_run_has_the_codes_of_a_shell() {
    assert_eq!(cmd::exec(&mut Command::new("/nonexistent/program")), Exit::Code(127));
    assert_eq!(cmd::exec(&mut Command::new("/")), Exit::Code(126));
}
