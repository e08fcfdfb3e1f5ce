//! `sync-tree`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("sync-tree", 0);
    kit::main(sync_tree::run)
}
