//! `env-store`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::start("env-store", 0);
    kit::main(env_store::run)
}
