//! `image-check`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("image-check", 0);
    kit::main(image_check::run)
}
