//! Replaces this process by the command that runs under the limit.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use kit::Exit;

const CANNOT_RUN: Exit = Exit::Code(126);
const NOT_FOUND: Exit = Exit::Code(127);

/// Replaces this process, so that signals and the exit code are the command's own; returns only on failure.
pub fn exec(command: &[OsString], variables: &[(String, String)]) -> Exit {
    let Some((program, arguments)) = command.split_first() else { return NOT_FOUND };
    let error = Command::new(program)
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .exec();
    // The arguments are not printed: they may contain a secret. A closed stderr leaves nowhere to report to.
    let _ = writeln!(io::stderr(), "gpu-limit: cannot run {:?}: {error}", program.to_string_lossy());
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN }
}
