//! Comparison of two builds of an image: which layers, files and fields differ, and in what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Result;
use kit::quote::escape_control_line;
use serde_json::Value;

use super::layer_archive::Instruction;
use super::layer_findings;
use super::oci_layout::{Entry, OciImage};

/// Most files and fields that are listed for each place.
const MAX_LINES: usize = 20;

/// Two builds of one place that are not the same.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Layer with its instruction, or the configuration.
    place: String,
    /// What differs there, one line each.
    lines: Vec<String>,
}

/// Compares two images. Returns nothing if their digests are equal, or if only descriptions of the layers differ.
pub fn find(first: &OciImage, second: &OciImage) -> Result<Vec<Difference>> {
    if first.digest == second.digest {
        return Ok(Vec::new());
    }
    let history = |image: &OciImage| -> Vec<Instruction> {
        let history = image.configuration.get("history").cloned().unwrap_or_default();
        serde_json::from_value(history).unwrap_or_default()
    };
    let longer = if first.layers.len() < second.layers.len() { second } else { first };
    let history = history(longer);
    let mut found = Vec::new();
    for number in 0..longer.layers.len() {
        let lines = match (first.layers.get(number), second.layers.get(number)) {
            (Some(one), Some(two)) if one == two => continue,
            (Some(one), Some(two)) => of_files(&first.entries(one)?, &second.entries(two)?),
            (one, _) => vec![only(one.is_some())],
        };
        found.push(Difference { place: layer_findings::place(&history, number), lines });
    }
    // The digests of the layers have been compared.
    let plain = |configuration: &Value| {
        let mut configuration = configuration.clone();
        if let Some(fields) = configuration.as_object_mut() {
            fields.remove("rootfs");
        }
        configuration
    };
    let mut of_json = |place: &str, first: &Value, second: &Value| {
        let mut lines = Vec::new();
        of_fields("", first, second, &mut lines);
        if !lines.is_empty() {
            found.push(Difference { place: place.to_owned(), lines });
        }
    };
    of_json("configuration", &plain(&first.configuration), &plain(&second.configuration));
    of_json("manifest", &first.manifest, &second.manifest);
    Ok(found)
}

/// The differences as text: a place with its lines below, each of which is a path and what differs.
pub fn listing(differences: &[Difference]) -> String {
    let show = |Difference { place, lines }: &Difference| {
        let rest = lines.len().saturating_sub(MAX_LINES);
        let shown = lines.iter().take(MAX_LINES).map(|line| format!("  {}\n", escape_control_line(line)));
        let rest = (rest > 0).then(|| format!("  and {rest} more\n"));
        [format!("{}\n", escape_control_line(place))].into_iter().chain(shown).chain(rest).collect::<String>()
    };
    differences.iter().map(show).collect()
}

fn only(is_first: bool) -> String {
    format!("only in the {} build", if is_first { "first" } else { "second" })
}

fn of_files(first: &BTreeMap<PathBuf, Entry>, second: &BTreeMap<PathBuf, Entry>) -> Vec<String> {
    let paths: BTreeSet<&PathBuf> = first.keys().chain(second.keys()).collect();
    let mut lines = Vec::new();
    for path in paths {
        let difference = match (first.get(path), second.get(path)) {
            (Some(one), Some(two)) if one == two => continue,
            (Some(one), Some(two)) => aspects(one, two).join(", "),
            (one, _) => only(one.is_some()),
        };
        lines.push(format!("{}: {difference}", path.display()));
    }
    if lines.is_empty() {
        lines.push("the same files, in another order or otherwise compressed".to_owned());
    }
    lines
}

fn aspects(one: &Entry, two: &Entry) -> Vec<&'static str> {
    let aspects = [
        ("type", one.kind != two.kind),
        ("content", one.content != two.content),
        ("target", one.target != two.target),
        ("mode", one.mode != two.mode),
        ("owner", one.owner != two.owner),
        ("time", one.time != two.time),
        ("attributes", one.attributes != two.attributes),
    ];
    aspects.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

/// Adds a line for each field of two JSON values that differs, with its JSON pointer.
fn of_fields(pointer: &str, first: &Value, second: &Value, lines: &mut Vec<String>) {
    let null = Value::Null;
    match (first, second) {
        (one, two) if one == two => {}
        (Value::Object(one), Value::Object(two)) => {
            for name in one.keys().chain(two.keys()).collect::<BTreeSet<_>>() {
                let (one, two) = (one.get(name).unwrap_or(&null), two.get(name).unwrap_or(&null));
                of_fields(&format!("{pointer}/{name}"), one, two, lines);
            }
        }
        (Value::Array(one), Value::Array(two)) => {
            for number in 0..one.len().max(two.len()) {
                let (one, two) = (one.get(number).unwrap_or(&null), two.get(number).unwrap_or(&null));
                of_fields(&format!("{pointer}/{number}"), one, two, lines);
            }
        }
        (one, two) => lines.push(format!("{pointer}: {one} and {two}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;
    use tar::{EntryType, Header};

    /// A file of a layer as `name`, content and a change of its header.
    type Input = (&'static str, &'static str, fn(&mut Header));

    const SAME: fn(&mut Header) = |_| {};

    fn layer(files: &[Input]) -> Vec<u8> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, content, change) in files {
            let mut header = Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(1_700_000_000);
            header.set_uid(0);
            header.set_gid(0);
            change(&mut header);
            archive.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    /// Writes a layout with these layers and this time of the image.
    fn layout(directory: &Path, created: &str, layers: &[Vec<u8>]) -> OciImage {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let write = |kind: &str, content: &[u8]| {
            let digest = kit::hex::sha256(content);
            fs::File::create(blobs.join(&digest)).unwrap().write_all(content).unwrap();
            json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "size": content.len(),
                "digest": format!("sha256:{digest}") })
        };
        let text = |value: Value| value.to_string().into_bytes();
        let steps = ["RUN /bin/sh -c one", "RUN /bin/sh -c two", "RUN /bin/sh -c three"];
        let history: Vec<_> = steps.iter().map(|step| json!({ "created_by": step })).collect();
        let diff_ids: Vec<_> = layers.iter().map(|layer| kit::hex::sha256(layer)).collect();
        let config = json!({ "created": created, "history": history, "rootfs": { "diff_ids": diff_ids } });
        let layers: Vec<_> = layers.iter().map(|layer| write("layer.v1.tar+gzip", layer)).collect();
        let manifest = json!({ "config": write("config.v1+json", &text(config)), "layers": layers });
        let index = json!({ "manifests": [write("manifest.v1+json", &text(manifest))] });
        fs::write(directory.join("index.json"), text(index)).unwrap();
        OciImage::open(directory).unwrap()
    }

    #[test]
    fn layers_files_and_fields_that_differ_are_named_with_what_differs() {
        let dir = tempfile::tempdir().unwrap();
        let link: fn(&mut Header) = |header| {
            header.set_entry_type(EntryType::Symlink);
            header.set_link_name("/a").unwrap();
        };
        let other_link: fn(&mut Header) = |header| {
            header.set_entry_type(EntryType::Symlink);
            header.set_link_name("/b").unwrap();
        };
        let base = layer(&[("etc/same", "1", SAME)]);
        let first: &[Input] = &[
            ("etc/same", "1", SAME),
            ("etc/content", "1", SAME),
            ("etc/gone", "", SAME),
            ("etc/link", "", link),
            ("etc/mode", "", SAME),
            ("etc/owner", "", SAME),
            ("etc/time", "", SAME),
            ("etc/type", "", SAME),
        ];
        let second: &[Input] = &[
            ("etc/same", "1", SAME),
            ("etc/content", "2", |header| header.set_mtime(1)),
            ("etc/link", "", other_link),
            ("etc/mode", "", |header| header.set_mode(0o755)),
            ("etc/new\nname", "", SAME),
            ("etc/owner", "", |header| header.set_gid(1111)),
            ("etc/time", "", |header| header.set_mtime(1)),
            ("etc/type", "", |header| header.set_entry_type(EntryType::Directory)),
        ];
        let mut reversed = first.to_vec();
        reversed.reverse();
        let [one, two, again, other] = ["1", "2", "3", "4"].map(|name| dir.path().join(name));
        let one = layout(&one, "x", &[base.clone(), layer(first), layer(first)]);
        let two = layout(&two, "y", &[base.clone(), layer(second), layer(&reversed)]);
        assert_eq!(
            listing(&find(&one, &two).unwrap()),
            "layer 2 (two)\n  \
               /etc/content: content, time\n  \
               /etc/gone: only in the first build\n  \
               /etc/link: target\n  \
               /etc/mode: mode\n  \
               /etc/new\\nname: only in the second build\n  \
               /etc/owner: owner\n  \
               /etc/time: time\n  \
               /etc/type: type\n\
             layer 3 (three)\n  \
               the same files, in another order or otherwise compressed\n\
             configuration\n  \
               /created: \"x\" and \"y\"\n"
        );
        let again = layout(&again, "x", &[base.clone(), layer(first), layer(first)]);
        assert_eq!(find(&one, &again).unwrap(), []);
        let other = layout(&other, "x", &[base, layer(first)]);
        assert_eq!(listing(&find(&one, &other).unwrap()), "layer 3 (three)\n  only in the first build\n");
    }

    #[test]
    fn long_lists_are_cut() {
        let lines = (1..=23).map(|number| format!("/{number}: time")).collect();
        let text = listing(&[Difference { place: "layer 1".to_owned(), lines }]);
        assert_eq!((text.lines().count(), text.lines().last()), (22, Some("  and 3 more")));
    }
}
