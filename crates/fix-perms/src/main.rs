//! `fix-perms`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::init("fix-perms", 0);
    kit::main(fix_perms::run)
}
