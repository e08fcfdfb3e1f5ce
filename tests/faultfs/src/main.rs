//! `faultfs BACKING AT`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kit::logging::start("faultfs", 0);
    kit::main(faultfs::run)
}
