//! `workspace-sync`: see the library.

fn main() -> std::process::ExitCode {
    kit::main(workspace_sync::run)
}
