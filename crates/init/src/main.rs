//! `init`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::start("init", 0);
    kit::main(init::run)
}
