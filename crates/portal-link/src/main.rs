//! `portal-link`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::start("portal-link", 0);
    kit::main(portal_link::run)
}
