//! `gpu-limit`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("gpu-limit", 0);
    kit::main(gpu_limit::run)
}
