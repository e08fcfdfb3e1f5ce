//! The `gpu-limit` command.

fn main() -> std::process::ExitCode {
    kit::main(gpu_limit::run)
}
