//! Code blocks of a page.

/// A fenced code block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block<'a> {
    /// Number of its first line, from 1.
    pub line: usize,
    /// Word after the fence, such as `sh`.
    pub language: &'a str,
    /// Rest of the line after the language.
    pub mark: &'a str,
    /// Its lines, each with a line end.
    pub text: String,
}

impl Block<'_> {
    /// Returns why no test runs the block; `Some("")` for a mark that is not understood.
    #[must_use]
    pub fn untested_because(&self) -> Option<&str> {
        match self.mark {
            "" => None,
            mark => Some(mark.strip_prefix("no-test: ").unwrap_or_default().trim()),
        }
    }
}

/// Returns the code blocks of a page.
#[must_use]
pub fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let indentation = line.len() - line.trim_start().len();
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let (language, mark) = info.split_once(' ').unwrap_or((info, ""));
        let inside =
            lines.by_ref().map(|(_, line)| line).take_while(|line| !line.trim_start().starts_with("```"));
        let text = inside.flat_map(|line| [line.get(indentation..).unwrap_or_default(), "\n"]).collect();
        blocks.push(Block { line: index + 2, language, mark, text });
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_its_place_its_language_and_the_reason_why_no_test_runs_it() {
        let found = blocks("# A\n\n```sh no-test: needs a GPU\na\nb\n```\n\n* c\n\n  ```sh\n  d\n  ```\n");
        let seen: Vec<_> = found
            .iter()
            .map(|block| (block.line, block.language, block.untested_because(), block.text.as_str()))
            .collect();
        assert_eq!(seen, [(4, "sh", Some("needs a GPU"), "a\nb\n"), (11, "sh", None, "d\n")]);
        assert_eq!(blocks("```sh quickly\n```\n")[0].untested_because(), Some(""));
    }
}
