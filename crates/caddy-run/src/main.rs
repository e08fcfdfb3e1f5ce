//! `caddy-run`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("caddy-run", 0);
    kit::main(caddy_run::run)
}
