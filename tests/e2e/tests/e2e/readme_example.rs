//! The extended image of README.md, built as a reader would.

use std::fs;
use std::path::Path;

use harness::{Image, RunOptions};

/// Returns the file that a code block of the page names in its first lines: path and content.
fn named_file(block: &str) -> Option<(&str, &str)> {
    let content = block.split_once('\n')?.1;
    let names =
        content.lines().take(2).filter_map(|line| line.strip_prefix("# ").or(line.strip_prefix("; ")));
    let path = names.last().filter(|name| *name == "Dockerfile" || name.starts_with("root/"))?;
    Some((path, content))
}

#[test]
fn the_example_of_the_readme_serves_the_workspace_behind_the_login() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Extend it\n").expect("a section about extended images");
    let files: Vec<_> = section.split("\n## ").next().unwrap().split("```").filter_map(named_file).collect();
    let paths: Vec<_> = files.iter().map(|(path, _)| *path).collect();
    assert_eq!(paths, ["Dockerfile", "root/etc/supervisor/conf.d/files.conf"]);
    let copies: String = files[1..]
        .iter()
        .map(|(path, content)| format!("COPY <<'END' {}\n{content}END\n", path.strip_prefix("root").unwrap()))
        .collect();
    let (from, instructions) = files[0].1.split_once("COPY root/ /\n").expect("a line that copies the files");
    assert!(from.contains("\nFROM leonardo/base-image:cpu-22.04\n"), "{from}");

    let image = Image::extended(&(copies + instructions));
    let volume = crate::sync::volume();
    fs::write(volume.path().join("hello.txt"), "a file of mine\n").unwrap();
    let run =
        RunOptions::new().image(&image).mount(volume.path(), "/workspace", "").env("WEB_TOKEN", "a-token");
    let container = run.publish(8080).start_and_wait();
    container.wait_for(8080);
    let web = container.web(8080);
    assert_eq!(web.get("/hello.txt").status, 401);
    let owner = web.with("authorization", "Bearer a-token");
    container.wait_until("the service to answer", || owner.get("/hello.txt").body == "a file of mine\n");
    assert_eq!(container.sh("ps -o user= -C python3").text(), "user", "not root");
}
