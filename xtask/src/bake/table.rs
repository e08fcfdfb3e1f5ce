//! The table of variants in `docs/variants.md`.

use super::catalogue::{Catalogue, Variant};

/// Variants that differ in their version alone, or in their version and release.
struct Row<'c> {
    family: &'c str,
    versions: Vec<String>,
    releases: Vec<&'c str>,
    flavours: Vec<String>,
    repository: &'c str,
}

/// Returns the table of the base image's variants, and below it the list of extended images.
#[must_use]
pub fn markdown(catalogue: &Catalogue) -> String {
    let mut lines = vec![
        "| family | versions | on | flavours | built on |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(rows(catalogue).into_iter().map(
        |Row { family, versions, releases, flavours, repository }| {
            let cells = [versions.join(", "), releases.join(", "), flavours.join(", ")];
            format!("| `{family}` | {} | `{repository}` |", cells.join(" | "))
        },
    ));
    let images = catalogue.extended_images();
    if !images.is_empty() {
        lines.extend(["", "| extended image | built on |", "|---|---|"].map(str::to_owned));
    }
    lines.extend(images.into_iter().map(|image| {
        let on = catalogue.variants().filter(|variant| variant.extended.as_deref() == Some(image));
        let on: Vec<_> = on.map(|variant| format!("`{}`", variant.tag)).collect();
        format!("| `{image}` | {} |", on.join(", "))
    }));
    lines.join("\n") + "\n"
}

fn rows(catalogue: &Catalogue) -> Vec<Row<'_>> {
    let mut rows: Vec<Row> = Vec::new();
    for variant in catalogue.variants().filter(|variant| variant.extended.is_none()) {
        let flavour = flavour(variant);
        let (version, release) = (version(variant), variant.parts.release.as_str());
        let (family, repository) = (variant.parts.family.as_str(), repository(&variant.base));
        match rows.iter_mut().find(|row| {
            (row.family, row.repository, &row.releases[..]) == (family, repository, &[release])
                && row.versions == version
        }) {
            Some(row) => row.flavours.extend(flavour),
            None => rows.push(Row {
                family,
                versions: version,
                releases: vec![release],
                flavours: flavour.into_iter().collect(),
                repository,
            }),
        }
    }
    let rows = merged(
        rows,
        |row| (row.family, row.repository, row.versions.clone(), row.flavours.clone()),
        |row, other| {
            row.releases.extend(other.releases);
        },
    );
    merged(
        rows,
        |row| (row.family, row.repository, row.releases.clone(), row.flavours.clone()),
        |row, other| {
            row.versions.extend(other.versions);
        },
    )
}

/// Joins rows with the same key, in the order of the first of each.
fn merged<'c, K: PartialEq>(
    rows: Vec<Row<'c>>,
    key: impl Fn(&Row<'c>) -> K,
    join: impl Fn(&mut Row<'c>, Row<'c>),
) -> Vec<Row<'c>> {
    let mut merged: Vec<Row> = Vec::new();
    for row in rows {
        match merged.iter_mut().find(|other| key(other) == key(&row)) {
            Some(other) => join(other, row),
            None => merged.push(row),
        }
    }
    merged
}

fn version(variant: &Variant) -> Vec<String> {
    variant.parts.version.iter().map(ToString::to_string).collect()
}

fn flavour(variant: &Variant) -> Option<String> {
    let flavour = variant.parts.flavour.as_ref()?;
    Some(match &variant.parts.cudnn {
        Some(cudnn) => format!("{cudnn}-{flavour}"),
        None => flavour.clone(),
    })
}

fn repository(base: &str) -> &str {
    base.rsplit_once(':').map_or(base, |(repository, _)| repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_releases_with_the_same_flavours_share_a_row() {
        let target = |tag: &str, base: &str| {
            format!(
                r#""{}": {{"args": {{"IMAGE_BASE": "{base}"}}, "tags": ["i/base-image:{tag}"]}}"#,
                tag.replace('.', "_")
            )
        };
        let cuda = |tag: &str| target(tag, "nvidia/cuda:1");
        let extended =
            r#""lab-cpu-22_04": {"contexts": {"base": "target:cpu-22_04"}, "tags": ["i/lab:cpu-22.04"]}"#;
        let targets = [
            target("cpu-22.04", "ubuntu:22.04"),
            target("cpu-24.04", "ubuntu:24.04"),
            target("cpu-debian-12", "debian:12-slim"),
            cuda("cuda-12.1.1-base-22.04"),
            cuda("cuda-12.1.1-cudnn8-devel-22.04"),
            cuda("cuda-12.2.2-base-22.04"),
            cuda("cuda-12.2.2-cudnn8-devel-22.04"),
            cuda("cuda-12.4.1-base-22.04"),
            cuda("cuda-12.4.1-base-24.04"),
            extended.to_owned(),
        ];
        let catalogue =
            Catalogue::from_print_json(&format!(r#"{{"target": {{{}}}}}"#, targets.join(", "))).unwrap();
        assert_eq!(
            markdown(&catalogue),
            "| family | versions | on | flavours | built on |\n|---|---|---|---|---|\n\
             | `cpu` |  | 22.04, 24.04 |  | `ubuntu` |\n\
             | `cpu` |  | debian-12 |  | `debian` |\n\
             | `cuda` | 12.1.1, 12.2.2 | 22.04 | base, cudnn8-devel | `nvidia/cuda` |\n\
             | `cuda` | 12.4.1 | 22.04, 24.04 | base | `nvidia/cuda` |\n\
             \n| extended image | built on |\n|---|---|\n| `lab` | `cpu-22.04` |\n"
        );
    }
}
