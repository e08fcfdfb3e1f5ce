//! The output of `docker save`, read as a stream: nothing is unpacked, and of each file only what the findings need is kept.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use tar::EntryType;

/// Maximum size of a description in bytes.
const MAX_JSON: u64 = 16 << 20;
/// Maximum number of entries of an image.
const MAX_ENTRIES: usize = 5_000_000;
/// Bytes that tell a tar archive from others.
const START: usize = 512;
/// Name of the file that lists the layers.
const MANIFEST: &str = "manifest.json";

/// An image: its configuration, and its layers from the lowest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ImageArchive {
    /// What a container starts with.
    pub settings: Settings,
    /// Instructions, one for each layer and for each without one.
    pub history: Vec<Instruction>,
    /// Layers.
    pub layers: Vec<Vec<LayerEntry>>,
}

/// An instruction of the image's build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Instruction {
    /// Its text.
    #[serde(default)]
    pub created_by: String,
    /// True if it has no layer.
    #[serde(default)]
    pub empty_layer: bool,
}

/// An entry of a layer, with its absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEntry {
    /// Path in the image.
    pub path: PathBuf,
    /// What the entry does.
    pub change: Change,
}

/// Effect of an entry on the layers below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A regular file: bytes, digest within this process, and the secret in it.
    File { bytes: u64, digest: u64, secret: Option<&'static str> },
    /// Anything else.
    Other,
    /// Removes the path, with everything below it (a white-out).
    Remove,
    /// Removes everything below the path (an opaque directory).
    Empty,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    config: String,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<Settings>,
    #[serde(default)]
    history: Vec<Instruction>,
}

/// Values of an image's configuration; one that is not set is missing or null.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Settings {
    /// Labels by name.
    pub labels: Option<BTreeMap<String, String>>,
    /// User, and a group behind a colon.
    pub user: Option<String>,
    /// Words before the command's.
    pub entrypoint: Option<Vec<String>>,
    /// Words of the command.
    pub cmd: Option<Vec<String>>,
    /// Health check.
    pub healthcheck: Option<Healthcheck>,
    /// Signal of `docker stop`.
    pub stop_signal: Option<String>,
}

/// Health check of an image.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `CMD` or `CMD-SHELL` with the words of a command, or `NONE`.
    #[serde(default)]
    pub test: Vec<String>,
}

/// Reads the archive of one image.
pub fn read(stream: impl Read) -> Result<ImageArchive> {
    let mut texts: HashMap<String, Vec<u8>> = HashMap::new();
    let mut layers: HashMap<String, Vec<LayerEntry>> = HashMap::new();
    let mut number = 0;
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().context("cannot read the image")? {
        let mut entry = entry.context("cannot read the image")?;
        let name = entry.path().context("cannot read the image")?.to_string_lossy().into_owned();
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let size = entry.size();
        let mut start = Vec::new();
        entry.by_ref().take(START as u64).read_to_end(&mut start).context("cannot read the image")?;
        let is_gzip = start.starts_with(&[0x1f, 0x8b]);
        let is_tar = start.get(257..262) == Some(b"ustar");
        let is_text = start.starts_with(b"{") || start.starts_with(b"[");
        ensure!(
            !start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]),
            "{name} is compressed with zstd, which is not supported; build the image with compression=gzip"
        );
        let whole = start.chain(entry);
        if is_gzip || is_tar {
            let read = if is_gzip {
                read_layer(MultiGzDecoder::new(whole), &mut number)
            } else {
                read_layer(whole, &mut number)
            };
            layers.insert(name.clone(), read.with_context(|| format!("cannot read the layer {name}"))?);
        } else if is_text && size <= MAX_JSON {
            let mut whole = whole;
            let mut text = Vec::new();
            whole.read_to_end(&mut text).context("cannot read the image")?;
            texts.insert(name, text);
        }
    }
    assemble(&texts, &layers)
}

fn assemble(
    texts: &HashMap<String, Vec<u8>>,
    layers: &HashMap<String, Vec<LayerEntry>>,
) -> Result<ImageArchive> {
    let text = |name: &str| texts.get(name).with_context(|| format!("the image has no {name}"));
    let manifests: Vec<Manifest> =
        serde_json::from_slice(text(MANIFEST)?).with_context(|| format!("cannot parse {MANIFEST}"))?;
    let [Manifest { config, layers: names }] = &manifests[..] else { bail!("not one image") };
    let Configuration { config: settings, history } =
        serde_json::from_slice(text(config)?).context("cannot parse the image's configuration")?;
    let take = |name: &String| {
        // Equal layers are stored once and named twice.
        layers.get(name).cloned().with_context(|| format!("the layer {name} is missing or not a tar archive"))
    };
    Ok(ImageArchive {
        settings: settings.unwrap_or_default(),
        history,
        layers: names.iter().map(take).collect::<Result<_>>()?,
    })
}

fn read_layer(stream: impl Read, number: &mut usize) -> Result<Vec<LayerEntry>> {
    let mut entries = Vec::new();
    for entry in tar::Archive::new(stream).entries()? {
        let mut entry = entry?;
        *number += 1;
        ensure!(*number <= MAX_ENTRIES, "the image has more than {MAX_ENTRIES} entries");
        let path = absolute(&entry.path()?);
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let parent = path.parent().unwrap_or(Path::new("/"));
        let found = match name.strip_prefix(".wh.") {
            Some(".wh..opq") => LayerEntry { path: parent.to_owned(), change: Change::Empty },
            // Others of aufs.
            Some(reserved) if reserved.starts_with(".wh.") => continue,
            Some(removed) => LayerEntry { path: parent.join(removed), change: Change::Remove },
            None if entry.header().entry_type() == EntryType::Regular => {
                let size = entry.size();
                let change = read_file(&mut entry, &path, size)?;
                LayerEntry { path, change }
            }
            None => LayerEntry { path, change: Change::Other },
        };
        entries.push(found);
    }
    Ok(entries)
}

/// Returns the path from the root of the image, without names that lead out of it.
pub fn absolute(path: &Path) -> PathBuf {
    let names = path.components().filter(|component| matches!(component, Component::Normal(_)));
    Path::new("/").join(names.collect::<PathBuf>())
}

fn read_file(file: &mut impl Read, path: &Path, size: u64) -> io::Result<Change> {
    let suspect = leaked_secrets::suspect(path, size);
    let mut start = Vec::new();
    if suspect.is_some() {
        file.take(leaked_secrets::MAX_BYTES).read_to_end(&mut start)?;
    }
    let secret = suspect.and_then(|suspect| suspect.find(&start));
    let (bytes, digest) = digest(start.chain(file))?;
    Ok(Change::File { bytes, digest, secret })
}

/// Returns the number of bytes and their digest, which is only comparable within this process: an image that collides hides
/// that two files differ, or that it stores one twice.
pub fn digest(mut content: impl Read) -> io::Result<(u64, u64)> {
    let (mut bytes, mut digest) = (0, DefaultHasher::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = content.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, digest.finish()));
        }
        digest.write(&buffer[..read]);
        bytes += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, *content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn layers_are_read_in_the_order_of_the_manifest_whatever_their_compression() {
        let lower = tar_of(&[("root/.git-credentials", b"https://a:b@h"), ("opt/x", b"12")]);
        let upper = tar_of(&[("root/.wh..git-credentials", b""), ("opt/.wh..wh..opq", b"")]);
        // Two members, as parallel compressors write them.
        let (one, two) = lower.split_at(512);
        let gzip = [one, two].map(|part| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(part).unwrap();
            gzip.finish().unwrap()
        });
        // Equal layers are one blob.
        let manifest =
            br#"[{"Config":"blobs/c","RepoTags":["x:y"],"Layers":["blobs/z","blobs/a","blobs/a"]}]"#;
        let config =
            br#"{"config":{"Labels":{"a":"b"}},"history":[{"created_by":"RUN x"},{"created_by":"RUN y"}]}"#;
        let saved = tar_of(&[
            ("blobs/a", &upper),
            ("blobs/c", config),
            ("blobs/z", &gzip.concat()),
            ("manifest.json", manifest),
        ]);
        let image = read(&saved[..]).unwrap();
        assert_eq!(image.settings.labels, Some([("a".to_owned(), "b".to_owned())].into()));
        let lines: Vec<_> = image.history.iter().map(|line| line.created_by.as_str()).collect();
        assert_eq!(lines, ["RUN x", "RUN y"]);
        let shown: Vec<Vec<_>> = image
            .layers
            .iter()
            .map(|layer| {
                let show = |entry: &LayerEntry| match entry.change {
                    Change::File { bytes, secret, .. } => {
                        format!("{} {bytes} {}", entry.path.display(), secret.unwrap_or("-"))
                    }
                    change => format!("{} {change:?}", entry.path.display()),
                };
                layer.iter().map(show).collect()
            })
            .collect();
        assert_eq!(
            shown,
            [
                vec!["/root/.git-credentials 13 a password of git", "/opt/x 2 -"],
                vec!["/root/.git-credentials Remove", "/opt Empty"],
                vec!["/root/.git-credentials Remove", "/opt Empty"],
            ]
        );
    }

    #[test]
    fn what_is_no_image_is_an_error_and_not_an_empty_one() {
        for (saved, error) in [
            (tar_of(&[]), "the image has no manifest.json"),
            (tar_of(&[("manifest.json", b"[]")]), "not one image"),
            (
                tar_of(&[("manifest.json", br#"[{"Config":"c","Layers":["l"]}]"#), ("c", b"{}")]),
                "the layer l is missing or not a tar archive",
            ),
            (
                tar_of(&[("blobs/l", &[0x28, 0xb5, 0x2f, 0xfd])]),
                "blobs/l is compressed with zstd, which is not supported; build the image with compression=gzip",
            ),
        ] {
            assert_eq!(read(&saved[..]).unwrap_err().to_string(), error);
        }
        assert_eq!(absolute(Path::new("./../a/../../b")), Path::new("/a/b"));
    }
}
