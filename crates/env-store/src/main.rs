//! `env-store`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("env-store", 0);
    kit::main(env_store::run)
}
