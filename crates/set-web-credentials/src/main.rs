//! `set-web-credentials`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("set-web-credentials", 0);
    kit::main(set_web_credentials::run)
}
