//! `bench`: see the library.
use std::process::ExitCode;

fn main() -> ExitCode {
    kit::main(bench::run)
}
