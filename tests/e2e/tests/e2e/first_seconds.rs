//! Programs, ours included, that write to a synced tree in the first seconds of a container.

use harness::{Container, Image};

use crate::sync::{link, on, stage, status, volume};

/// An application that is built as a link, a program that works in it from the container's first second on, and a
/// directory that the storage monitor makes there.
fn image(release: &str) -> Image {
    Image::extended(&format!(
        r#"ENV OPT_SYNC=app
RUN mkdir -p /opt/.image/app/lib /opt/.image/app/plugins && ln -s /opt/.image/app /opt/app \
    && echo '{release}' > /opt/app/release && echo 1.0 > /opt/app/lib/version && echo old > /opt/app/lib/old \
    && echo small > /opt/app/config && touch -d 2025-01-01 /opt/app/config /opt/app/lib/* && echo plugin > /opt/app/plugins/one \
    && echo "storage_map[models]='/opt/app/models'" >> /opt/leonardo/storage_monitor/etc/mappings.sh \
    && printf '%s\n' '#!/bin/bash' 'set -e' '[ "$EARLY" = true ] || exit 0' 'cd /opt/app' \
        'mkdir mine newdir; touch mine/{{1..50}}; ln -s /elsewhere link; echo large > config' \
        'rm -r plugins lib/old; echo 2.0 > lib/version; echo new > lib/new; touch /run/early' > /opt/early.sh \
    && chmod 755 /opt/early.sh && fix-perms --only container \
    && printf '%s\n' '[program:early]' 'command=/opt/early.sh' 'priority=1' 'startsecs=0' 'autorestart=false' \
        > /etc/supervisor/base.d/early.conf"#
    ))
}

/// A container whose sync stage is over.
fn synced(image: &Image, volume: &std::path::Path, early: bool) -> Container {
    let run = on(image, volume).env("WORKSPACE_SYNC", "true").env("EARLY", early.to_string());
    let container = run.start_and_wait();
    container.wait_until_ready();
    assert_eq!(container.exec(&["boot", "wait", "sync"]).code, Some(0), "{}", container.logs());
    container
}

#[track_caller]
fn is_of_the_images_generation(container: &Container) {
    assert_eq!(stage(container), ("done".into(), None), "{}", container.logs());
    let status = status(container, "app");
    assert_eq!(status["image_generation"], status["copy_generation"], "{status}");
    assert_eq!(status["problem"], serde_json::Value::Null, "{status}");
    let journal = container.exec(&["cat", "/run/leonardo/boot.jsonl"]).text();
    assert!(!journal.contains("cannot inspect"), "the storage monitor hides nothing: {journal}");
}

#[test]
fn work_of_the_first_seconds_is_the_users_and_no_generation_of_the_image() {
    let (first, volume) = (image("one"), volume());
    {
        let container = synced(&first, volume.path(), true);
        container.wait_until("the early program", || {
            container.exec(&["test", "-e", "/run/early"]).code == Some(0)
        });
        container.wait_until("the link", || link(&container, "/opt/app") == "/workspace/app");
        container.wait_until("its work in the copy", || {
            container.sh("ls /workspace/app/mine | wc -l; cat /workspace/app/lib/new").text() == "50\nnew"
        });
        is_of_the_images_generation(&container);
    }
    // The same image, with the same work in its own tree, which no program uses.
    is_of_the_images_generation(&synced(&first, volume.path(), false));

    let second = image("number two");
    let container = synced(&second, volume.path(), false);
    let (_, cause) = stage(&container);
    assert!(cause.unwrap().contains("the image has generation"), "{}", container.logs());
    let said = container.exec(&["workspace-sync", "refresh", "app"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let there = "cd /opt/app && ls mine | wc -l && ls -d newdir models && readlink link && cat release config \
                 config.before-refresh lib/version lib/version.before-refresh lib/new plugins/one";
    assert_eq!(
        container.sh(there).text(),
        "50\nmodels\nnewdir\n/elsewhere\nnumber two\nsmall\nlarge\n1.0\n2.0\nnew\nplugin"
    );
}

#[test]
fn a_directory_is_synced_although_the_storage_monitor_has_worked_for_other_users() {
    let image = Image::extended(
        r#"ENV OPT_SYNC=notes
RUN mkdir -p /opt/notes /opt/other && echo shipped > /opt/notes/readme && chown 1000:1000 /opt/other \
    && echo "storage_map[models]='/opt/other/models'" >> /opt/leonardo/storage_monitor/etc/mappings.sh \
    && fix-perms --only container"#,
    );
    let volume = volume();
    for number in ["1", "2"] {
        let container = synced(&image, volume.path(), false);
        container.wait_until("the monitor's directory", || {
            container.exec(&["test", "-d", "/opt/other/models"]).code == Some(0)
        });
        // It could be looked at all the time, also after that.
        let hidden = "for p in $(pgrep storage-monitor); do ls -l /proc/$p/fd; done 2>&1 | grep -c denied";
        assert_eq!(container.sh(hidden).stdout, b"0\n");
        assert_eq!(stage(&container), ("done".into(), None), "{}", container.logs());
        assert_eq!(link(&container, "/opt/notes"), "/workspace/notes");
        container.sh(&format!("echo {number} >> /opt/notes/mine")).text();
        assert_eq!(container.exec(&["cat", "/opt/notes/readme"]).text(), "shipped");
    }
    assert_eq!(std::fs::read_to_string(volume.path().join("notes/mine")).unwrap(), "1\n2\n");
}
