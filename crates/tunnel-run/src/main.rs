//! `tunnel-run`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("tunnel-run", 0);
    kit::main(tunnel_run::run)
}
