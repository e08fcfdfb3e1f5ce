//! The page.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::formats::{Content, FORMATS};
use super::rows::{Row, rows};
use super::sources::Sources;
use crate::notice::GENERATED;

/// The page, from the output directory.
pub const PAGE: &str = "reference/json.md";

const INTRODUCTION: &str = "\
# JSON formats

Fields are only ever added: ignore those that you do not know. Times are seconds since 1970 unless a field says otherwise.
Text is UTF-8; bytes of file names that are not are replaced. `list[].x` is a field of each element, and `*` a key that
varies. The HTTP API has a description of its own: `/leonardo/api/v1/openapi.json` ([api.md](../api.md)).
";

/// Renders the page.
pub fn page(sources: &Sources) -> Result<String> {
    let mut page = format!("<!-- {GENERATED} -->\n\n{INTRODUCTION}");
    for format in FORMATS {
        write!(page, "\n## {}\n\n{}.\n\n", format.title, format.about)?;
        let rows = match format.content {
            Content::Type { file, name } => rows(sources, Path::new(file), name)?,
            Content::Fields(fields) => fields
                .iter()
                .map(|(field, kind, meaning)| Row {
                    field: (*field).to_owned(),
                    kind: (*kind).to_owned(),
                    meaning: (*meaning).to_owned(),
                })
                .collect(),
        };
        page.push_str("| field | type | meaning |\n|---|---|---|\n");
        for Row { field, kind, meaning } in rows {
            writeln!(page, "| `{field}` | {kind} | {} |", meaning.replace('|', "\\|"))?;
        }
    }
    Ok(page)
}
