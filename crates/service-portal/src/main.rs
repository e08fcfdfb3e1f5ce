//! `service-portal`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("service-portal", 0);
    kit::main(service_portal::run)
}
