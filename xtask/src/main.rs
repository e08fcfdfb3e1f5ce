//! `cargo xtask TASK`: one line per task; each task is in the module of its name.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kit::Outcome;
use kit::logging::Verbosity;
use xtask::{
    bake, base, bench, check, docs, down, e2e, engine, image, images, release, screenshots, step, test, up,
};

const EPILOGUE: &str = "\
Examples:
  cargo xtask up
  cargo xtask up --variant cuda-12.4.1-base-22.04
  cargo xtask test";

/// Build, start, stop and check the Leonardo base image
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EPILOGUE)]
struct Cli {
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Up(up::Args),
    Down(down::Args),
    Engine(engine::Args),
    Bake(bake::Args),
    Base(base::Args),
    Images(images::Args),
    Test(test::Args),
    Check(check::Args),
    E2e(e2e::Args),
    #[command(disable_help_flag = true)]
    Bench(bench::Args),
    Docs(docs::Args),
    Release(release::Args),
    Screenshots(screenshots::Args),
}

impl Task {
    fn name(&self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::Down(_) => "down",
            Self::Engine(_) => "engine",
            Self::Bake(_) => "bake",
            Self::Base(_) => "base",
            Self::Images(_) => "images",
            Self::Test(_) => "test",
            Self::Check(_) => "check",
            Self::E2e(_) => "e2e",
            Self::Bench(_) => "bench",
            Self::Docs(_) => "docs",
            Self::Release(_) => "release",
            Self::Screenshots(_) => "screenshots",
        }
    }
}

fn main() -> ExitCode {
    kit::main(run)
}

fn run() -> Outcome {
    kit::logging::init("xtask", 0);
    let cli = Cli::try_parse()?;
    cli.verbosity.apply();
    step::log_to(cli.task.name());
    match cli.task {
        Task::Up(args) => up::run(&args),
        Task::Down(args) => down::run(&args),
        Task::Engine(args) => engine::run(&args),
        Task::Bake(args) => image::bake(&args),
        Task::Base(args) => base::run(&args),
        Task::Images(args) => images::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Check(args) => check::run(&args),
        Task::E2e(args) => e2e::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Docs(args) => docs::run(&args),
        Task::Release(args) => release::run(&args),
        Task::Screenshots(args) => screenshots::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_unknown_task_is_a_usage_error() {
        assert_eq!(Cli::try_parse_from(["xtask", "fly"]).unwrap_err().exit_code(), 2);
        assert_eq!(Cli::try_parse_from(["xtask"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn every_task_that_a_page_prints_exists_with_its_options() {
        let mut errors = Vec::new();
        for (path, page) in printed_commands::pages().unwrap() {
            for command in printed_commands::commands(&page) {
                if let ["cargo", "xtask", ..] =
                    command.words.iter().map(String::as_str).collect::<Vec<_>>()[..]
                {
                    let error =
                        printed_commands::error(Cli::command(), &command.words[1..], command.is_mention);
                    errors.extend(error.map(|error| format!("{}:{}: {error}", path.display(), command.line)));
                }
            }
        }
        assert_eq!(errors, [""; 0]);
    }

    #[test]
    fn examples_fit_into_80_columns_and_are_commands() {
        fn check(task: &clap::Command, path: &str, problems: &mut Vec<String>) -> usize {
            let epilogue = task.get_after_help().map(ToString::to_string).unwrap_or_default();
            let page = format!("```text\n{epilogue}\n```\n");
            let examples = printed_commands::commands(&page);
            let mut add = |problem: String| problems.push(format!("{path}: {problem}"));
            for line in epilogue.lines().filter(|line| line.chars().count() > 78) {
                add(format!("longer than 78 columns: {line}"));
            }
            if !epilogue.is_empty() && !(2..=3).contains(&examples.len()) {
                add(format!("{} examples", examples.len()));
            }
            for example in &examples {
                printed_commands::error(Cli::command(), &example.words[1..], false)
                    .into_iter()
                    .for_each(&mut add);
            }
            let below = |task: &clap::Command| check(task, &format!("{path} {}", task.get_name()), problems);
            examples.len() + task.get_subcommands().map(below).sum::<usize>()
        }
        let mut problems = Vec::new();
        let examples = check(&Cli::command(), "xtask", &mut problems);
        assert_eq!(problems, [""; 0]);
        assert!(examples > 20, "{examples}");
    }

    #[test]
    fn bench_gets_its_arguments_as_they_are() {
        let words = ["--engine", "private", "boot", "--runs", "1", "--help"];
        let cli = Cli::try_parse_from(["xtask", "-q", "bench"].iter().chain(&words)).unwrap();
        let Task::Bench(args) = cli.task else { panic!("{:?}", cli.task) };
        assert!(cli.verbosity.quiet);
        assert_eq!(args.arguments, words);
    }
}
