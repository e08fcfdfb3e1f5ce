//! `process-control`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("process-control", 0);
    kit::main(process_control::run)
}
