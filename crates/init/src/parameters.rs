//! `init.sh NAME=VALUE …`: variables for clouds where only the command can be set.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use kit::UsageError;

/// Splits every parameter at its first `=`; a parameter without one is a usage error.
pub fn parse(words: &[OsString]) -> Result<Vec<(OsString, OsString)>, UsageError> {
    words.iter().map(|word| split(word)).collect()
}

fn split(word: &OsStr) -> Result<(OsString, OsString), UsageError> {
    let bytes = word.as_bytes();
    let equals = bytes.iter().position(|&byte| byte == b'=').unwrap_or(0);
    if equals == 0 {
        return Err(UsageError(format!("the parameter {:?} is not NAME=VALUE", word.to_string_lossy())));
    }
    let (name, value) = (&bytes[..equals], &bytes[equals + 1..]);
    Ok((OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Vec<(String, String)>, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        match parse(&words) {
            Ok(pairs) => Ok(pairs
                .into_iter()
                .map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap()))
                .collect()),
            Err(usage) => Err(usage.0),
        }
    }

    #[test]
    fn everything_behind_the_first_equals_sign_is_the_value() {
        assert_eq!(
            parsed(&["A=b=c==", "B=x y", "C=", "D='q'\n$(id)"]),
            Ok(vec![
                ("A".into(), "b=c==".into()),
                ("B".into(), "x y".into()),
                ("C".into(), String::new()),
                ("D".into(), "'q'\n$(id)".into()),
            ])
        );
    }

    #[test]
    fn a_word_without_a_name_or_equals_sign_is_refused() {
        assert_eq!(parsed(&["FOO"]), Err("the parameter \"FOO\" is not NAME=VALUE".into()));
        assert_eq!(parsed(&["A=1", "=x"]), Err("the parameter \"=x\" is not NAME=VALUE".into()));
        assert_eq!(parsed(&[""]), Err("the parameter \"\" is not NAME=VALUE".into()));
    }
}
