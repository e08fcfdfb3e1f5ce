//! What authors of images use: `image-check`, `sync-tree`, `cargo xtask images lint`, and the template.

use std::process::Command;

use harness::{Image, RunOptions};

const FAULTS: &str = include_str!("image_authors/faults.sh");
const FINDINGS: &str = include_str!("image_authors/findings.txt");
const LINT: &str = include_str!("image_authors/lint.txt");
/// Names that `image-check` takes for set.
const ALWAYS_SET: &str = include_str!("../../../../crates/image-check/src/always_set.txt");

#[test]
fn each_fault_of_an_image_is_named_with_its_effect_and_its_fix() {
    let image = Image::extended(
        "RUN mkdir /opt/earlier && touch /opt/earlier/x\n\
         RUN head -c 5000000 /dev/urandom > /opt/large && echo https://ada:sesame@git.example > /root/.git-credentials\n\
         RUN rm /root/.git-credentials && fix-perms --only container\n\
         ENV IMAGE_SLUG=faulty HF_TOKEN=sesame\n\
         HEALTHCHECK NONE",
    );
    let container = RunOptions::new().image(&image).command(&["sleep", "600"]).start();
    let moved = container.exec(&["sync-tree", "add", "earlier"]);
    let moved = moved.failure(1).trim_end();
    let fix = "RUN sync-tree add earlier && … ; for COPY, in a step before: RUN sync-tree add earlier, then COPY … /opt/earlier/";
    assert!(moved.ends_with(&format!("\nhint: run sync-tree in the step that creates it: {fix}")), "{moved}");
    container.sh("test -d /opt/earlier && test ! -e /opt/.image/earlier").text();
    container.sh("rm -r /opt/earlier /opt/large").text();
    container.sh(FAULTS).text();
    let variables =
        ["OPT_SYNC=real:absent:a/b", "IMAGE_SLUG=base-image", "SSH_PORT=abc", "WORKSPACE_SYNCH=true"];
    let checked = container.exec(&[&["env"], &variables[..], &["image-check"]].concat());
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let text = String::from_utf8_lossy(&checked.stdout);
    let (findings, summary) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(findings, FINDINGS.trim_end());
    assert!(summary.starts_with("41 failed, 6 warned; checked: "), "{summary}");

    let lint = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "xtask",
            "--",
            "images",
            "lint",
            "--engine",
            "system",
        ])
        .arg(image.tag())
        .output()
        .unwrap();
    assert_eq!(lint.status.code(), Some(1), "{lint:?}");
    // The number of layers below is that of the base image.
    let hide = |word: &str| {
        if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
            "N".to_owned()
        } else {
            word.to_owned()
        }
    };
    let lint = String::from_utf8_lossy(&lint.stdout);
    let lint: Vec<_> =
        lint.lines().map(|line| line.split(' ').map(hide).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lint.join("\n"), LINT.trim_end());
}

#[test]
fn the_template_becomes_an_image_whose_service_storage_and_tree_work() {
    let image = Image::of_folder("images/template", &[]);
    let volume = crate::sync::volume();
    let run =
        RunOptions::new().image(&image).mount(volume.path(), "/workspace", "").env("WEB_TOKEN", "a-token");
    let container = run.env("WORKSPACE_SYNC", "true").publish(8500).start_and_wait();
    container
        .sh("mkdir -p /workspace/storage/models && echo weights > /workspace/storage/models/a.bin")
        .text();
    container.wait_for(8500);
    let web = container.web(8500);
    assert_eq!(web.get("/a.bin").status, 401);
    let owner = web.with("authorization", "Bearer a-token");
    container.wait_until("the service to show the linked file", || owner.get("/a.bin").body == "weights\n");
    container.wait_until("the tree to be switched", || {
        container.exec(&["readlink", "/opt/gallery"]).text() == "/workspace/gallery"
    });

    let refused = |words: &[&str]| container.exec(words).failure(1).trim_end().to_owned();
    assert_eq!(
        refused(&["sync-tree", "add", "other"]),
        "sync-tree: this container is running, and only an image has a layout\n\
         hint: add it to the Dockerfile: RUN sync-tree add other"
    );
    assert_eq!(
        refused(&["image-check"]),
        "image-check: this container is running: its keys and logins are its own, not the image's\n\
         hint: check the image: docker run --rm IMAGE image-check"
    );
    let environment = container.sh("tr '\\0' '\\n' < /proc/1/environ | cut -d= -f1").text();
    let names = ALWAYS_SET.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let unset: Vec<_> = names.filter(|name| !environment.lines().any(|set| set == *name)).collect();
    assert_eq!(unset, [""; 0], "init does not set them in every container");
}
