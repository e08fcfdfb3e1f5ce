//! An image in an OCI layout, a directory of blobs named by their digests, as BuildKit exports it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value;
use tar::{Archive, EntryType};

use super::is_digest;
use super::layer_archive::{absolute, digest};

/// One image and where its blobs are.
#[derive(Debug)]
pub struct OciImage {
    directory: PathBuf,
    /// Digest of the manifest: the image's.
    pub digest: String,
    /// The manifest, without its descriptors.
    pub manifest: Value,
    /// The configuration.
    pub configuration: Value,
    /// Layers, from the lowest.
    pub layers: Vec<Descriptor>,
}

/// Reference to a blob.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    media_type: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// Entry of a layer: everything that makes a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// File, directory, link, …
    pub kind: EntryType,
    /// Length and digest of the content.
    pub content: (u64, u64),
    /// Target of a link.
    pub target: Option<PathBuf>,
    /// Permissions.
    pub mode: u32,
    /// User and group.
    pub owner: (u64, u64),
    /// Seconds since 1970, and the exact time if the archive has one.
    pub time: (u64, Option<Vec<u8>>),
    /// Extended attributes and other fields, and the numbers of a device.
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl OciImage {
    /// Opens a layout with one image.
    pub fn open(directory: &Path) -> Result<Self> {
        let index = directory.join("index.json");
        let index: Index = parse(&index)?;
        let [Descriptor { digest, .. }] = &index.manifests[..] else {
            bail!("{} has {} images instead of one", directory.display(), index.manifests.len());
        };
        let path = blob(directory, digest)?;
        let Manifest { config, layers } = parse(&path)?;
        let mut manifest: Value = parse(&path)?;
        if let Some(manifest) = manifest.as_object_mut() {
            manifest.retain(|name, _| name != "config" && name != "layers");
        }
        let configuration = parse(&blob(directory, &config.digest)?)?;
        Ok(Self { directory: directory.to_owned(), digest: digest.clone(), manifest, configuration, layers })
    }

    /// Reads the entries of a layer; of several with one path the last counts, as when the layer is unpacked.
    pub fn entries(&self, layer: &Descriptor) -> Result<BTreeMap<PathBuf, Entry>> {
        let path = blob(&self.directory, &layer.digest)?;
        let read = || -> Result<_> {
            let file = BufReader::with_capacity(1 << 20, File::open(&path)?);
            match layer.media_type.rsplit_once(['.', '+']).map(|(_, kind)| kind) {
                Some("gzip") => entries(MultiGzDecoder::new(file)),
                Some("tar") => entries(file),
                _ => bail!("layers of type {} are not supported", layer.media_type),
            }
        };
        read().with_context(|| format!("cannot read the layer {}", path.display()))
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("cannot parse {}", path.display()))
}

fn blob(directory: &Path, digest: &str) -> Result<PathBuf> {
    ensure!(is_digest(digest), "{digest:?} is not a SHA-256 digest");
    Ok(directory.join("blobs").join(digest.replace(':', "/")))
}

fn entries(stream: impl Read) -> Result<BTreeMap<PathBuf, Entry>> {
    let mut entries = BTreeMap::new();
    for entry in Archive::new(stream).entries()? {
        let mut entry = entry?;
        let mut attributes = BTreeMap::new();
        for extension in entry.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            attributes.insert(extension.key_bytes().to_owned(), extension.value_bytes().to_owned());
        }
        // Compared as what they stand for.
        for name in ["path", "linkpath", "size", "uid", "gid", "uname", "gname"] {
            attributes.remove(name.as_bytes());
        }
        let exact_time = attributes.remove(&b"mtime"[..]);
        let header = entry.header();
        let kind = header.entry_type();
        if kind.is_block_special() || kind.is_character_special() {
            let numbers = format!("{:?} {:?}", header.device_major()?, header.device_minor()?);
            attributes.insert(b"device".to_vec(), numbers.into_bytes());
        }
        let described = Entry {
            kind,
            content: (0, 0),
            target: entry.link_name()?.map(std::borrow::Cow::into_owned),
            mode: header.mode()?,
            owner: (header.uid()?, header.gid()?),
            time: (header.mtime()?, exact_time),
            attributes,
        };
        let path = absolute(&entry.path()?);
        entries.insert(path, Entry { content: digest(&mut entry)?, ..described });
    }
    Ok(entries)
}
