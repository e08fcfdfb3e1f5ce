//! Tokens with a recognizable form.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// Form of what follows the beginning of a token.
#[derive(Clone, Copy)]
enum Rest {
    /// At least this number of letters and digits.
    Letters(usize),
    /// At least this number of letters, digits, `_` and `-`, some of them digits.
    Words(usize),
    /// At least this number of letters and digits, in upper and lower case, some of them digits.
    Mixed(usize),
    /// Exactly this number of capital letters and digits.
    Capitals(usize),
}

/// Beginnings of tokens, each with the form of the rest.
const TOKENS: &[(&str, Rest)] = &[
    ("hf_", Rest::Letters(30)),
    ("ghp_", Rest::Letters(30)),
    ("gho_", Rest::Letters(30)),
    ("ghu_", Rest::Letters(30)),
    ("ghs_", Rest::Letters(30)),
    ("ghr_", Rest::Letters(30)),
    ("github_pat_", Rest::Words(40)),
    ("glpat-", Rest::Words(20)),
    ("gldt-", Rest::Words(20)),
    ("npm_", Rest::Letters(36)),
    ("pypi-AgEI", Rest::Words(30)),
    ("dckr_pat_", Rest::Words(24)),
    ("sk-ant-", Rest::Words(30)),
    ("sk-proj-", Rest::Words(30)),
    ("sk-svcacct-", Rest::Words(30)),
    ("sk-or-v1-", Rest::Letters(40)),
    ("sk-", Rest::Mixed(40)),
    ("sk_live_", Rest::Letters(20)),
    ("rk_live_", Rest::Letters(20)),
    ("xoxb-", Rest::Words(20)),
    ("xoxp-", Rest::Words(20)),
    ("xapp-", Rest::Words(20)),
    ("nvapi-", Rest::Words(40)),
    ("gsk_", Rest::Letters(40)),
    ("r8_", Rest::Letters(36)),
    ("rpa_", Rest::Letters(36)),
    ("tskey-auth-", Rest::Words(20)),
    ("AKIA", Rest::Capitals(16)),
    ("AGE-SECRET-KEY-1", Rest::Letters(50)),
];

static BEGINNINGS: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::new(TOKENS.iter().map(|(beginning, _)| beginning)).ok());

/// True if a text contains a token. `hf_xxx…` and the examples of manuals are none.
pub fn has_token(text: &[u8]) -> bool {
    let Some(beginnings) = BEGINNINGS.as_ref() else { return false };
    beginnings.find_overlapping_iter(text).any(|found| {
        let is_word = text[..found.start()].last().is_none_or(|before| !is_word_byte(*before));
        is_word && follows(TOKENS[found.pattern().as_usize()].1, &text[found.end()..])
    })
}

fn follows(rest: Rest, text: &[u8]) -> bool {
    let run = |counts: fn(&u8) -> bool| &text[..text.iter().take_while(|byte| counts(byte)).count()];
    let letters = run(u8::is_ascii_alphanumeric);
    let words = run(|byte| is_word_byte(*byte));
    let has_digit = |run: &[u8]| run.iter().any(u8::is_ascii_digit);
    let (run, has_form) = match rest {
        Rest::Letters(length) => (letters, letters.len() >= length),
        Rest::Words(length) => (words, words.len() >= length && has_digit(words)),
        Rest::Mixed(length) => {
            let has_both =
                letters.iter().any(u8::is_ascii_uppercase) && letters.iter().any(u8::is_ascii_lowercase);
            (letters, letters.len() >= length && has_digit(letters) && has_both)
        }
        Rest::Capitals(length) => {
            let is_capital = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
            (words, words.len() == length && words.iter().all(is_capital))
        }
    };
    has_form && !run.iter().all(|byte| b"xX".contains(byte)) && !run.ends_with(b"EXAMPLE")
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_whole_word_with_its_form() {
        assert!(BEGINNINGS.is_some());
        let letters = "aB3dE5gH7j".repeat(5);
        for (text, expected) in [
            (format!("key: 'hf_{}'", &letters[..34]), true),
            (format!("https://ghp_{}@github.com", &letters[..36]), true),
            (format!("github_pat_{}_{letters}", &letters[..22]), true),
            (format!("glpat-{}-x", &letters[..18]), true),
            (format!("sk-ant-api03-{letters}"), true),
            (format!("sk-{letters}"), true),
            ("AKIA2BCDEFGHIJKLMNOP".to_owned(), true),
            ("AKIAIOSFODNN7EXAMPLE".to_owned(), false),
            ("AKIA2BCDEFGHIJKLMNOPQ".to_owned(), false),
            (format!("my_hf_{letters}"), false),
            ("hf_convert_tokenizer_of_a_large_model_to_fast".to_owned(), false),
            ("npm_config_some_setting_with_a_very_long_name".to_owned(), false),
            ("sk-toggleable-container-with-a-long-name-of-sklearn".to_owned(), false),
            (format!("hf_{}", "x".repeat(34)), false),
            ("hf_short".to_owned(), false),
        ] {
            assert_eq!(has_token(text.as_bytes()), expected, "{text}");
        }
    }
}
