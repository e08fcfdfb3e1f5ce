//! `faultfs`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kit::logging::init("faultfs", 0);
    kit::main(faultfs::run)
}
