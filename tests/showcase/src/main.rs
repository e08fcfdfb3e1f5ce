use std::process::ExitCode;

fn main() -> ExitCode {
    kit::main(showcase::run)
}
