//! See the library's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    kit::logging::init("logtail", 0);
    kit::main(logtail::run)
}
