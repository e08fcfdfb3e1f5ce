//! `boot`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("boot", 0);
    kit::main(boot::run)
}
