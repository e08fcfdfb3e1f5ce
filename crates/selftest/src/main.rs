//! `selftest`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("selftest", 0);
    kit::main(selftest::run)
}
