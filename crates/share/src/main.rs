//! `share`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("share", 0);
    kit::main(share::run)
}
