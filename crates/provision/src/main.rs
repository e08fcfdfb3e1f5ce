//! `provision`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kit::logging::init("provision", 0);
    kit::main(provision::run)
}
