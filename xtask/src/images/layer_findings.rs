//! What only the layers of an image show: files that a later step removed or stored again, and secrets in the history.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::path::{Path, PathBuf};

use kit::units::format_bytes;

use super::layer_archive::{Change, ImageArchive, Instruction};
use super::lint::Row;

/// Smallest waste that is reported, in bytes.
const MIN_WASTE: u64 = 1_000_000;
/// Characters of an instruction that a row shows.
const MAX_INSTRUCTION: usize = 50;

/// A file that the layers so far show.
struct Visible {
    layer: usize,
    bytes: u64,
    digest: u64,
    secret: Option<&'static str>,
}

/// Bytes that one layer wastes, and the largest of their files.
#[derive(Default)]
struct Waste {
    bytes: u64,
    largest: (u64, PathBuf),
}

impl Waste {
    fn add(&mut self, bytes: u64, path: &Path) {
        self.bytes += bytes;
        if bytes > self.largest.0 {
            self.largest = (bytes, path.to_owned());
        }
    }
}

/// Returns the rows of an image.
pub fn find(image: &ImageArchive) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut visible: BTreeMap<PathBuf, Visible> = BTreeMap::new();
    let place = |layer: usize| place(&image.history, layer);
    for (number, layer) in image.layers.iter().enumerate() {
        let (mut removed, mut replaced, mut twice) = (Waste::default(), Waste::default(), Waste::default());
        let mut gone: Vec<(PathBuf, Visible)> = Vec::new();
        // White-outs are about the layers below, wherever they are in the archive.
        for entry in layer {
            match entry.change {
                Change::Remove => {
                    gone.extend(visible.remove_entry(&entry.path));
                    gone.extend(take_below(&mut visible, &entry.path));
                }
                Change::Empty => gone.extend(take_below(&mut visible, &entry.path)),
                Change::File { .. } | Change::Other => {}
            }
        }
        gone.iter().for_each(|(path, file)| removed.add(file.bytes, path));
        for entry in layer {
            match entry.change {
                Change::File { bytes, digest, secret } => {
                    let file = Visible { layer: number, bytes, digest, secret };
                    let Some(former) = visible.insert(entry.path.clone(), file) else { continue };
                    if (former.bytes, former.digest) == (bytes, digest) {
                        twice.add(bytes, &entry.path);
                    } else {
                        replaced.add(former.bytes, &entry.path);
                        gone.push((entry.path.clone(), former));
                    }
                }
                Change::Other => {
                    // A link or a directory in the place of a file.
                    gone.extend(visible.remove_entry(&entry.path));
                }
                Change::Remove | Change::Empty => {}
            }
        }
        for (path, file) in gone {
            if let Some(what) = file.secret {
                let problem = format!("holds {what}; layer {} only hides it", number + 1);
                let fix = "build without it: RUN --mount=type=secret; replace the secret";
                rows.push(Row::fail(place(file.layer), format!("{}: {problem}", path.display()), fix));
            }
        }
        let wastes = [
            (removed, "of files that stay in the layers below", "remove them in the step that creates them"),
            (
                replaced,
                "of files that replace those of the layers below",
                "change them in the step that creates them",
            ),
            (
                twice,
                "stored a second time, with another owner, mode or time",
                "chmod, chown and fix-perms in the step that creates them",
            ),
        ];
        for (Waste { bytes, largest }, problem, fix) in wastes {
            if bytes >= MIN_WASTE {
                let problem = format!("{} {problem}, such as {}", format_bytes(bytes), largest.1.display());
                rows.push(Row::warn(place(number), problem, fix));
            }
        }
    }
    rows.extend(secrets_of_configuration(image));
    rows
}

/// Names a layer by its number, from the lowest, and its instruction.
pub fn place(history: &[Instruction], layer: usize) -> String {
    let step = history.iter().filter(|line| !line.empty_layer).nth(layer);
    let step = step.map_or(String::new(), |step| format!(" ({})", abbreviate(&step.created_by)));
    format!("layer {}{step}", layer + 1)
}

fn take_below(visible: &mut BTreeMap<PathBuf, Visible>, directory: &Path) -> Vec<(PathBuf, Visible)> {
    let below = visible.range::<Path, _>((Excluded(directory), Unbounded));
    let paths: Vec<_> =
        below.map(|(path, _)| path.clone()).take_while(|path| path.starts_with(directory)).collect();
    paths.iter().filter_map(|path| visible.remove_entry(path)).collect()
}

fn secrets_of_configuration(image: &ImageArchive) -> Vec<Row> {
    let fix = "build without it: RUN --mount=type=secret; replace the secret";
    let history = image.history.iter().enumerate().filter_map(|(number, line)| {
        let what = leaked_secrets::find_in_line(&line.created_by)?;
        Some(Row::fail(format!("history {}", number + 1), format!("has a secret: {what}"), fix))
    });
    let labels =
        image.settings.labels.iter().flatten().filter(|(name, value)| leaked_secrets::is_secret(name, value));
    history
        .chain(labels.map(|(name, _)| Row::fail(format!("label {name}"), "is a secret".to_owned(), fix)))
        .collect()
}

/// Returns the start of an instruction, without the shell that runs it.
pub fn abbreviate(instruction: &str) -> String {
    // An assignment could be a secret.
    if leaked_secrets::find_in_line(instruction).is_some() {
        return instruction.split_whitespace().next().unwrap_or_default().to_owned() + " …";
    }
    let text = instruction.split_once("/bin/sh -c ").map_or(instruction, |(_, rest)| rest);
    let text = text.trim_start_matches("#(nop)").split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= MAX_INSTRUCTION {
        return text;
    }
    text.chars().take(MAX_INSTRUCTION).collect::<String>() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::layer_archive::{LayerEntry, Settings};

    #[test]
    fn only_what_the_layers_show_is_reported() {
        let file = |path: &str, megabytes: u64, digest, secret| LayerEntry {
            path: path.into(),
            change: Change::File { bytes: megabytes * 1_000_000, digest, secret },
        };
        let change = |path: &str, change| LayerEntry { path: path.into(), change };
        let step = |text: &str| Instruction { created_by: text.to_owned(), empty_layer: false };
        let image = ImageArchive {
            settings: Settings {
                labels: Some(
                    [("token", "abc"), ("title", "x")].map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
                ),
                ..Settings::default()
            },
            history: vec![
                step("RUN /bin/sh -c make # buildkit"),
                Instruction { created_by: "ENV HF_TOKEN=abc".to_owned(), empty_layer: true },
                step("RUN /bin/sh -c chmod -R g+w /opt/app"),
                step("RUN /bin/sh -c rm -rf /opt/cache /root/.netrc"),
            ],
            layers: vec![
                vec![
                    file("/opt/app/model", 20, 1, None),
                    file("/opt/app/small", 0, 2, None),
                    file("/opt/cache/a", 3, 3, None),
                    file("/opt/cache-of-mine", 9, 4, None),
                    file("/root/.netrc", 0, 5, Some("a password")),
                    file("/root/.env", 0, 6, Some("a secret")),
                ],
                vec![file("/opt/app/model", 20, 1, None), file("/root/.env", 0, 7, None)],
                vec![change("/opt/cache", Change::Remove), change("/root/.netrc", Change::Remove)],
            ],
        };
        let rows: Vec<_> = find(&image).iter().map(|row| format!("{}: {}", row.place, row.problem)).collect();
        assert_eq!(
            rows,
            [
                "layer 1 (make # buildkit): /root/.env: holds a secret; layer 2 only hides it",
                "layer 2 (chmod -R g+w /opt/app): 20.0 MB stored a second time, with another owner, mode or time, such as \
                 /opt/app/model",
                "layer 1 (make # buildkit): /root/.netrc: holds a password; layer 3 only hides it",
                "layer 3 (rm -rf /opt/cache /root/.netrc): 3.0 MB of files that stay in the layers below, such as \
                 /opt/cache/a",
                "history 2: has a secret: HF_TOKEN",
                "label token: is a secret",
            ]
        );
    }
}
