//! Prepares the files of `assets/` for embedding: those of all pages become one script and one style, own ones are
//! minified, and each gets a compressed copy. Files of `vendor/` stay as they were published.

use std::path::Path;
use std::{env, fs, io};

use kit::hex;
use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions, CommentOptions};
use oxc_minifier::{Minifier, MinifierOptions};
use oxc_parser::Parser;
use oxc_span::SourceType;

/// Scripts of pages in `app.js`, after the one of all pages: the condition under which each runs.
const PAGE_SCRIPTS: &[(&str, &str)] = &[
    ("logs.js", "document.getElementById('pause')"),
    ("processes.js", "document.getElementById('result')"),
    ("system.js", "window.uPlot"),
];
/// Parts of `style.css`.
const STYLES: &[&str] = &["style.css", "access.css", "boot.css", "logs.css", "processes.css", "system.css"];
/// Scripts of pages that load no other one.
const SINGLE_SCRIPTS: &[&str] = &["login.js", "retry.js"];
/// Files that stay as they are.
const COPIES: &[&str] = &["icons.svg", "mark.svg", "openapi.json", "vendor/uPlot.iife.min.js"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=assets");
    let mut joined = Vec::new();
    let mut scripts = vec![module("app.js", &mut joined)?];
    for (name, condition) in PAGE_SCRIPTS {
        scripts.push(format!("if ({condition}) {{\n{}}}\n", module(name, &mut joined)?));
    }
    write("app.js", &minified_script("app.js", &scripts.concat())?)?;
    for name in SINGLE_SCRIPTS {
        write(name, &minified_script(name, &read(name)?)?)?;
    }
    let styles = STYLES.iter().map(|name| read(name)).collect::<io::Result<String>>()?;
    let style =
        minifier::css::minify(&styles).map_err(|error| io::Error::other(format!("style: {error}")))?;
    let digest = hex::sha256(read("icons.svg")?.as_bytes());
    let style = style.to_string().replace("url(icons.svg)", &format!("url(icons.svg?v={})", &digest[..12]));
    write("style.css", &style)?;
    COPIES.iter().try_for_each(|name| write(name, &read(name)?))
}

fn read(name: &str) -> io::Result<String> {
    fs::read_to_string(Path::new("assets").join(name))
        .map_err(|error| io::Error::other(format!("assets/{name}: {error}")))
}

/// Returns the statements of a module after those of the modules that it imports; nothing if it is in `joined` already.
fn module(name: &str, joined: &mut Vec<String>) -> io::Result<String> {
    let mut statements = String::new();
    if joined.iter().any(|known| known == name) {
        return Ok(statements);
    }
    joined.push(name.to_owned());
    for line in read(name)?.lines() {
        if line.starts_with("import ") {
            let imported = line.trim_end_matches("\";").rsplit('/').next().unwrap_or_default();
            statements.push_str(&module(imported, joined)?);
        } else {
            statements.push_str(line.strip_prefix("export ").unwrap_or(line));
            statements.push('\n');
        }
    }
    Ok(statements)
}

/// Writes a file of the output, and its compressed copy.
fn write(name: &str, content: &str) -> io::Result<()> {
    let path = Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("assets").join(name);
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    let compressed = fs::File::create(path.with_added_extension("gz"))?;
    zopfli::compress(zopfli::Options::default(), zopfli::Format::Gzip, content.as_bytes(), compressed)?;
    fs::write(path, content)
}

fn minified_script(name: &str, source: &str) -> io::Result<String> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, SourceType::mjs()).parse();
    if let Some(error) = parsed.diagnostics.into_iter().next() {
        return Err(io::Error::other(format!("{name}: {:?}", error.with_source_code(source.to_owned()))));
    }
    let mut program = parsed.program;
    let minified = Minifier::new(MinifierOptions::default()).minify(&allocator, &mut program);
    let options = CodegenOptions { minify: true, comments: CommentOptions::disabled(), ..Default::default() };
    Ok(Codegen::new().with_options(options).with_scoping(minified.scoping).build(&program).code)
}
