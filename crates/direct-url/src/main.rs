//! `direct-url`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("direct-url", 0);
    kit::main(direct_url::run)
}
