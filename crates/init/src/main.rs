//! `init`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::start_in_stream("init");
    kit::main(init::run)
}
