//! `storage-monitor`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::start("storage-monitor", 0);
    kit::main(storage_monitor::run)
}
