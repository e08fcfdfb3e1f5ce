//! Runs the steps of GitHub's workflows as far as a machine without GitHub can: each is one task of xtask, which prints the
//! commands of a real run.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde::Deserialize;
use tempfile::TempDir;
use xtask::images::LockFile;

#[derive(Deserialize)]
struct Workflow {
    permissions: BTreeMap<String, String>,
    concurrency: BTreeMap<String, serde_json::Value>,
    jobs: BTreeMap<String, Job>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Job {
    permissions: BTreeMap<String, String>,
    timeout_minutes: u32,
    environment: Option<String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    uses: Option<String>,
    run: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Name, text and content of each workflow.
fn workflows() -> Vec<(String, String, Workflow)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join(".github/workflows")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let workflow = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        all.push((name, text, workflow));
    }
    assert!(all.len() >= 3);
    all
}

#[test]
fn no_job_has_more_rights_than_it_uses() {
    let mut write = BTreeSet::new();
    for (name, text, workflow) in workflows() {
        assert!(workflow.permissions.is_empty(), "{name}: rights are given to single jobs");
        assert!(workflow.concurrency.contains_key("group"), "{name}");
        for forbidden in ["pull_request_target", "workflow_run", "secrets."] {
            assert!(!text.contains(forbidden), "{name}: {forbidden}");
        }
        for (job, Job { permissions, timeout_minutes, environment, .. }) in &workflow.jobs {
            let publishes = permissions.get("packages").is_some_and(|right| right == "write");
            assert_eq!(environment.as_deref(), publishes.then_some("release"), "{name} {job}");
            assert!((1..=180).contains(timeout_minutes), "{name} {job}");
            let writes = permissions.iter().filter(|(_, right)| *right != "read");
            write.extend(writes.map(|(what, right)| format!("{name} {job}: {what} {right}")));
        }
    }
    let expected = [
        "base-images check: issues write",
        "docker-build image: packages write",
        "docker-build notes: contents write",
        "docker-build publish: id-token write",
        "docker-build publish: packages write",
    ];
    assert_eq!(write.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn actions_are_pinned_by_commit_and_everywhere_the_same() {
    let mut pins: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text, workflow) in workflows() {
        for uses in workflow.jobs.values().flat_map(|job| &job.steps).filter_map(|step| step.uses.as_ref()) {
            let (action, commit) = uses.split_once('@').unwrap();
            assert!(
                commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{name}: {uses}"
            );
            let line = text.lines().find(|line| line.contains(uses)).unwrap();
            assert!(line.contains(" # v"), "{name}: {uses} has no version");
            pins.entry(action.to_owned()).or_default().insert(line.rsplit_once('@').unwrap().1.to_owned());
        }
    }
    assert!(pins.values().all(|pins| pins.len() == 1), "{pins:#?}");
}

/// Values that GitHub puts in place of expressions; any other expression fails.
const EXPRESSIONS: &[(&str, &str)] = &[
    ("${{ matrix.variant }}", "cuda-12.8.1-devel-24.04"),
    ("${{ github.ref_name }}", "v1.0.0"),
    ("${{ github.token }}", "a-token"),
];

/// Words of a step's command. Nothing of a pull request may get into a shell line: there are no expressions, and the only
/// quotes are those of `"$NAME"`.
fn words(step: &Step) -> Vec<String> {
    let run = step.run.as_deref().unwrap();
    assert!(!run.contains("${{") && run.trim().lines().count() == 1, "{run}");
    let value = |name: &str| {
        let expression = &step.env[name];
        let value = EXPRESSIONS.iter().find(|(known, _)| known == expression);
        value.unwrap_or_else(|| panic!("{expression}")).1.to_owned()
    };
    let word = |word: &str| match word.strip_prefix("\"$").and_then(|name| name.strip_suffix('"')) {
        Some(name) => value(name),
        None => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/*".contains(&byte);
            assert!(word.bytes().all(plain), "{run}");
            word.to_owned()
        }
    };
    run.split_whitespace().map(word).collect()
}

/// A copy of the checkout in the state of a release: bases with digests, notes, and a record of every image.
fn checkout_of_a_release() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let bake_file = home.path().join("docker-bake.hcl");
    fs::copy(root().join("docker-bake.hcl"), &bake_file).unwrap();
    fs::write(home.path().join("CHANGELOG.md"), "# Changelog\n\n## [1.0.0]\n\n- Everything.\n").unwrap();
    let mut docker = xtask::engine::client().unwrap().command();
    docker.current_dir(home.path()).env("LEONARDO_IMAGE", IMAGE);
    let catalogue = xtask::bake::read(docker, xtask::bake::EVERYTHING).unwrap();
    let digest = format!("sha256:{}", "a".repeat(64));
    let images = catalogue.variants().map(|variant| variant.base.clone()).chain([COMPILER.to_owned()]);
    let bases = images.map(|image| (image, digest.clone()));
    let dockerfile = home.path().join("images/base/Dockerfile");
    fs::create_dir_all(dockerfile.parent().unwrap()).unwrap();
    fs::copy(root().join("images/base/Dockerfile"), dockerfile).unwrap();
    fs::write(home.path().join("docker-bake.lock.hcl"), LockFile(bases.collect()).text()).unwrap();
    let records = home.path().join("target/release-images");
    fs::create_dir_all(&records).unwrap();
    for variant in catalogue.variants() {
        let (repository, tag) = variant.image.rsplit_once(':').unwrap();
        let record = serde_json::json!({ "tag": tag, "repository": repository, "digest": digest });
        fs::write(records.join(format!("{}.json", variant.name)), record.to_string()).unwrap();
    }
    home
}

const COMPILER: &str = "rust:1.95-slim-bookworm";
const IMAGE: &str = "ghcr.io/leonardo-base/base-image";

/// Runs `cargo xtask release … --dry-run` and returns what it printed.
fn dry_run(home: &Path, arguments: &[String]) -> String {
    let docker = xtask::engine::client().unwrap().command();
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.current_dir(home).arg("release").args(arguments).arg("--dry-run");
    xtask.envs(docker.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let programs = Path::new(docker.get_program()).parent().unwrap().to_owned();
    xtask.env("PATH", xtask::engine::packages::search_path(&[programs]));
    xtask.env_remove("GITHUB_OUTPUT").env("LEONARDO_IMAGE", IMAGE).env("CARGO_MANIFEST_DIR", home);
    xtask.env("SOURCE_DATE_EPOCH", "1700000000");
    let output = xtask.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_step_is_one_task_that_runs() {
    let tasks: BTreeSet<Vec<String>> = workflows()
        .iter()
        .flat_map(|(_, _, workflow)| workflow.jobs.values().flat_map(|job| &job.steps))
        .filter(|step| step.run.is_some())
        .map(words)
        // It runs this test.
        .filter(|step| *step != [".ci/run"])
        .map(|step| match step.strip_prefix(&["cargo", "xtask", "release"].map(str::to_owned)) {
            Some(arguments) => arguments.to_vec(),
            None => panic!("{} is not a task of a release", step.join(" ")),
        })
        .collect();
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    assert_eq!(ci.lines().last(), Some("exec cargo xtask test"));
    let home = checkout_of_a_release();
    let printed: BTreeMap<String, Vec<String>> = thread::scope(|scope| {
        let home = home.path();
        let run = |task| scope.spawn(move || dry_run(home, task).lines().map(str::to_owned).collect());
        let runs: Vec<_> = tasks.iter().map(|task| (task.join(" "), run(task))).collect();
        runs.into_iter().map(|(task, run)| (task, run.join().unwrap())).collect()
    });

    let [main, all] = &printed["matrix all extended --locked"][..] else { panic!("{printed:#?}") };
    assert!(main.ends_with("git merge-base --is-ancestor HEAD origin/main"), "{main}");
    assert!(
        all.contains("\"cuda-12.8.1-cudnn9-devel-24.04\"") && all.contains("\"jupyter-cpu-24.04\""),
        "{all}"
    );
    assert!(printed["tools"][0].contains("buildx build --file images/base/Dockerfile --target tools"));
    let locked = format!("--build-arg RUST_IMAGE={COMPILER}@sha256:");
    assert!(printed["tools --locked"][0].contains(&locked) && !printed["tools"][0].contains("RUST_IMAGE"));
    let image = &printed["image cuda-12.8.1-devel-24.04 --locked --push"];
    let order = [
        "cuda-12_8_1-devel-24_04.output=type=docker",
        " run --detach ",
        "boot wait ready",
        " selftest",
        " rm --force",
        "push-by-digest=true",
    ];
    assert_eq!(image.len(), order.len(), "{image:#?}");
    for (line, part) in image.iter().zip(order) {
        assert!(line.contains(part), "{part}: {image:#?}");
    }
    assert!(image[5].contains("attest=type=sbom") && image[5].contains("attest=type=provenance,mode=max"));
    for build in [&image[0], &image[5]] {
        for part in [
            "STRICT_DOWNLOADS=true",
            "contexts.tools=",
            "SOURCE_DATE_EPOCH=1700000000",
            "--file docker-bake.lock.hcl",
        ] {
            assert!(build.contains(part), "{part}: {build}");
        }
    }
    assert_eq!(printed["image cuda-12.8.1-devel-24.04"].len(), 5, "a change pushes nothing");
    let (sign, tag) = (format!("cosign sign --yes {IMAGE}@sha256:"), "imagetools create --tag");
    let publish = &printed["publish all extended"];
    let (signatures, tags) = publish.split_at(publish.len() / 2);
    assert!(signatures.iter().any(|line| line.starts_with(&sign)), "{publish:#?}");
    assert!(signatures.iter().all(|line| line.starts_with("cosign sign --yes ")), "{publish:#?}");
    assert!(tags.iter().all(|line| line.contains(tag)), "{publish:#?}");
    let notes = &printed["notes v1.0.0 --create"];
    assert_eq!(*notes, ["gh release create v1.0.0 --verify-tag --title v1.0.0 --notes-file -"]);
    assert!(printed["bases --issue"].iter().any(|line| line.ends_with("ubuntu:22.04")));
}
