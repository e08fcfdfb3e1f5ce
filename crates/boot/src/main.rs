//! `boot`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::start("boot", 0);
    kit::main(boot::run)
}
