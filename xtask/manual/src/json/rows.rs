//! Fields of a type as serde writes them.

use std::path::Path;

use anyhow::{Context, Result, bail};
use syn::{Attribute, Expr, Fields, GenericArgument, Item, ItemEnum, Lit, Meta, PathArguments, Type};

use super::sources::Sources;

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its path: `a.b`, `list[].b`, or `by_name.*.b` for an object with free keys.
    pub field: String,
    /// Its type in JSON.
    pub kind: String,
    /// What it means: the field's documentation.
    pub meaning: String,
}

/// Returns the fields of the struct `name` of `file`, with those of the types in it.
pub fn rows(sources: &Sources, file: &Path, name: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let found = sources.find(file, name)?.with_context(|| format!("{} has no {name}", file.display()))?;
    add_item(sources, &found.file, &found.item, "", &mut rows)?;
    Ok(rows)
}

fn add_item(sources: &Sources, file: &Path, item: &Item, prefix: &str, rows: &mut Vec<Row>) -> Result<()> {
    match item {
        Item::Struct(item) => add_fields(sources, file, &item.fields, prefix, rows),
        Item::Enum(item) => add_tagged(sources, file, item, prefix, rows),
        _ => bail!("{}: neither a struct nor an enum", file.display()),
    }
}

fn add_fields(
    sources: &Sources,
    file: &Path,
    fields: &Fields,
    prefix: &str,
    rows: &mut Vec<Row>,
) -> Result<()> {
    for field in fields {
        let serde = Serde::of(&field.attrs);
        let Some(name) = field.ident.as_ref().map(ToString::to_string).filter(|_| !serde.is_skipped) else {
            continue;
        };
        let shape = Shape::of(&field.ty);
        let inner = sources.find(file, &shape.name)?;
        if serde.is_flattened {
            let inner = inner.with_context(|| format!("{}: no type {}", file.display(), shape.name))?;
            add_item(sources, &inner.file, &inner.item, prefix, rows)?;
            continue;
        }
        let field_path = format!("{prefix}{}", serde.rename.unwrap_or(name));
        let mut meaning = documentation(&field.attrs);
        let mut nested = None;
        let kind = match &inner {
            Some(inner) => match &inner.item {
                Item::Enum(item) if item.variants.iter().all(|variant| variant.fields.is_empty()) => {
                    let values = format!("one of {}", values(item).join(", "));
                    meaning = if meaning.is_empty() { values } else { format!("{meaning}: {values}") };
                    "text"
                }
                Item::Struct(item) if matches!(item.fields, Fields::Named(_)) => {
                    nested = Some(inner);
                    "object"
                }
                _ => "text",
            },
            None => primitive(&shape.name),
        };
        if meaning.is_empty() {
            bail!("{}: the field {field_path} has no documentation", file.display());
        }
        rows.push(Row { field: field_path.clone(), kind: shape.kind(kind, serde.may_be_absent), meaning });
        if let Some(nested) = nested {
            let below = format!("{field_path}{}.", shape.suffix());
            add_item(sources, &nested.file, &nested.item, &below, rows)?;
        }
    }
    Ok(())
}

/// An enum whose variants have fields, beside the tag that names the variant.
fn add_tagged(
    sources: &Sources,
    file: &Path,
    item: &ItemEnum,
    prefix: &str,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let tag = Serde::of(&item.attrs)
        .tag
        .with_context(|| format!("{}: {} has no tag", file.display(), item.ident))?;
    let meaning = format!("one of {}", values(item).join(", "));
    rows.push(Row { field: format!("{prefix}{tag}"), kind: "text".to_owned(), meaning });
    let mut fields: Vec<(Row, Vec<String>)> = Vec::new();
    for (variant, value) in item.variants.iter().zip(values(item)) {
        let mut own = Vec::new();
        add_fields(sources, file, &variant.fields, prefix, &mut own)?;
        for row in own {
            match fields.iter_mut().find(|(known, _)| *known == row) {
                Some((_, values)) => values.push(value.clone()),
                None => fields.push((row, vec![value.clone()])),
            }
        }
    }
    rows.extend(fields.into_iter().map(|(row, values)| {
        let meaning = format!("{}; with {}", row.meaning, values.join(", "));
        Row { meaning, ..row }
    }));
    Ok(())
}

/// The container of a value, and the name of the innermost type.
struct Shape {
    name: String,
    is_optional: bool,
    is_list: bool,
    is_map: bool,
}

impl Shape {
    fn of(ty: &Type) -> Self {
        let mut shape = Self { name: String::new(), is_optional: false, is_list: false, is_map: false };
        shape.take(ty);
        shape
    }

    fn take(&mut self, ty: &Type) {
        match ty {
            Type::Reference(reference) => self.take(&reference.elem),
            Type::Slice(slice) => {
                self.is_list = true;
                self.take(&slice.elem);
            }
            Type::Array(array) => {
                self.is_list = true;
                self.take(&array.elem);
            }
            Type::Path(path) => {
                let Some(last) = path.path.segments.last() else { return };
                let name = last.ident.to_string();
                let inner = match &last.arguments {
                    PathArguments::AngleBracketed(arguments) => {
                        arguments.args.iter().rev().find_map(|argument| match argument {
                            GenericArgument::Type(inner) => Some(inner),
                            _ => None,
                        })
                    }
                    _ => None,
                };
                match (name.as_str(), inner) {
                    ("Option", Some(inner)) => {
                        self.is_optional = true;
                        self.take(inner);
                    }
                    ("Vec" | "BTreeSet", Some(inner)) => {
                        self.is_list = true;
                        self.take(inner);
                    }
                    ("BTreeMap" | "HashMap", Some(inner)) => {
                        self.is_map = true;
                        self.take(inner);
                    }
                    ("Box" | "Cow", Some(inner)) => self.take(inner),
                    _ => self.name = name,
                }
            }
            _ => {}
        }
    }

    fn kind(&self, kind: &str, may_be_absent: bool) -> String {
        let kind = match (self.is_list, self.is_map) {
            (true, _) if kind == "text" => "list of texts".to_owned(),
            (true, _) => format!("list of {kind}s"),
            (_, true) => format!("object with {kind} values"),
            _ => kind.to_owned(),
        };
        match (may_be_absent, self.is_optional) {
            (true, _) => format!("{kind}, may be absent"),
            (false, true) => format!("{kind} or null"),
            (false, false) => kind,
        }
    }

    fn suffix(&self) -> &'static str {
        match (self.is_list, self.is_map) {
            (true, _) => "[]",
            (_, true) => ".*",
            _ => "",
        }
    }
}

fn primitive(name: &str) -> &'static str {
    match name {
        "bool" => "boolean",
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" | "f64" => "number",
        _ => "text",
    }
}

/// What the attributes of serde change.
#[derive(Default)]
struct Serde {
    rename: Option<String>,
    rename_all: Option<String>,
    tag: Option<String>,
    is_flattened: bool,
    is_skipped: bool,
    may_be_absent: bool,
}

impl Serde {
    fn of(attributes: &[Attribute]) -> Self {
        let mut own = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            // An attribute that serde takes can be parsed; what has no use here is skipped.
            let _ = attribute.parse_nested_meta(|meta| {
                let is = |name| meta.path.is_ident(name);
                own.is_flattened |= is("flatten");
                own.is_skipped |= is("skip") || is("skip_serializing");
                own.may_be_absent |= is("skip_serializing_if");
                if let Ok(value) = meta.value() {
                    let text = value.parse::<Lit>()?;
                    let Lit::Str(text) = text else { return Ok(()) };
                    match meta.path.get_ident().map(ToString::to_string).as_deref() {
                        Some("rename") => own.rename = Some(text.value()),
                        Some("rename_all") => own.rename_all = Some(text.value()),
                        Some("tag") => own.tag = Some(text.value()),
                        _ => {}
                    }
                }
                Ok(())
            });
        }
        own
    }
}

/// Names of the variants as serde writes them, as code.
fn values(item: &ItemEnum) -> Vec<String> {
    let case = Serde::of(&item.attrs).rename_all.unwrap_or_default();
    let name = |variant: &syn::Variant| {
        let own = variant.ident.to_string();
        Serde::of(&variant.attrs).rename.unwrap_or_else(|| match case.as_str() {
            "snake_case" => words(&own).join("_"),
            "kebab-case" => words(&own).join("-"),
            "lowercase" => own.to_lowercase(),
            _ => own,
        })
    };
    item.variants.iter().map(|variant| format!("`{}`", name(variant))).collect()
}

fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        match words.last_mut().filter(|_| !letter.is_uppercase()) {
            Some(word) => word.push(letter),
            None => words.push(letter.to_lowercase().collect()),
        }
    }
    words
}

/// Returns the first paragraph of a documentation in the words of JSON, without its full stop and links.
fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let paragraph: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    paragraph
        .join(" ")
        .replace("[`", "`")
        .replace("`]", "`")
        .replace("`None`", "null")
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SOURCE: &str = r#"
/// A state.
#[derive(Serialize)]
pub struct State {
    /// Paths, in order.
    ///
    /// More.
    pub paths: Vec<PathBuf>,
    /// Its [`Colour`].
    #[serde(rename = "hue")]
    pub colour: Option<Colour>,
    /// Rooms by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rooms: BTreeMap<String, Room>,
    #[serde(skip)]
    secret: String,
    #[serde(flatten)]
    event: Event,
}
#[serde(rename_all = "snake_case")]
enum Colour { DeepRed, Blue }
struct Room {
    /// Doors.
    doors: u8,
}
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Opened,
    Closed {
        /// By a person.
        by_hand: bool,
    },
}
"#;

    #[test]
    fn the_fields_are_those_that_serde_writes() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("crates/a/src")).unwrap();
        fs::create_dir_all(root.path().join("xtask/src")).unwrap();
        fs::write(root.path().join("crates/a/src/lib.rs"), SOURCE).unwrap();
        let sources = Sources::read(root.path()).unwrap();
        let rows = rows(&sources, Path::new("crates/a/src/lib.rs"), "State").unwrap();
        let lines: Vec<_> =
            rows.iter().map(|row| format!("{} | {} | {}", row.field, row.kind, row.meaning)).collect();
        let expected = [
            "paths | list of texts | Paths, in order",
            "hue | text or null | Its `Colour`: one of `deep_red`, `blue`",
            "rooms | object with object values, may be absent | Rooms by name",
            "rooms.*.doors | number | Doors",
            "event | text | one of `opened`, `closed`",
            "by_hand | boolean | By a person; with `closed`",
        ];
        assert_eq!(lines, expected);
    }
}
