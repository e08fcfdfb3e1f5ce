//! `fix-perms`: see the library.

fn main() -> std::process::ExitCode {
    kit::logging::start("fix-perms", 0);
    kit::main(fix_perms::run)
}
