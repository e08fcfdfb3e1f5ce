//! Runs what the pages print: every `sh` block that is not marked `no-test`, in one container.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{Container, KeyPair, Output};
use printed_commands::{blocks, has_placeholder, pages};

use crate::sync::volume;
use crate::tunnels::{StandIn, states};

/// The services and programs that the pages name.
const PROGRAMS: &str = "\
[program:comfyui]
command=service-run --name ComfyUI --port 8188 -- python3 -m http.server --bind 127.0.0.1 {listen}
startretries=1000000

[program:files]
command=python3 -m http.server --bind 127.0.0.1 18080

[program:worker]
command=sleep infinity
numprocs=2
process_name=%(process_num)d
";

/// Gives our container and image the names of the pages, and each started container a short life.
const DOCKER: &str = r#"docker() {
    local words=() word
    for word in "$@"; do
        case $word in
            leonardo) word=$CONTAINER ;;
            leonardo/base-image:*) word=$LEONARDO_TEST_IMAGE ;;
            127.0.0.1:*:*) word=127.0.0.1::${word##*:} ;;
        esac
        words+=("$word")
    done
    case $1 in
        exec | logs | inspect) command docker "${words[@]}" || is_status "$@" ;;
        run)
            words=("${words[@]/#$CONTAINER/$CONTAINER-run}")
            word=$(command docker run --detach --env CF_QUICK_TUNNELS=false "${words[@]:1}")
            command docker rm --force "$word"
            ;;
        *) echo "docker $1 is for blocks marked no-test"; return 1 ;;
    esac
}
"#;

/// An error of the server fails; that programs are stopped is no failure of `supervisorctl status`.
const INSIDE: &str = r#"curl() { command curl --fail-with-body -sS "$@"; }
is_status() { [[ $? = 3 && $* = *"supervisorctl status" ]]; }
supervisorctl() { command supervisorctl "$@" || is_status supervisorctl "$@"; }
"#;

/// A block whose lines a shell can run as they are, and its place.
struct Script {
    place: String,
    text: String,
}

impl Script {
    /// Runs it where its reader would: beside docker, or in the container.
    fn run(&self, container: &Container, directory: &Path) -> Output {
        let shell = ["bash", "-l", "-e", "-o", "pipefail", "-c"];
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", "30"]).current_dir(directory);
        let joined = self.text.replace("\\\n", "");
        if joined.lines().all(|line| line.starts_with("docker ")) {
            command.env("CONTAINER", container.name()).env("HOME", directory);
            command.args(shell).arg(INSIDE.to_owned() + DOCKER + &self.text);
        } else {
            command.args(["docker", "exec", "--workdir", "/root/work", container.name()]);
            command.args(shell).arg(INSIDE.to_owned() + &self.text);
        }
        command.output().expect("a shell").into()
    }
}

/// Lines without placeholders, with the lines that continue them.
fn runnable(block: &str) -> String {
    let lines = block.replace("\\\n", "\u{1e}");
    let lines = lines.lines().filter(|line| !has_placeholder(line) && !line.trim().is_empty());
    lines.map(|line| line.replace('\u{1e}', "\\\n") + "\n").collect()
}

fn scripts() -> Vec<Script> {
    let mut scripts = Vec::new();
    // The pages below images/ are of other images; the shared part of their READMEs comes from ours.
    let pages = pages().expect("the pages");
    for (path, page) in pages.iter().filter(|(path, _)| !path.starts_with("images")) {
        for block in blocks(page) {
            let text = runnable(&block.text);
            if block.language == "sh" && block.untested_because().is_none() && !text.is_empty() {
                scripts.push(Script { place: format!("{}:{}", path.display(), block.line), text });
            }
        }
    }
    scripts
}

#[test]
fn every_printed_command_that_is_not_marked_succeeds() {
    let [volume, directory] = [volume(), volume()];
    let key = KeyPair::generate().public();
    fs::write(directory.path().join("key.pub"), format!("{key}\n")).unwrap();
    fs::write(directory.path().join("programs.conf"), PROGRAMS).unwrap();
    fs::write(directory.path().join("setup.sh"), "#!/bin/bash\ntrue\n").unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at(".ssh")).unwrap();
    fs::copy(at("key.pub"), at(".ssh/id_ed25519.pub")).unwrap();
    let stand_in = StandIn::new("");
    let run = stand_in.run().env("WORKSPACE_SYNC", "true").env("SSH_PUBKEY", key);
    let run = run.mount(volume.path(), "/workspace", "");
    let run = run.mount(&at("programs.conf"), "/etc/supervisor/conf.d/programs.conf", "ro");
    let container = run.mount(&at("setup.sh"), "/opt/leonardo/bin/provisioning.sh", "ro").start_and_wait();
    container.wait_until_ready();
    container.exec(&["boot", "wait", "sync"]).text();
    container.sh("mkdir /root/work && touch /root/work/train.py").text();
    container.wait_until("the tunnels", || states(&container, "quicktunnel") == ["1111 open", "8188 open"]);

    let scripts = scripts();
    assert!(scripts.len() >= 20, "only {} blocks are run", scripts.len());
    let mut failures = String::new();
    for script in &scripts {
        let output = script.run(&container, directory.path());
        if output.code != Some(0) {
            let stdout = String::from_utf8_lossy(&output.stdout);
            failures += &format!(
                "{} exited with {:?}\n{}{stdout}{}\n",
                script.place, output.code, script.text, output.stderr
            );
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
