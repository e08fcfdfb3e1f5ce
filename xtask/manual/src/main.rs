//! `manual`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::start("manual", 0);
    kit::main(manual::run)
}
