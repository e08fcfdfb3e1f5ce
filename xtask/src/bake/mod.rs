//! `cargo xtask bake`: builds variants of `docker-bake.hcl` by short names.
//!
//! The list of variants is not repeated here: [`Catalogue`] reads it from bake's output, and a request such as
//! `cuda-12.1-runtime-22.04` is resolved against it. The rest is passed to `docker buildx bake` unchanged.

mod catalogue;
mod cli;
mod command;
mod destination;
mod diagnosis;
mod outputs;
mod pattern;
mod platform;
mod request;
mod request_error;
mod resolve;
mod sample;
pub(crate) mod shell_line;
pub(crate) mod source_date;
mod summary;
mod table;
mod tag_parts;

pub use catalogue::{Catalogue, EVERYTHING, Variant, source_images};
pub use cli::Args;
pub use command::{FILE, command};
pub use destination::Destination;
pub use platform::Platform;
pub use request_error::{RequestError, into_anyhow};
pub use resolve::{resolve, select};
pub use sample::sample;
pub use table::markdown as table;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use kit::{Exit, HintExt, Outcome};

use crate::images::{LOCK_FILE, LockFile};
use crate::step;

/// Engine to bake with; a closure that returns `docker` commands implements it.
pub trait Engine {
    /// A `docker` command that is ready to take its arguments.
    fn docker(&self) -> Command;

    /// Adds what only this machine knows: named contexts, secrets, values for the bake file. Has no effects, because
    /// `--dry-run` shows it too; `--print` does not: it prints the bake file as it is.
    fn add_machine_options(&self, _bake: &mut Command, _variants: &[&Variant]) -> Result<()> {
        Ok(())
    }

    /// Prepares everything that [`Engine::add_machine_options`] names, such as a bootstrapped base; called before a real build.
    fn prepare(&self, _variants: &[&Variant]) -> Result<()> {
        Ok(())
    }
}

impl<F: Fn() -> Command> Engine for F {
    fn docker(&self) -> Command {
        self()
    }
}

/// Lists, prints or builds what `args` ask for; every docker command runs in `root`, where the bake file is.
///
/// Fails with a [`RequestError`] on a request that names no variant or several, and passes docker's exit code on.
pub fn run(args: &Args, root: &Path, engine: &impl Engine) -> Outcome {
    run_to(&mut io::stdout(), args, root, engine)
}

fn run_to(out: &mut impl Write, args: &Args, root: &Path, engine: &impl Engine) -> Outcome {
    let docker = || {
        let mut docker = engine.docker();
        docker.current_dir(root);
        docker
    };
    let mut catalogue = read(docker(), EVERYTHING)?;
    if args.locked {
        catalogue = catalogue.locked(&LockFile::read(root)?);
    }
    let platforms = &args.destination.platforms;
    if args.list && args.variants.is_empty() {
        return list(out, &catalogue.variants().collect::<Vec<_>>(), platforms);
    }
    let sets: Vec<String> = args.sets.iter().map(|set| catalogue.address(set)).collect();
    let catalogue = catalogue.with_bases(&sets);
    let variants = into_anyhow(select(&catalogue, &requests(args, &docker)?))?;
    if args.list {
        return list(out, &variants, platforms);
    }
    platform::check(&variants, platforms)?;
    if args.locked {
        check_locked(&variants)?;
    }
    let bake = || {
        let mut bake = command(docker(), &variants, &sets);
        if args.locked {
            bake.args(["--file", LOCK_FILE]);
        }
        args.destination.add_to(&mut bake);
        bake
    };
    if args.print {
        return attached(bake().arg("--print"));
    }
    // Finds a wrong option before anything is compiled.
    outputs::check(&kit::cmd::stdout(bake().arg("--print"))?, root, &variants)?;
    let mut bake = bake();
    engine.add_machine_options(&mut bake, &variants)?;
    if args.dry_run {
        writeln!(out, "{}", shell_line::line(&bake))?;
        return Ok(Exit::Done);
    }
    let started = Instant::now();
    engine.prepare(&variants)?;
    let before: Vec<_> =
        variants.iter().map(|variant| summary::Image::find(docker(), &variant.image)).collect();
    let exit = attached(&mut bake)?;
    if exit == Exit::Done {
        if args.destination.is_engine() {
            for (variant, before) in variants.iter().zip(&before) {
                if let Some(line) = summary::line(&docker, variant, before.as_ref()) {
                    writeln!(out, "{line}")?;
                }
            }
        }
        writeln!(out, "built in {}", step::elapsed(started.elapsed()))?;
    }
    Ok(exit)
}

/// Refuses variants on a base without a digest.
pub fn check_locked(variants: &[&Variant]) -> Result<()> {
    let unlocked: Vec<_> = variants.iter().filter(|variant| !variant.base.contains("@sha256:")).collect();
    if let Some(Variant { name, base, .. }) = unlocked.iter().find(|variant| variant.base_is_override) {
        return Err(anyhow!("--set replaces the base of {name} by {base}, which is not a digest"))
            .hint(|| format!("--locked accepts {base}@sha256:DIGEST, or leave --set or --locked out"));
    }
    if unlocked.is_empty() {
        return Ok(());
    }
    let bases: BTreeSet<_> = unlocked.iter().map(|variant| variant.base.as_str()).collect();
    let bases = bases.into_iter().collect::<Vec<_>>().join(", ");
    Err(anyhow!("no digest in {LOCK_FILE} for {bases}")).hint(|| "run: cargo xtask images update".to_owned())
}

/// Groups of the bake file that do not follow from the names of their variants.
const GROUPS: &[&str] = &["default", "newest", "runtime", "devel"];

/// Returns the requests, with these groups expanded by bake; no request means the group `default`.
fn requests(args: &Args, docker: &impl Fn() -> Command) -> Result<Vec<String>> {
    let default = [GROUPS[0].to_owned()];
    let mut requests: Vec<String> = Vec::new();
    for request in if args.variants.is_empty() { &default[..] } else { &args.variants } {
        match GROUPS.iter().find(|group| request.trim().eq_ignore_ascii_case(group)) {
            Some(group) => {
                requests.extend(read(docker(), &[group])?.variants().map(|variant| variant.name.clone()));
            }
            None => requests.push(request.clone()),
        }
    }
    Ok(requests)
}

/// Returns the targets of groups of the bake file, and of those that they are built on; `docker` must run in the project's
/// root directory.
pub fn read(docker: Command, groups: &[&str]) -> Result<Catalogue> {
    Catalogue::from_print_json(&print(docker, groups)?).with_context(|| format!("cannot use {FILE}"))
}

/// Returns the targets of groups as bake prints them, in JSON.
pub fn print(docker: Command, groups: &[&str]) -> Result<String> {
    let mut bake = command(docker, &[], &[]);
    kit::cmd::stdout(bake.arg("--print").args(groups))
}

/// Prints the variants that exist for all of the platforms.
fn list(out: &mut impl Write, variants: &[&Variant], platforms: &[Platform]) -> Outcome {
    let variants: Vec<_> = variants.iter().filter(|variant| platform::has_all(variant, platforms)).collect();
    let width = variants.iter().map(|variant| variant.name.len()).max().unwrap_or(0);
    for Variant { name, from, .. } in variants {
        writeln!(out, "{name:width$}  {from}")?;
    }
    Ok(Exit::Done)
}

/// Runs a command on the caller's terminal, which shows the progress of a build, and returns its exit code.
fn attached(command: &mut Command) -> Outcome {
    let status = command.status().with_context(|| format!("cannot run {}", kit::cmd::describe(command)))?;
    Ok(status.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A docker that answers `--print` from the fixture, and otherwise writes its arguments down and exits with 3.
    const DOCKER: &str = r#"#!/bin/sh
case "$*" in
    *"--print all extended") cat print.json ;;
    *"--print newest") echo '{"target":{"cpu-24_04":{"args":{"IMAGE_BASE":"ubuntu:24.04"},"tags":["x:cpu-24.04"]}}}' ;;
    *"--print default") echo '{"target":{"cpu-22_04":{"args":{"IMAGE_BASE":"ubuntu:22.04"},"tags":["x:cpu-22.04"]}}}' ;;
    *" --print") echo "$*" >>printed; if [ -e resolved ]; then cat resolved; else echo '{"target":{}}'; fi ;;
    "image inspect "*) [ ! -e built ] || echo '{"Size":591000000,"RootFS":{"Layers":["a"]},"Config":{}}'; [ -e built ] ;;
    *) printf '%s\n' "$*" >>ran; [ -e succeed ] && touch built || exit 3 ;;
esac
"#;

    struct Bench(tempfile::TempDir);

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("print.json"), include_str!("fixtures/print.json")).unwrap();
            fs::write(dir.path().join("docker"), DOCKER).unwrap();
            Self(dir)
        }

        /// Through sh, because a script that another test's fork holds open for writing cannot be executed.
        fn docker(&self) -> Command {
            let mut command = Command::new("sh");
            command.arg(self.0.path().join("docker"));
            command
        }

        fn bake(&self, args: &Args) -> Outcome {
            run_to(&mut io::sink(), args, self.0.path(), &|| self.docker())
        }

        fn said(&self, args: &Args) -> String {
            let mut out = Vec::new();
            assert_eq!(run_to(&mut out, args, self.0.path(), &|| self.docker()).unwrap(), Exit::Done);
            // The directory is another one each time.
            String::from_utf8(out).unwrap().replace(&*self.0.path().to_string_lossy(), "DIR")
        }

        fn ran(&self) -> String {
            fs::read_to_string(self.0.path().join("ran")).unwrap_or_default()
        }
    }

    fn asking(variants: &[&str]) -> Args {
        Args { variants: variants.iter().map(ToString::to_string).collect(), ..Args::default() }
    }

    #[test]
    fn a_build_names_resolved_targets_and_passes_the_exit_code_on() {
        let bench = Bench::new();
        let sets = vec!["cuda-12.1.1-runtime-22.04.args.A=b.c".to_owned()];
        let args = Args { sets, ..asking(&["cuda-12.1-runtime-22.04"]) };
        assert_eq!(bench.bake(&args).unwrap(), Exit::Code(3));
        assert_eq!(
            bench.ran(),
            "buildx bake --file docker-bake.hcl --set cuda-12_1_1-runtime-22_04.args.A=b.c cuda-12_1_1-runtime-22_04\n"
        );
    }

    #[test]
    fn groups_come_from_the_bake_file_and_no_request_is_the_default_one() {
        let bench = Bench::new();
        bench.bake(&asking(&[])).unwrap();
        bench.bake(&asking(&["Default", "cpu-debian-12", "newest"])).unwrap();
        assert_eq!(
            bench.ran(),
            "buildx bake --file docker-bake.hcl cpu-22_04\n\
             buildx bake --file docker-bake.hcl cpu-22_04 cpu-debian-12 cpu-24_04\n"
        );
    }

    #[test]
    fn builder_platforms_and_destination_are_passed_on_and_rocm_is_for_amd64_alone() {
        let bench = Bench::new();
        let arm = |destination: Destination| Args {
            destination: Destination { platforms: vec![Platform::Arm64], ..destination },
            ..asking(&["cpu-22.04"])
        };
        let builder = Some("cluster".to_owned());
        bench.bake(&arm(Destination { builder, push: true, ..Destination::default() })).unwrap();
        bench
            .bake(&arm(Destination {
                output: Some("type=oci,dest=x.tar".to_owned()),
                ..Destination::default()
            }))
            .unwrap();
        assert_eq!(
            bench.ran(),
            "buildx bake --file docker-bake.hcl cpu-22_04 --builder cluster --set *.platform=linux/arm64 --push\n\
             buildx bake --file docker-bake.hcl cpu-22_04 --set *.platform=linux/arm64 --set *.output=type=oci,dest=x.tar\n"
        );
        let rocm = Args { variants: vec!["rocm-7.2-core-24.04".to_owned()], ..arm(Destination::default()) };
        assert_eq!(
            bench.bake(&rocm).unwrap_err().to_string(),
            "rocm-7.2.4-core-24.04 does not exist for linux/arm64: AMD publishes packages for amd64 only"
        );
    }

    #[test]
    fn print_is_the_answer_of_bake_itself() {
        let bench = Bench::new();
        let args = Args { print: true, ..asking(&["cpu-22.04"]) };
        assert_eq!(bench.bake(&args).unwrap(), Exit::Done);
        let printed = fs::read_to_string(bench.0.path().join("printed")).unwrap();
        assert_eq!(printed, "buildx bake --file docker-bake.hcl cpu-22_04 --print\n");
        assert_eq!(bench.ran(), "");
    }

    #[test]
    fn options_are_checked_before_anything_is_built() {
        let bench = Bench::new();
        let resolved = r#"{"target":{"cpu-22_04":{"output":["type=bogus"]}}}"#;
        fs::write(bench.0.path().join("resolved"), resolved).unwrap();
        let output = Some("type=bogus".to_owned());
        let destination = Destination { output, ..Destination::default() };
        let error = bench.bake(&Args { destination, ..asking(&["cpu-22.04"]) }).unwrap_err();
        assert_eq!(error.to_string(), "cpu-22.04 has an output of unknown type \"bogus\"");
        let printed = fs::read_to_string(bench.0.path().join("printed")).unwrap();
        assert_eq!(
            printed,
            "buildx bake --file docker-bake.hcl cpu-22_04 --set *.output=type=bogus --print\n"
        );
        assert_eq!(bench.ran(), "");
    }

    #[test]
    fn a_refused_request_and_a_dry_run_build_nothing() {
        let bench = Bench::new();
        let error = bench.bake(&asking(&["cpu-22.04", "cuda-12.7-base-22.04"])).unwrap_err();
        assert_eq!(error.to_string(), "no variant \"cuda-12.7-base-22.04\": cuda 12.7 is not listed");
        let dry = Args { dry_run: true, ..asking(&["cpu-2*"]) };
        assert_eq!(
            bench.said(&dry),
            "cd DIR && sh DIR/docker buildx bake --file docker-bake.hcl cpu-22_04 cpu-24_04\n"
        );
        assert_eq!(bench.ran(), "");
    }

    #[test]
    fn a_locked_build_has_digests_or_is_refused() {
        let bench = Bench::new();
        let digest = format!("sha256:{}", "a".repeat(64));
        let lock = LockFile([("ubuntu:22.04".to_owned(), digest.clone())].into());
        fs::write(bench.0.path().join(LOCK_FILE), lock.text()).unwrap();
        let locked = |variants: &[&str]| Args { locked: true, ..asking(variants) };
        let error = bench.bake(&locked(&["cpu-22.04", "cpu-24.04"])).unwrap_err();
        assert_eq!(error.to_string(), "no digest in docker-bake.lock.hcl for ubuntu:24.04");
        let over = |base: &str| {
            let sets = vec![format!("*.args.IMAGE_BASE={base}")];
            bench.bake(&Args { sets, ..locked(&["cpu-22.04"]) })
        };
        assert_eq!(
            over("ubuntu:22.04").unwrap_err().to_string(),
            "--set replaces the base of cpu-22.04 by ubuntu:22.04, which is not a digest"
        );
        assert_eq!(bench.ran(), "");
        over(&format!("ubuntu:22.04@{digest}")).unwrap();
        fs::remove_file(bench.0.path().join("ran")).unwrap();
        bench.bake(&locked(&["cpu-22.04"])).unwrap();
        assert_eq!(bench.ran(), "buildx bake --file docker-bake.hcl cpu-22_04 --file docker-bake.lock.hcl\n");
        let listed = bench.said(&Args { list: true, ..locked(&["cpu-22.04"]) });
        assert_eq!(listed, format!("cpu-22.04  ubuntu:22.04@{digest}\n"));
    }

    #[test]
    fn a_build_ends_with_its_size_and_time_and_another_destination_with_its_time() {
        let bench = Bench::new();
        fs::write(bench.0.path().join("succeed"), "").unwrap();
        let said = bench.said(&asking(&["cpu-22.04"]));
        assert!(said.starts_with("leonardo/base-image:cpu-22.04: 591 MB, 1 layers\nbuilt in "), "{said}");
        let destination = Destination { push: true, ..Destination::default() };
        let said = bench.said(&Args { destination, ..asking(&["cpu-22.04"]) });
        assert!(said.starts_with("built in "), "{said}");
    }

    #[test]
    fn a_list_has_all_or_what_is_named_with_its_base() {
        let bench = Bench::new();
        let all = bench.said(&Args { list: true, ..Args::default() });
        assert_eq!(
            (all.lines().count(), all.lines().next()),
            (97, Some("cpu-22.04                          ubuntu:22.04"))
        );
        assert!(
            all.ends_with(
                "jupyter-rocm-7.2.4-runtime-24.04   leonardo/base-image:rocm-7.2.4-runtime-24.04\n"
            )
        );
        assert_eq!(
            bench.said(&Args { list: true, ..asking(&["CPU", "cpu-22.04"]) }).lines().collect::<Vec<_>>(),
            ["cpu-22.04      ubuntu:22.04", "cpu-24.04      ubuntu:24.04", "cpu-debian-12  debian:12-slim"]
        );
        let arm = |variants: &[&str]| {
            let destination = Destination { platforms: vec![Platform::Arm64], ..Destination::default() };
            bench.said(&Args { list: true, destination, ..asking(variants) })
        };
        assert_eq!(arm(&["rocm", "cpu-22.04"]), "cpu-22.04  ubuntu:22.04\n");
        assert_eq!(arm(&[]).lines().count(), 77);
    }

    #[test]
    fn the_machine_prepares_for_a_real_build_only() {
        struct Equipped<'bench>(&'bench Bench);
        impl Engine for Equipped<'_> {
            fn docker(&self) -> Command {
                self.0.docker()
            }
            fn add_machine_options(&self, bake: &mut Command, variants: &[&Variant]) -> Result<()> {
                bake.arg("--set").arg(format!("*.contexts.tools={}", variants.len()));
                Ok(())
            }
            fn prepare(&self, _variants: &[&Variant]) -> Result<()> {
                fs::write(self.0.0.path().join("ran"), "prepared\n").map_err(Into::into)
            }
        }
        let bench = Bench::new();
        let dry = Args { dry_run: true, ..asking(&["cpu-22.04"]) };
        let mut out = Vec::new();
        run_to(&mut out, &dry, bench.0.path(), &Equipped(&bench)).unwrap();
        assert!(String::from_utf8_lossy(&out).ends_with(" cpu-22_04 --set '*.contexts.tools=1'\n"));
        assert_eq!(bench.ran(), "");
        run_to(&mut io::sink(), &asking(&["cpu-22.04"]), bench.0.path(), &Equipped(&bench)).unwrap();
        assert_eq!(
            bench.ran(),
            "prepared\nbuildx bake --file docker-bake.hcl cpu-22_04 --set *.contexts.tools=1\n"
        );
    }
}
