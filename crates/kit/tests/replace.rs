//! Becoming another program, in a test process of its own: even where it fails, the attempt changes what the whole process
//! does about SIGPIPE, which would end a test beside it that writes to a program that has gone.

use std::process::Command;

use kit::{Exit, cmd};

#[test]
fn what_cannot_be_run_has_the_codes_of_a_shell() {
    assert_eq!(cmd::exec(&mut Command::new("/nonexistent/program")), Exit::Code(127));
    assert_eq!(cmd::exec(&mut Command::new("/")), Exit::Code(126));
}
