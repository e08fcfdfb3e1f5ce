//! `portal-link`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("portal-link", 0);
    kit::main(portal_link::run)
}
