//! Bake's answer, reduced to what is used and the same for every version of buildx.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// Fields of a target that [`super::Catalogue`] reads, and those that explain it to a reader.
const FIELDS: &[&str] = &["context", "dockerfile", "contexts", "args", "tags"];

/// Returns `--print` with one line for each target.
pub fn sample(printed: &str) -> Result<String> {
    let printed: Value = serde_json::from_str(printed).context("bake did not print its targets as JSON")?;
    let targets = printed["target"].as_object().context("bake printed no targets")?;
    let mut lines = Vec::new();
    for (name, target) in targets {
        let fields = FIELDS.iter().filter_map(|&field| Some((field.to_owned(), target.get(field)?.clone())));
        lines.push(format!(
            "    {}: {}",
            Value::from(name.as_str()),
            Value::from(fields.collect::<Map<_, _>>())
        ));
    }
    let mut sample = String::new();
    write!(sample, "{{\n  \"target\": {{\n{}\n  }}\n}}\n", lines.join(",\n"))?;
    Ok(sample)
}
