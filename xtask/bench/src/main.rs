//! The program behind `cargo xtask bench`.
use std::process::ExitCode;

fn main() -> ExitCode {
    kit::main(bench::run)
}
