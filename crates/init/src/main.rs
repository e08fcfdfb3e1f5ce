//! `init`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init_prefixed("init");
    kit::main(init::run)
}
