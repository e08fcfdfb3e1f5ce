//! `service-run`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("service-run", 0);
    kit::main(service_run::run)
}
