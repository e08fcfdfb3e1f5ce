//! `sshd-run`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("sshd-run", 0);
    kit::main(sshd_run::run)
}
