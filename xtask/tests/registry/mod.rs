//! The public registry of Docker on a port of this machine, and small images in it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A running registry; ended when dropped.
pub struct Registry {
    process: Child,
    address: String,
}

impl Registry {
    pub fn start(program: &Path, home: &Path) -> Self {
        fs::create_dir(home).unwrap();
        let config = json!({
            "version": "0.1", "log": { "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": home }, "delete": { "enabled": true } },
            "http": { "addr": "127.0.0.1:0" } });
        fs::write(home.join("config.yml"), config.to_string()).unwrap();
        let mut process = Command::new(program)
            .arg("serve")
            .arg(home.join("config.yml"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .find_map(|line| {
                let line = line.unwrap();
                let (_, rest) = line.split_once("listening on ")?;
                Some(rest.split(['"', ',', ' ']).next()?.to_owned())
            })
            .unwrap();
        // A full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.replace("127.0.0.1", "localhost") }
    }

    /// Ends the registry.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// `localhost:PORT/NAME`.
    pub fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    fn url(&self, repository: &str, rest: &str) -> String {
        format!("http://{}/v2/{repository}/{rest}", self.address)
    }

    fn upload(&self, repository: &str, blob: &[u8]) -> serde_json::Value {
        let digest = format!("sha256:{}", kit::hex::sha256(blob));
        let started = ureq::post(self.url(repository, "blobs/uploads/")).send_empty().unwrap();
        let location = started.headers()["location"].to_str().unwrap();
        ureq::put(format!("{location}&digest={digest}")).send(blob).unwrap();
        json!({ "digest": digest, "size": blob.len() })
    }

    fn put(
        &self,
        repository: &str,
        media_type: &str,
        manifest: &serde_json::Value,
        tag: Option<&str>,
    ) -> String {
        let text = manifest.to_string();
        let digest = format!("sha256:{}", kit::hex::sha256(text.as_bytes()));
        let url = self.url(repository, &format!("manifests/{}", tag.unwrap_or(&digest)));
        ureq::put(url).content_type(media_type).send(&text).unwrap();
        digest
    }

    /// Pushes an index of one image with one file and these variables; without a tag. Returns its digest.
    pub fn push(&self, repository: &str, content: &str, env: &[&str]) -> String {
        self.push_as(repository, content, env, None)
    }

    /// Pushes it with a tag.
    pub fn push_as(&self, repository: &str, content: &str, env: &[&str], tag: Option<&str>) -> String {
        self.push_config(repository, content, &json!({ "Env": env }), tag)
    }

    /// Pushes an image of this version, without a tag.
    pub fn push_version(&self, repository: &str, version: &str) -> String {
        let labels = json!({ "Labels": { "org.opencontainers.image.version": version } });
        self.push_config(repository, version, &labels, None)
    }

    fn push_config(
        &self,
        repository: &str,
        content: &str,
        config: &serde_json::Value,
        tag: Option<&str>,
    ) -> String {
        let described = |blob: &[u8], media_type: &str| {
            let mut descriptor = self.upload(repository, blob);
            descriptor["mediaType"] = media_type.into();
            descriptor
        };
        let layer = archive("release.txt", content.as_bytes());
        let config = json!({ "architecture": "amd64", "os": "linux", "config": config,
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", kit::hex::sha256(&layer))] } });
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described(config.to_string().as_bytes(), CONFIG), "layers": [described(&layer, LAYER)] });
        let digest = self.put(repository, MANIFEST, &manifest, None);
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [{ "mediaType": MANIFEST,
            "digest": digest, "size": manifest.to_string().len(), "platform": { "architecture": "amd64", "os": "linux" } }] });
        self.put(repository, INDEX, &index, tag)
    }

    /// Digest of the configuration of an image that [`Registry::push`] pushed.
    pub fn configuration(&self, repository: &str, digest: &str) -> String {
        let get = |digest: &str, media_type: &str| -> serde_json::Value {
            let url = self.url(repository, &format!("manifests/{digest}"));
            ureq::get(url).header("accept", media_type).call().unwrap().body_mut().read_json().unwrap()
        };
        let image = get(digest, INDEX)["manifests"][0]["digest"].clone();
        get(image.as_str().unwrap(), MANIFEST)["config"]["digest"].as_str().unwrap().to_owned()
    }

    /// Tags of a repository, sorted.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let mut response = ureq::get(self.url(repository, "tags/list")).call().unwrap();
        let list: serde_json::Value = response.body_mut().read_json().unwrap();
        let tags = list["tags"].as_array().cloned().unwrap_or_default();
        let mut tags: Vec<_> = tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
        tags.sort();
        tags
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A tar archive of one file.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    for (at, text) in [
        (100, "0000644\0".to_owned()),
        (108, "0000000\0".to_owned()),
        (116, "0000000\0".to_owned()),
        (124, format!("{:011o}\0", content.len())),
        (136, "00000000000\0".to_owned()),
        (148, "        ".to_owned()),
        (156, "0".to_owned()),
        (257, "ustar\x0000".to_owned()),
    ] {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = (512 - content.len() % 512) % 512;
    [&header[..], content, &vec![0; padding + 1024]].concat()
}
