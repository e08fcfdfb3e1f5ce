//! `workspace-sync`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("workspace-sync", 0);
    kit::main(workspace_sync::run)
}
