//! Patterns with `*` and `?`, expanded here because bake knows them only since 0.26.

/// True if `text` is a pattern and not a name.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// True if all of `text` matches: `*` stands for any characters, `?` for one.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // One pass per pattern character over the ends that the text can have been read to: no blow-up with many stars.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for wanted in pattern {
        let mut next = vec![false; text.len() + 1];
        for end in 0..=text.len() {
            next[end] = match wanted {
                '*' => reached[end] || (end > 0 && next[end - 1]),
                '?' => end > 0 && reached[end - 1],
                literal => end > 0 && reached[end - 1] && text[end - 1] == literal,
            };
        }
        reached = next;
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_the_whole_text_or_not_at_all() {
        for (pattern, text, fits) in [
            ("cuda-12.1*", "cuda-12.1.1-base-22.04", true),
            ("cuda-12.1*", "cuda-12.4.1-base-22.04", false),
            ("*-devel-*", "rocm-6.2.4-devel-22.04", true),
            ("*base", "cuda-12.1.1-base-22.04", false),
            ("cpu-2?.04", "cpu-22.04", true),
            ("cpu-2?04", "cpu-22.04", false),
            ("a.c", "abc", false),
            ("*", "", true),
            ("?", "", false),
            ("**a**b", "xaxb", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
    }
}
