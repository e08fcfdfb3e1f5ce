//! `manual`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("manual", 0);
    kit::main(manual::run)
}
