//! `storage-monitor`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("storage-monitor", 0);
    kit::main(storage_monitor::run)
}
