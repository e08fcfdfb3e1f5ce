//! `logtail`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kit::logging::init("logtail", 0);
    kit::main(logtail::run)
}
