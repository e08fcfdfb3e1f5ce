//! `images/comfyui`, built from a stand-in for ComfyUI: the application needs PyTorch and a network.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use harness::{Container, HttpClient, Image, RunOptions};
use tempfile::TempDir;

const NODE: &str = "file:///fixtures/hello";

fn git(directory: &Path, words: &[&str]) {
    let identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"];
    let status = Command::new("git").current_dir(directory).args(identity).args(words).status().unwrap();
    assert!(status.success(), "git {words:?}");
}

/// A custom node in a repository, a model, and the image's example of a provisioning script.
fn fixtures() -> TempDir {
    let fixtures = tempfile::tempdir().unwrap();
    // The script runs as the system user.
    fs::set_permissions(fixtures.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let node = fixtures.path().join("hello");
    fs::create_dir(&node).unwrap();
    fs::write(node.join("__init__.py"), "NODE_CLASS_MAPPINGS = {}\n").unwrap();
    git(&node, &["init", "--quiet"]);
    git(&node, &["add", "."]);
    git(&node, &["commit", "--quiet", "--message", "a node"]);
    fs::write(fixtures.path().join("tiny.safetensors"), "weights").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/comfyui/provisioning.sh");
    fs::copy(script, fixtures.path().join("provisioning.sh")).unwrap();
    fixtures
}

/// First bytes that the application's WebSocket sends, through the gate.
fn websocket(container: &Container) -> String {
    let address = container.address(8188);
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "GET /ws?clientId=x HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer a-token\r\n\r\n"
    )
    .unwrap();
    let (mut received, mut chunk) = (Vec::new(), [0; 4096]);
    while !received.ends_with(b"}}}}") {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&received).into_owned()
}

/// `devices` is `CUDA_VISIBLE_DEVICES`.
fn start(image: &Image, volume: &Path, fixtures: &Path, devices: &str) -> (Container, HttpClient) {
    let container = RunOptions::new()
        .image(image)
        .mount(volume, "/workspace", "")
        .mount(fixtures, "/fixtures", "ro")
        .env("WEB_TOKEN", "a-token")
        .env("WORKSPACE_SYNC", "true")
        .mount(&fixtures.join("provisioning.sh"), "/opt/leonardo/bin/provisioning.sh", "ro")
        .env("COMFYUI_NODES", NODE)
        .env("COMFYUI_MODELS", "checkpoints=file:///fixtures/tiny.safetensors")
        .env("COMFYUI_ARGS", "--lowvram")
        .env("CUDA_VISIBLE_DEVICES", devices)
        .publish(8188)
        .start_and_wait();
    container.wait_for(8188);
    let owner = container.web(8188).with("authorization", "Bearer a-token");
    container.wait_until("ComfyUI", || owner.get("/system_stats").ok_text().is_some());
    (container, owner)
}

fn stats(owner: &HttpClient) -> serde_json::Value {
    serde_json::from_str(&owner.get("/system_stats").body).unwrap()
}

#[test]
fn comfyui_is_behind_the_login_finds_shared_models_and_moves_to_the_volume() {
    let image = Image::of_folder("images/comfyui", &[("comfyui", "tests/e2e/comfyui-stand-in")]);
    let (volume, fixtures) = (crate::sync::volume(), fixtures());
    let (container, owner) = start(&image, volume.path(), fixtures.path(), "");

    assert_eq!(container.web(8188).get("/").status, 401);
    assert_eq!(owner.get("/").body, "<title>ComfyUI</title>");
    assert_eq!(owner.get("/queue").body, r#"{"queue_running": [], "queue_pending": []}"#);
    let options = &stats(&owner)["options"];
    assert_eq!(
        (&options["cpu"], &options["lowvram"]),
        (&true.into(), &true.into()),
        "no GPU is here; the other is COMFYUI_ARGS"
    );
    assert_eq!(options["output_directory"], "/workspace/ComfyUI-files/output");
    assert!(websocket(&container).contains(r#"{"type": "status""#));

    // The provisioning script ran before ComfyUI started.
    assert_eq!(owner.get("/object_info").body, r#"["hello"]"#);
    let models = || owner.get("/models/checkpoints").body;
    container.wait_until("the downloaded model", || models() == r#"["tiny.safetensors"]"#);
    container.sh("echo weights > /workspace/storage/models/checkpoints/mine.safetensors").text();
    container.wait_until("the user's model", || models() == r#"["mine.safetensors", "tiny.safetensors"]"#);
    container.wait_until("the copy", || container.sh("readlink /opt/ComfyUI").text() == "/workspace/ComfyUI");
    let report = container.exec(&["selftest"]);
    assert_eq!(report.code, Some(0), "{}{}", String::from_utf8_lossy(&report.stdout), report.stderr);
    drop(container);

    let (container, owner) = start(&image, volume.path(), fixtures.path(), "0,1");
    let running = || container.sh("cat /run/http_ports/8188").text().matches(r#""phase":"running""#).count();
    container.wait_until("the service and both instances to run", || running() == 3);
    assert_eq!(stats(&owner)["options"]["cpu"], false);
    assert_eq!(stats(&owner)["system"]["base"], "/workspace/ComfyUI");
    assert_eq!(owner.get("/object_info").body, r#"["hello"]"#, "what the user added is still there");
    container.wait_until("the models", || {
        owner.get("/models/checkpoints").body == r#"["mine.safetensors", "tiny.safetensors"]"#
    });
}
