//! Releases into a real registry on this machine, signed by the real cosign.

#![allow(clippy::unwrap_used)]

mod registry;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use registry::Registry;
use tempfile::TempDir;

/// A copy of the checkout as far as a release reads it, with a registry, and programs that come before all others.
struct Release {
    home: TempDir,
    registry: Registry,
    programs: PathBuf,
    docker: xtask::engine::client::Client,
}

impl Release {
    fn new() -> Self {
        let checkout = xtask::checkout::Checkout::find().unwrap();
        let programs = xtask::engine::packages::registry_and_cosign(&checkout).unwrap();
        let home = tempfile::tempdir().unwrap();
        fs::copy(checkout.root().join("docker-bake.hcl"), home.path().join("docker-bake.hcl")).unwrap();
        fs::create_dir(home.path().join("bin")).unwrap();
        let registry = Registry::start(&programs.join("docker-registry"), &home.path().join("registry"));
        Self { registry, home, programs, docker: xtask::engine::client().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Puts a shell script before the program of this name.
    fn put_before(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, program: &Path) -> Command {
        let docker = self.docker.command();
        let mut command = Command::new(program);
        command.current_dir(self.home.path());
        command.envs(docker.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let docker = Path::new(docker.get_program()).parent().unwrap();
        let first = [self.path("bin"), self.programs.clone(), docker.to_owned()];
        command.env("PATH", xtask::engine::packages::search_path(&first));
        command.env("COSIGN_PASSWORD", "").env("CARGO_MANIFEST_DIR", self.home.path());
        command.env("SOURCE_DATE_EPOCH", "1700000000");
        command.env("LEONARDO_IMAGE", self.registry.repository("leonardo/base-image"));
        command
    }

    fn release(&self, arguments: &[&str]) -> Output {
        let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
        self.command(xtask).arg("release").args(arguments).output().unwrap()
    }

    fn publish(&self) -> Output {
        self.release(&["publish", "cpu-22.04", "cpu-24.04", "--key", "cosign.key"])
    }

    fn cosign(&self, arguments: &[&str]) -> Output {
        self.command(Path::new("cosign")).args(arguments).output().unwrap()
    }

    fn verify(&self, image: &str) -> Output {
        self.cosign(&["verify", "--key", "cosign.pub", "--insecure-ignore-tlog", image])
    }

    /// Pushes an image by digest and writes the record of it, as `release image --push` does.
    fn push(&self, tag: &str) -> String {
        let digest = self.registry.push("leonardo/base-image", tag, &[]);
        self.record(tag, &digest);
        digest
    }

    fn record(&self, tag: &str, digest: &str) {
        let record = serde_json::json!({
            "tag": tag, "repository": self.registry.repository("leonardo/base-image"), "digest": digest });
        let directory = self.path("target/release-images");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{tag}.json")), record.to_string()).unwrap();
    }

    fn tags(&self) -> Vec<String> {
        let mut tags = self.registry.tags("leonardo/base-image");
        tags.retain(|tag| !tag.starts_with("sha256-"));
        tags
    }
}

#[track_caller]
fn passed(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn failed(output: &Output, reason: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains(reason), "{stderr}");
}

#[test]
fn a_release_has_all_its_tags_and_signatures_or_no_tag() {
    let mut release = Release::new();
    passed(&release.cosign(&["generate-key-pair"]));

    let first = release.push("cpu-22.04");
    failed(&release.publish(), "these images were not pushed");
    let second = release.push("cpu-24.04");

    let cosign = release.programs.join("cosign");
    let kills = format!(
        "#!/bin/sh\nif [ -e signed ]; then kill -9 $PPID; fi\ntouch signed\nexec {} \"$@\"\n",
        cosign.display()
    );
    release.put_before("cosign", &kills);
    assert_eq!(release.publish().status.code(), None, "killed between two signatures");
    assert_eq!(release.tags(), [""; 0]);

    fs::remove_file(release.path("bin/cosign")).unwrap();
    passed(&release.publish());
    assert_eq!(release.tags(), ["cpu-22.04", "cpu-24.04"]);
    for (tag, digest) in [("cpu-22.04", &first), ("cpu-24.04", &second)] {
        let image = release.registry.repository(&format!("leonardo/base-image:{tag}"));
        let verified = release.verify(&image);
        passed(&verified);
        assert!(
            String::from_utf8_lossy(&verified.stdout).contains(digest.as_str()),
            "the tag is not that image"
        );
    }
    let version = |version: &str| {
        for tag in ["cpu-22.04", "cpu-24.04"] {
            release.record(tag, &release.registry.push_version("leonardo/base-image", version));
        }
    };
    version("v1.10.0");
    passed(&release.publish());
    version("v1.9.0");
    failed(&release.publish(), "cpu-22.04 is v1.10.0, and this release is v1.9.0");
    passed(&release.release(&["publish", "cpu-22.04", "cpu-24.04", "--key", "cosign.key", "--force"]));

    let unsigned = release.registry.push("leonardo/base-image", "another", &[]);
    let unsigned = release.registry.repository(&format!("leonardo/base-image@{unsigned}"));
    failed(&release.verify(&unsigned), "no signatures found");

    // An OCI layout on a disk, without any registry.
    let image = release.registry.repository("leonardo/base-image:cpu-22.04");
    passed(&release.cosign(&["save", "--dir", "layout", &image]));
    passed(&release.cosign(&["generate-key-pair", "--output-key-prefix", "other"]));
    release.registry.stop();
    let verify = |key: &str| {
        release.cosign(&["verify", "--local-image", "--key", key, "--insecure-ignore-tlog", "layout"])
    };
    passed(&verify("cosign.pub"));
    failed(&verify("other.pub"), "no matching signatures");
}

/// A stand-in for the engine and its builder: a build is a copy of a record of one, and a container does nothing. The rest is the
/// real docker.
const ENGINE: &str = r#"#!/bin/sh
case "$*" in
    "version "*) echo 26.0.0;;
    "buildx inspect") printf 'Name: x\nDriver: docker-container\n';;
    *" --metadata-file "*)
        echo "$*" >>builds
        for word; do [ "$before" = --metadata-file ] && file=$word; before=$word; done
        case "$*" in *push-by-digest*) cp pushed "$file";; *) cp loaded "$file";; esac;;
    "run "* | "exec "* | "rm "*) ;;
    *) exec DOCKER "$@";;
esac
"#;

#[test]
fn only_the_image_that_was_checked_gets_a_record() {
    let release = Release::new();
    let docker = release.docker.command();
    release.put_before("docker", &ENGINE.replace("DOCKER", docker.get_program().to_str().unwrap()));
    fs::create_dir_all(release.path("target/image/tools")).unwrap();
    release.registry.push_as("base", "base", &[], Some("1"));
    let base = format!("--set=cpu-22.04.args.IMAGE_BASE={}", release.registry.repository("base:1"));
    let pushed = release.registry.push("leonardo/base-image", "pushed", &[]);
    let another = release.registry.push("leonardo/base-image", "another", &[]);
    let configuration = |digest: &str| release.registry.configuration("leonardo/base-image", digest);
    let built = |name: &str, image: &str| {
        let record = serde_json::json!({ "cpu-22_04": {
            "containerimage.digest": image, "containerimage.config.digest": configuration(image) } });
        fs::write(release.path(name), record.to_string()).unwrap();
    };
    let image = || release.release(&["image", "cpu-22.04", "--push", &base]);
    let record = release.path("target/release-images/cpu-22.04.json");

    built("pushed", &pushed);
    built("loaded", &pushed);
    passed(&image());
    assert!(fs::read_to_string(&record).unwrap().contains(&pushed));
    let builds = fs::read_to_string(release.path("builds")).unwrap();
    assert_eq!(builds.lines().count(), 2);
    for build in builds.lines() {
        for part in ["*.args.SOURCE_DATE_EPOCH=1700000000", "rewrite-timestamp=true"] {
            assert!(build.contains(part), "{build}");
        }
    }

    built("loaded", &another);
    failed(&image(), "is not the one that was checked");
    assert!(!record.exists(), "an earlier record is not published either");
}

#[test]
fn an_interrupted_smoke_test_leaves_no_container() {
    const DOCKER: &str = "#!/bin/sh\n# A stand-in for the engine: its container becomes ready only after the test has ended.\n\
        case \"$1\" in\n\
        version) echo 26.0.0;;\n\
        exec) echo $$ >waiting; kill -TERM $PPID; exec sleep 600;;\n\
        rm) echo \"$*\" >>removed; kill \"$(cat waiting)\" || :;;\nesac\n";
    let release = Release::new();
    release.put_before("docker", DOCKER);
    let smoke = release.release(&["smoke", "an-image"]);
    assert_eq!(smoke.status.signal(), Some(15), "{smoke:?}");
    let removed = fs::read_to_string(release.path("removed")).unwrap();
    assert!(removed.starts_with("rm --force --volumes leonardo-smoke-"), "{removed}");
    assert_eq!(removed.lines().count(), 1);
}

/// Variants on bases with a problem each.
const BASES: &[(&str, &str)] = &[
    ("cpu-22.04", "ubuntu:22.04"),
    ("cuda-11.8.0-base-22.04", "nvidia/cuda:11.8.0-base-ubuntu22.04"),
    ("cuda-12.1.1-base-22.04", "nvidia/cuda:12.1.1-base-ubuntu22.04"),
    ("cuda-12.8.1-base-22.04", "nvidia/cuda:12.8.1-base-ubuntu22.04"),
    ("cuda-12.8.1-cudnn9-devel-22.04", "nvidia/cuda:12.8.1-cudnn-devel-ubuntu22.04"),
    ("cuda-13.0.3-base-24.04", "nvidia/cuda:13.0.3-base-ubuntu24.04"),
    ("cuda-13.0.3-cudnn9-devel-24.04", "nvidia/cuda:13.0.3-cudnn-devel-ubuntu24.04"),
];

/// A bake file with these variants.
fn bake_file() -> String {
    let target = |(tag, base): &(&str, &str)| {
        let name = tag.replace('.', "_");
        format!("target \"{name}\" {{\n  args = {{ IMAGE_BASE = \"{base}\" }}\n  tags = [\"x:{tag}\"]\n}}\n")
    };
    let names: Vec<_> = BASES.iter().map(|(tag, _)| format!("\"{}\"", tag.replace('.', "_"))).collect();
    let groups = format!(
        "group \"all\" {{\n  targets = [{0}]\n}}\ngroup \"extended\" {{\n  targets = [{0}]\n}}\n",
        names.join(", ")
    );
    BASES.iter().map(target).collect::<String>() + &groups
}

#[test]
fn a_base_that_is_gone_old_or_superseded_is_reported_in_one_issue() {
    const GH: &str = "#!/bin/sh\n# A stand-in for GitHub's client: it knows one issue, and writes down what it is asked.\n\
        case \"$1 $2\" in\n\
        'issue list') cat issues;;\n\
        'issue create') echo \"$@\" >>asked; cat >body; echo '[{\"number\":5,\"title\":\"Base images need attention\"}]' >issues;;\n\
        *) echo \"$@\" >>asked; cat >body;;\nesac\n";
    let mut release = Release::new();
    release.put_before("gh", GH);
    fs::write(release.path("issues"), "[]").unwrap();
    let push = |base: &str, env: &[&str]| {
        let (repository, tag) = base.split_once(':').unwrap();
        let repository =
            if repository.contains('/') { repository.to_owned() } else { format!("library/{repository}") };
        release.registry.push_as(&repository, base, env, Some(tag));
    };
    fs::write(release.path("docker-bake.hcl"), bake_file()).unwrap();
    for (_, base) in BASES.iter().filter(|(_, base)| !base.contains("12.1.1")) {
        let old: &[&str] = if base.contains("11.8.0") { &["NVIDIA_CUDA_END_OF_LIFE=1"] } else { &[] };
        push(base, old);
        // Every flavour of 13.0.4 is there, and one of 12.8.2.
        push(&base.replace("13.0.3", "13.0.4"), old);
    }
    push("nvidia/cuda:12.8.2-base-ubuntu22.04", &[]);

    let mirror = release.registry.repository("");
    let check = ["bases", "--mirror", mirror.trim_end_matches('/')];
    let found = release.release(&check);
    let report = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.status.code(), Some(1), "{report}{}", String::from_utf8_lossy(&found.stderr));
    let expected = [
        "| `nvidia/cuda:11.8.0-base-ubuntu22.04` | is at its end of life | remove its row before it is deleted |",
        "| `nvidia/cuda:12.1.1-base-ubuntu22.04` | is missing | remove its row or flavour |",
        "| `nvidia/cuda:13.0.3-base-ubuntu24.04`, `nvidia/cuda:13.0.3-cudnn-devel-ubuntu24.04` | 13.0.4 exists \
         | change the version of its row |",
    ];
    assert_eq!(report.lines().filter(|line| line.starts_with("| `")).collect::<Vec<_>>(), expected);

    let issue = [&check[..], &["--issue"]].concat();
    passed(&release.release(&issue));
    passed(&release.release(&issue));
    assert_eq!(fs::read_to_string(release.path("body")).unwrap(), report);
    let asked = fs::read_to_string(release.path("asked")).unwrap();
    assert_eq!(
        asked,
        "issue create --title Base images need attention --body-file -\nissue edit 5 --body-file -\n"
    );

    // Without an answer there is no finding, but nothing is in order either.
    release.registry.stop();
    failed(&release.release(&issue), "no answer for ubuntu:22.04");
    assert_eq!(fs::read_to_string(release.path("asked")).unwrap(), asked);
}
