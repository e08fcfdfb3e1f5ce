//! Content of the image, and what it must not contain.

use std::path::Path;

use harness::RunOptions;

#[test]
fn the_image_has_no_keys_certificates_or_logins_of_its_builder() {
    let script = "ls /etc/ssh/ssh_host_* /opt/leonardo/etc/environment.sh /opt/leonardo/etc/web_credentials.json \
        /root/.ssh/authorized_keys /run/secrets /build 2>/dev/null; ls -A /usr/local/share/ca-certificates; true";
    assert_eq!(RunOptions::new().command(&["bash", "-c", script]).run_to_end().text(), "");
}

#[test]
fn every_tool_runs_and_explains_itself() {
    let script = "cd /opt/leonardo/bin && for tool in *; do [ ! -L $tool ] && [ $tool != cloudflared ] || continue; \
        \"$tool\" --help > /tmp/help && head -n 1 /tmp/help | grep -q . && \"$tool\" --version; done";
    // sshd-run is a link to the copy that only root can change.
    let text = RunOptions::new().command(&["bash", "-ec", script]).run_to_end().text();
    let tools: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(
        tools,
        [
            "boot",
            "caddy-run",
            "direct-url",
            "env-store",
            "fix-perms",
            "gpu-limit",
            "image-check",
            "init",
            "logtail",
            "portal-link",
            "process-control",
            "provision",
            "rclone-run",
            "selftest",
            "service-portal",
            "service-run",
            "set-web-credentials",
            "share",
            "storage-monitor",
            "sync-tree",
            "tunnel-run",
            "workspace-sync"
        ]
    );
}

#[test]
fn nothing_below_opt_has_a_wrong_owner_or_mode() {
    let text =
        RunOptions::new().command(&["fix-perms", "--only", "container", "--dry-run"]).run_to_end().text();
    assert!(text.ends_with(", nothing to change") && text.lines().count() == 1, "{text}");
}

#[test]
fn caddy_is_new_enough_to_delete_headers_of_the_visitor() {
    let version = RunOptions::new().command(&["caddy", "version"]).run_to_end().text();
    let numbers: Vec<u32> = version[1..].split([' ', '.']).map_while(|part| part.parse().ok()).collect();
    assert!(numbers.as_slice() >= [2, 11, 2].as_slice(), "{version}");
}

#[test]
fn people_find_the_programs_they_expect() {
    let wanted = "caddy curl gcc git htop jq less make nano nvim|vim python3 rclone rsync ssh sshd|/usr/sbin/sshd sudo \
        supervisorctl tmux unzip wget zstd";
    let script = format!(
        "for any in {}; do ok=; for p in ${{any//|/ }}; do command -v \"$p\" >/dev/null && ok=1; done; \
         [ $ok ] || echo \"missing $any\"; done; python3 -m venv /tmp/v && /tmp/v/bin/pip --version > /dev/null",
        wanted.split_whitespace().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
    );
    assert_eq!(RunOptions::new().command(&["bash", "-c", &script]).run_to_end().text(), "");
}

#[test]
fn a_program_that_could_not_be_downloaded_explains_why_and_how_to_add_it() {
    let pins = include_str!("../../../../images/base/pins/downloads.txt");
    for name in ["cloudflared", "micromamba"] {
        let run = RunOptions::new().command(&[name, "--version"]).run_to_end();
        if run.code == Some(0) {
            RunOptions::new()
                .command(&["ls", &format!("/opt/leonardo/stubs/{name}")])
                .run_to_end()
                .failure(2);
            continue;
        }
        let [opening, hint, download, check] = run.failure(127).lines().collect::<Vec<_>>()[..] else {
            panic!("{run:?}");
        };
        let unreachable = "not in this image: https://github.com could not be reached when it was built";
        assert_eq!(opening, format!("{name}: {unreachable}"));
        let program = download.split(' ').find(|word| word.starts_with("/opt/")).expect("a path");
        let rebuild = "rebuild the image with STRICT_DOWNLOADS=true and access to github.com";
        assert_eq!(hint, format!("hint: {rebuild}, or add it now:"));
        // The shell has the stub's path in its table.
        assert!(check.ends_with(&format!(" && sudo chmod 755 {program} && hash -r")), "{check}");
        let (_, address) = download.rsplit_once(' ').unwrap();
        let digest = check.split(['\'', ' ']).find(|word| word.len() == 64).expect("a digest");
        let pin = |line: &&str| line.contains(digest) && line.ends_with(address) && line.starts_with(name);
        assert_eq!(pins.lines().filter(pin).count(), 1, "{download}\n{check}");
        // It is where PATH finds it.
        let add =
            format!("mkdir -p ${{1%/*}} && printf '#!/bin/sh\\necho added' > $1 && chmod 755 $1 && {name}");
        let added = RunOptions::new().command(&["bash", "-c", &add, "bash", program]).run_to_end();
        assert_eq!(added.text(), "added");
    }
}

#[test]
fn the_micromamba_root_is_a_link_to_the_images_own_copy() {
    let script = "readlink /opt/micromamba; stat -c '%U %G' /opt/.image/micromamba";
    assert_eq!(
        RunOptions::new().command(&["bash", "-c", script]).run_to_end().text(),
        "/opt/.image/micromamba\nroot leonardo"
    );
}

#[test]
fn the_configuration_of_supervisord_has_no_network_door() {
    // Settings of the C library are neither secrets nor the user's.
    let script = "cat /etc/supervisor/supervisord.conf /etc/supervisor/*/*.conf | grep -v -e '^;' -e '^environment=MALLOC_' | grep -c -e inet_http_server -e '^environment='";
    assert_eq!(RunOptions::new().command(&["bash", "-c", script]).run_to_end().failure(1), "");
}

/// What the last step of the Dockerfile does with `build/COPY_ROOT_EXTRA`.
const LAY_OVER: &str = "umask 000
mkdir -p /tmp/extra/{lib/extra,opt/storage/models,opt/micromamba} && cd /tmp/extra || exit
touch lib/extra/file opt/storage/models/file opt/micromamba/file && chown -R nobody .
/lay-over.sh /tmp/extra && fix-perms --quiet --only container > /dev/null
stat -c '%U:%G %a' /lib/extra/file /opt/storage/models/file /opt/.image/micromamba/file
readlink /lib /opt/micromamba";

#[test]
fn extra_files_belong_to_root_and_links_of_the_image_stay() {
    let step = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/base/steps/lay-over.sh");
    let run = RunOptions::new().mount(&step.canonicalize().unwrap(), "/lay-over.sh", "ro");
    assert_eq!(
        run.command(&["bash", "-c", LAY_OVER]).run_to_end().text(),
        "root:root 644\nroot:leonardo 664\nroot:leonardo 664\nusr/lib\n/opt/.image/micromamba"
    );
}
