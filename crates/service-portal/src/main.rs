//! `service-portal`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::start("service-portal", 0);
    kit::main(service_portal::run)
}
