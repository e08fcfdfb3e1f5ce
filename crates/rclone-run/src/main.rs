//! `rclone-run`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("rclone-run", 0);
    kit::main(rclone_run::run)
}
