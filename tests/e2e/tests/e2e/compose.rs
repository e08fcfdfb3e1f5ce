//! `docker-compose.yaml`: a service for each profile, and one of them started.

use std::process::Command;

use harness::HttpClient;
use serde_json::Value;

const ENV: &str = include_str!("../../../../.env");

/// A copy of the compose files in a project of its own; what it started is removed with it.
struct Project(tempfile::TempDir);

impl Project {
    /// The files, with these lines at the end of `.env`.
    fn new(lines: &[&str]) -> Self {
        let project = Self(tempfile::Builder::new().prefix("leonardo-compose-").tempdir().unwrap());
        project.write(".env", &format!("{ENV}\n{}\n", lines.join("\n")));
        project.write("docker-compose.yaml", include_str!("../../../../docker-compose.yaml"));
        project.write("docker-compose.rclone.yaml", include_str!("../../../../docker-compose.rclone.yaml"));
        project.write(
            "docker-compose.bootstrap.yaml",
            include_str!("../../../../docker-compose.bootstrap.yaml"),
        );
        std::fs::create_dir(project.0.path().join("config")).unwrap();
        project.write("config/authorized_keys", include_str!("../../../../config/authorized_keys"));
        project
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut compose = Command::new("docker");
        compose.arg("compose").args(words).current_dir(self.0.path());
        for name in ["WEB_PASSWORD", "COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"] {
            compose.env_remove(name);
        }
        compose
    }

    #[track_caller]
    fn compose(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The services that a profile starts.
    fn services(&self, profile: &[&str]) -> serde_json::Map<String, Value> {
        let words = [profile, &["config", "--format", "json"]].concat();
        let config: Value = serde_json::from_str(&self.compose(&words)).unwrap();
        config["services"].as_object().unwrap().clone()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = self.command(&["--profile", "*", "down", "--volumes", "--timeout", "1"]).output();
    }
}

#[test]
fn each_profile_is_one_service_with_a_listed_image_and_its_devices() {
    let listed: Value =
        serde_json::from_str(include_str!("../../../../xtask/src/bake/fixtures/print.json")).unwrap();
    let project = Project::new(&[]);
    for (profile, service) in [
        (&[][..], "base"),
        (&["--profile", "cpu"], "base"),
        (&["--profile", "nvidia"], "nvidia"),
        (&["--profile", "amd"], "amd"),
    ] {
        let services = project.services(profile);
        assert_eq!(services.keys().collect::<Vec<_>>(), [service], "{profile:?}");
        let service = &services[service];
        let tag = service["image"].as_str().unwrap().strip_prefix("leonardo/base-image:").unwrap();
        let mut expected = listed["target"][tag.replace('.', "_")]["args"].clone();
        expected.as_object_mut().unwrap().remove("RUST_IMAGE");
        assert_eq!(service["build"]["args"], expected, "{tag}");
        let driver = &service["deploy"]["resources"]["reservations"]["devices"][0]["driver"];
        assert_eq!(driver.as_str(), (profile.last() == Some(&"nvidia")).then_some("nvidia"));
        let devices = service["devices"].as_array().map_or(0, Vec::len);
        assert_eq!(devices, if profile.last() == Some(&"amd") { 2 } else { 0 });
    }
    let rclone = Project::new(&["COMPOSE_FILE=docker-compose.yaml:docker-compose.rclone.yaml"]);
    for (profile, devices) in [("cpu", 1), ("nvidia", 1), ("amd", 3)] {
        let services = rclone.services(&["--profile", profile]);
        let service = services.values().next().unwrap();
        assert_eq!(service["devices"].as_array().unwrap().len(), devices);
        assert_eq!(service["cap_add"][0], "SYS_ADMIN");
    }
    let bootstrap = Project::new(&["COMPOSE_FILE=docker-compose.yaml:docker-compose.bootstrap.yaml"]);
    let base = &bootstrap.services(&[])["base"];
    assert_eq!(base["image"], "leonardo/base-image:cpu-debian-12");
    assert_eq!(base["build"]["args"]["IMAGE_BASE"], "leonardo/bootstrap:debian-12");
}

#[test]
fn up_starts_the_service_of_the_profile_with_the_secret_of_a_file() {
    let image =
        std::env::var("LEONARDO_TEST_IMAGE").expect("LEONARDO_TEST_IMAGE, which `cargo xtask e2e` sets");
    let project = Project::new(&["WEB_PASSWORD_FILE=/run/secrets/web_password", "CF_QUICK_TUNNELS=false"]);
    std::fs::create_dir(project.0.path().join("config/secrets")).unwrap();
    project.write("config/secrets/web_password", "from a file\n");
    // Ports that no other test and no service of the machine has; --wait waits for the check of health.
    let service =
        "restart: !override \"no\", ports: !override [\"127.0.0.1::1111\"], healthcheck: {interval: 1s}";
    project.write("ports.yaml", &format!("services: {{base: {{image: \"{image}\", {service}}}}}\n"));
    let files = ["--file", "docker-compose.yaml", "--file", "ports.yaml"];
    project.compose(
        &[&files[..], &["up", "--detach", "--no-build", "--wait", "--wait-timeout", "120"]].concat(),
    );
    let address = project.compose(&[&files[..], &["port", "base", "1111"]].concat());
    let web = HttpClient::new(address.trim().to_owned());
    assert_eq!(web.log_in("user", "from a file").status, 303);
    assert_ne!(web.log_in("user", "another").status, 303);
}

#[test]
fn a_password_with_dollars_reaches_the_container_as_the_env_file_documents() {
    let line = "WEB_PASSWORD='pa$$w$ord1'";
    let settings = include_str!("../../../../.env");
    assert!(settings.contains(line), "{settings}");
    // What compose prints is its input again, with each dollar doubled.
    let shown = Project::new(&[line]).compose(&["config"]);
    assert!(shown.contains("WEB_PASSWORD: pa$$$$w$$ord1\n"), "{shown}");
}

#[test]
fn compose_states_the_ports_that_it_publishes() {
    for (lines, portal, ssh) in [
        (&[][..], "MAPPED_TCP_PORT_1111: \"1111\"\n", "MAPPED_TCP_PORT_22: \"2222\"\n"),
        (
            &["HOST_PORTAL_PORT=127.0.0.1:1112", "SSH_PORT=2200", "HOST_SSH_PORT=2201"],
            "MAPPED_TCP_PORT_1111: 127.0.0.1:1112\n",
            "MAPPED_TCP_PORT_2200: \"2201\"\n",
        ),
        (
            &["HOST_PORTAL_PORT=1112", "MAPPED_TCP_PORT_1111=443"],
            "MAPPED_TCP_PORT_1111: \"443\"\n",
            "MAPPED_TCP_PORT_22: \"2222\"\n",
        ),
    ] {
        let shown = Project::new(lines).compose(&["config"]);
        assert!(shown.contains(portal) && shown.contains(ssh), "{shown}");
    }
}
