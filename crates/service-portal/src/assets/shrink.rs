//! Scripts and styles without what browsers do not need: comments and white space.
//!
//! Used by the build script. Names and statements stay as they are, and each line of a script stays a line: so nothing
//! needs to understand the language.

/// Returns a script without comments that have lines of their own, indentation and empty lines; an error if a text of
/// several lines could be changed by that.
pub fn script(source: &str) -> Result<String, String> {
    let mut shrunk = String::with_capacity(source.len());
    let mut is_comment = false;
    for (number, line) in source.lines().enumerate() {
        let line = line.trim();
        if is_comment || line.starts_with("/*") {
            is_comment = !line.ends_with("*/");
            if !is_comment || !line.contains("*/") {
                continue;
            }
            return Err(format!("line {}: code after a comment", number + 1));
        }
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        if line.matches('`').count() % 2 == 1 {
            return Err(format!("line {}: a template literal of several lines", number + 1));
        }
        shrunk.push_str(line);
        shrunk.push('\n');
    }
    Ok(shrunk)
}

/// Returns a style without comments and needless white space. Quoted texts stay as they are.
pub fn style(source: &str) -> String {
    let mut shrunk = String::with_capacity(source.len());
    let mut rest = source;
    let mut is_spaced = false;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("/*") {
            rest = rest.split_once("*/").map_or("", |(_, after)| after);
            is_spaced = true;
            continue;
        }
        if next.is_whitespace() {
            rest = rest.trim_start();
            is_spaced = true;
            continue;
        }
        let touches = |char: char| matches!(char, '{' | '}' | ';' | ',');
        // A space before a colon can be that between two selectors, one after it cannot.
        let is_needless =
            touches(next) || shrunk.ends_with(|last| touches(last) || last == ':') || shrunk.is_empty();
        if is_spaced && !is_needless {
            shrunk.push(' ');
        }
        is_spaced = false;
        if next == '}' && shrunk.ends_with(';') {
            shrunk.pop();
        }
        let end = match next {
            '"' | '\'' => rest[1..].find(next).map_or(rest.len(), |end| end + 2),
            _ => next.len_utf8(),
        };
        shrunk.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    shrunk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_keep_their_lines_without_comments_and_indentation() {
        for (source, expected) in [
            (
                "// a\nimport { a } from \"./b.js\";\n\n  a(); // kept\n",
                Ok("import { a } from \"./b.js\";\na(); // kept\n"),
            ),
            ("/** a\n * b */\na()\n/* c */\n  b()\n", Ok("a()\nb()\n")),
            (
                "const u = \"https://a//b\";\n  x = `a // ${b}`;\n",
                Ok("const u = \"https://a//b\";\nx = `a // ${b}`;\n"),
            ),
            ("a = `x\n  // y`;\n", Err("line 1: a template literal of several lines")),
            ("a();\n/* b */ c();\n", Err("line 2: code after a comment")),
        ] {
            assert_eq!(script(source).as_deref().map_err(String::as_str), expected, "{source}");
        }
    }

    #[test]
    fn styles_keep_their_meaning() {
        for (source, expected) in [
            (
                "/* a */\na,\nb > c :hover {\n  top: 1px;\n  left: calc(1px + 2px);\n}\n",
                "a,b > c :hover{top:1px;left:calc(1px + 2px)}",
            ),
            ("a::before { content: \"; : {  /* b */\"; }", "a::before{content:\"; : {  /* b */\"}"),
            (
                "@media (width < 40em) and (hover: none) { a { b: c !important } }",
                "@media (width < 40em) and (hover:none){a{b:c !important}}",
            ),
            ("a { grid-area: 1 / 2; }\n.b .c{d:e}/* f", "a{grid-area:1 / 2}.b .c{d:e}"),
        ] {
            assert_eq!(style(source), expected);
        }
    }
}
