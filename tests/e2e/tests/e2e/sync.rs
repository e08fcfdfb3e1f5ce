//! Trees on the workspace: the first copy, later containers, upgrades, and what goes wrong.

use std::path::Path;

use harness::{Container, Image, RunOptions};
use serde_json::Value;

/// An image with environments, and with an application in a directory of its own.
fn extended() -> Image {
    Image::extended(
        "ENV OPT_SYNC=app\n\
         RUN mkdir -p /opt/micromamba/envs/tools/bin /opt/app/models \
             && printf '#!/bin/sh\\necho generation one\\n' > /opt/micromamba/envs/tools/bin/tool \
             && chmod 755 /opt/micromamba/envs/tools/bin/tool \
             && ln /opt/micromamba/envs/tools/bin/tool /opt/micromamba/envs/tools/bin/same \
             && ln -s tool /opt/micromamba/envs/tools/bin/link \
             && seq 200000 > /opt/micromamba/envs/tools/library \
             && for n in $(seq 300); do echo $n > /opt/app/models/$n; done \
             && fix-perms --only container",
    )
}

pub fn volume() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

pub fn on(image: &Image, volume: &Path) -> RunOptions {
    RunOptions::new().image(image).mount(volume, "/workspace", "")
}

fn boot(run: RunOptions) -> Container {
    let container = run.start_and_wait();
    container.wait_until_ready();
    // The test checks the result.
    container.exec(&["boot", "wait", "sync"]);
    container
}

pub fn link(container: &Container, path: &str) -> String {
    container.exec(&["readlink", path]).text()
}

pub fn status(container: &Container, tree: &str) -> Value {
    let text = container.exec(&["workspace-sync", "status", "--json"]).text();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.into_iter().find(|status| status["tree"] == tree).unwrap()
}

/// Result and cause of the sync stage.
pub fn stage(container: &Container) -> (String, Option<String>) {
    let text = container.exec(&["cat", "/run/leonardo/boot.jsonl"]).text();
    let ended = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .rfind(|event| event["event"] == "stage_ended" && event["stage"] == "sync")
        .unwrap();
    (ended["result"].as_str().unwrap().to_owned(), ended["cause"].as_str().map(str::to_owned))
}

#[test]
fn trees_move_to_the_volume_and_later_containers_start_with_them() {
    let (image, volume) = (extended(), volume());
    {
        let container = boot(on(&image, volume.path()).env("WORKSPACE_SYNC", "true"));
        assert_eq!(stage(&container), ("done".into(), None));
        assert_eq!(link(&container, "/opt/micromamba"), "/workspace/environments/micromamba-base-image");
        assert_eq!(link(&container, "/opt/app"), "/workspace/app");
        assert_eq!(container.exec(&["/opt/micromamba/envs/tools/bin/link"]).text(), "generation one");
        let same = "cd /opt/micromamba/envs/tools/bin && test tool -ef same && cd /opt && \
                    diff -r .image/micromamba micromamba -x .move_complete -x .sync_manifest && echo same";
        assert_eq!(container.sh(same).text(), "same");
        assert_eq!(container.sh("ls /opt/app/models | wc -l; cat /opt/app/models/300").text(), "300\n300");
        assert_eq!(
            container.sh("ls -d /run/workspace_sync 2>&1 | wc -l; cat /run/workspace_sync 2>&1").code,
            Some(1)
        );
        // The image's copy is untouched: the container's own layer has the link, and nothing below it.
        let touched: Vec<String> = container
            .docker_diff()
            .into_iter()
            .filter(|line| line.contains("/opt/.image/micromamba"))
            .collect();
        assert_eq!(touched, [""; 0]);
        assert_eq!(status(&container, "micromamba")["state"], "whole");
        // The access that fix-perms gives there is no damage.
        let verified =
            container.sh("fix-perms --only workspace && workspace-sync verify --hash micromamba").text();
        assert!(verified.contains(" 0 are missing, 0 damaged"), "{verified}");
        assert!(container.sh("cat /var/log/sync.log").code == Some(0));
        assert_eq!(container.sh("echo mine > /opt/micromamba/envs/mine").code, Some(0));
    }
    // Another container, which does not ask for a copy: its services find the user's from the first moment on.
    let container = on(&image, volume.path()).start_and_wait();
    assert_eq!(link(&container, "/opt/micromamba"), "/workspace/environments/micromamba-base-image");
    assert_eq!(container.exec(&["cat", "/opt/micromamba/envs/mine"]).text(), "mine");
    container.wait_until_ready();
    // A real directory of the image would have to be emptied for that, and stays.
    assert_eq!(container.sh("test -d /opt/app -a ! -L /opt/app && cat /opt/app/models/300").text(), "300");
    container.restart();
    container.wait_until_ready();
    assert_eq!(container.exec(&["cat", "/opt/micromamba/envs/mine"]).text(), "mine");
    drop(container);
    let container = boot(on(&image, volume.path()).env("WORKSPACE_SYNC", "true"));
    assert_eq!(link(&container, "/opt/app"), "/workspace/app");
    assert_eq!(container.sh("cat /opt/app/models/300").text(), "300");
}

#[test]
fn nothing_is_copied_unless_it_was_asked_for() {
    let (image, volume) = (extended(), volume());
    let container = boot(on(&image, volume.path()));
    assert_eq!(stage(&container), ("skipped".into(), None));
    assert_eq!(link(&container, "/opt/micromamba"), "/opt/.image/micromamba");
    assert_eq!(container.sh("ls /workspace").text(), "home\nstorage");
    let unmounted = boot(RunOptions::new().image(&image).env("WORKSPACE_SYNC", "true"));
    assert_eq!(stage(&unmounted), ("skipped".into(), Some("no volume is mounted at the workspace".into())));
    assert_eq!(unmounted.exec(&["/opt/micromamba/envs/tools/bin/tool"]).text(), "generation one");
}

#[test]
fn what_is_in_the_way_is_reported_and_left_alone() {
    let (image, volume) = (extended(), volume());
    std::fs::create_dir(volume.path().join("app")).unwrap();
    std::fs::write(volume.path().join("app/thesis"), "mine").unwrap();
    let container =
        boot(on(&image, volume.path()).env("WORKSPACE_SYNC", "true").env("OPT_SYNC", "app:../etc"));
    let (result, cause) = stage(&container);
    assert_eq!(result, "failed");
    assert_eq!(
        cause.unwrap(),
        "app: /workspace/app is taken: a directory not created by workspace-sync is in its place; meanwhile, files \
         written to /opt/app are lost when the container is removed"
    );
    assert_eq!(link(&container, "/opt/micromamba"), "/workspace/environments/micromamba-base-image");
    assert_eq!(container.sh("ls /workspace/app").text(), "thesis");
    let logs = container.logs();
    assert!(
        logs.contains("OPT_SYNC: \"../etc\" is a path, not the name of a directory below /opt"),
        "{logs}"
    );
}

#[test]
fn a_newer_image_uses_the_older_copy_until_it_is_refreshed_and_the_way_back_is_open() {
    let (image, volume) = (extended(), volume());
    drop(boot(on(&image, volume.path()).env("WORKSPACE_SYNC", "true")));
    let newer = Image::extended(
        "RUN mkdir -p /opt/micromamba/envs/tools/bin \
             && printf '#!/bin/sh\\necho generation number two\\n' > /opt/micromamba/envs/tools/bin/tool \
             && chmod 755 /opt/micromamba/envs/tools/bin/tool && fix-perms --only container",
    );
    let container = boot(on(&newer, volume.path()).env("WORKSPACE_SYNC", "true"));
    let tool = || container.exec(&["/opt/micromamba/envs/tools/bin/tool"]).text();
    assert_eq!(tool(), "generation one");
    let (result, cause) = stage(&container);
    assert_eq!(result, "done");
    assert!(cause.unwrap().contains("the image has generation"), "{}", container.logs());
    assert_eq!(container.sh("echo mine > /opt/micromamba/envs/mine").code, Some(0));

    // As people type it, from an account that sudo takes the variables from.
    let workspace_sync = |what: &str| {
        container.exec(&["su", "-", "user", "-c", &format!("sudo workspace-sync {what} micromamba")])
    };
    let said = workspace_sync("refresh");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(tool(), "generation number two");
    assert_eq!(container.exec(&["cat", "/opt/micromamba/envs/mine"]).text(), "mine");
    assert!(status(&container, "micromamba")["previous_generation"].is_string());
    assert_eq!(workspace_sync("rollback").code, Some(0));
    assert_eq!(tool(), "generation one");
}

#[test]
fn a_service_of_the_users_that_keeps_its_files_open_during_the_switch_loses_nothing() {
    let image = Image::extended(
        "RUN mkdir /opt/micromamba/log && fix-perms --only container && printf '%s\\n' \
             '[program:writer]' \
             'command=/bin/bash -c \"exec 3>>/opt/micromamba/log/open; n=0; while :; do echo $n >&3; \
                 echo $n >> /opt/micromamba/log/path; n=$((n+1)); read -t 0.01 <> <(:); done\"' \
             'user=user' 'priority=50' 'stopasgroup=true' 'killasgroup=true' > /etc/supervisor/base.d/writer.conf",
    );
    let volume = volume();
    let container = boot(on(&image, volume.path()).env("WORKSPACE_SYNC", "true"));
    assert_eq!(link(&container, "/opt/micromamba"), "/workspace/environments/micromamba-base-image");
    container.wait_until("the follower", || {
        container
            .exec(&["supervisorctl", "status", "workspacesync"])
            .stdout
            .windows(7)
            .any(|w| w == b"RUNNING")
    });
    let journal = container.exec(&["cat", "/run/leonardo/boot.jsonl"]).text();
    assert!(journal.contains("bash (") && journal.contains(") still write to the old tree; "), "{journal}");
    // Stopping the container ends the service first, and the follower after it.
    container.stop();
    let lines = |name: &str| -> Vec<u64> {
        let file = volume.path().join("environments/micromamba-base-image/log").join(name);
        let mut numbers: Vec<u64> =
            std::fs::read_to_string(file).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let open = lines("open");
    assert!(open.len() > 10, "the service must have written");
    assert_eq!(open, (0..open.len() as u64).collect::<Vec<_>>());
    let path = lines("path");
    assert!(path.len() + 1 >= open.len(), "{} {}", path.len(), open.len());
    assert_eq!(path, (0..path.len() as u64).collect::<Vec<_>>());
}
