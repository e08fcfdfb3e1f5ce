//! Secrets in command lines, as an image's history has them.

use crate::assignment::is_expansion;
use crate::token::has_token;
use crate::url_password::has_url_password;
use crate::variable::{is_random, is_secret, names_secret};

/// Returns the secrets in an instruction: names of variables and options, or descriptions; never a value.
#[must_use]
pub fn find_in_line(line: &str) -> Option<String> {
    // ENV, ARG and the arguments of RUN have values that no shell expands.
    let mut is_literal = ["ENV ", "ARG ", "RUN |", "|"].iter().any(|start| line.starts_with(start));
    let words: Vec<_> = line.split_whitespace().collect();
    let mut found = Vec::new();
    for (number, word) in words.iter().enumerate() {
        is_literal &= number == 0 || !word.starts_with('/');
        let option = word.trim_start_matches(['"', '\'']);
        let word = option.trim_start_matches('-');
        if let Some((name, value)) = word.split_once('=') {
            let is_value = is_literal || !is_expression(value);
            if is_name(name) && is_value && is_secret(name, value) {
                found.push(name);
            }
        } else if option.starts_with("--")
            && is_name(word)
            && names_secret(word)
            && let Some(value) = words.get(number + 1)
            && !value.starts_with(['-', '&', '|', ';', '>', '<', '\\'])
            && !value.contains('=')
            && !is_expression(value)
            && is_secret(word, value)
        {
            found.push(word);
        }
    }
    let others = [
        (has_token(line.as_bytes()) || sends_token(&words), "a token"),
        (has_url_password(line.as_bytes()), "a password in a URL"),
        (sets_password(&words), "a password of an account"),
    ];
    if found.is_empty() {
        found.extend(others.iter().filter(|(is_found, _)| *is_found).map(|(_, what)| *what));
    }
    found.dedup();
    (!found.is_empty()).then(|| found.join(", "))
}

/// True for `Authorization: Bearer TOKEN`.
fn sends_token(words: &[&str]) -> bool {
    words
        .windows(2)
        .any(|pair| pair[0].eq_ignore_ascii_case("bearer") && !is_expression(pair[1]) && is_random(pair[1]))
}

/// True for `echo user:password | chpasswd`.
fn sets_password(words: &[&str]) -> bool {
    let Some(end) = words.iter().position(|word| word.trim_end_matches(';').ends_with("chpasswd")) else {
        return false;
    };
    let is_end = |word: &&str| *word == "&&" || word.ends_with(';');
    let start = words[..end].iter().rposition(is_end).map_or(0, |end| end + 1);
    let is_login = |word: &&str| {
        let word = word.trim_matches(['"', '\'']);
        word.split_once(':').is_some_and(|(user, password)| {
            let is_user = !user.is_empty()
                && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            is_user && !is_expression(password) && is_secret("PASSWORD", password)
        })
    };
    words[start..end].iter().any(is_login)
}

/// True for what a shell or a program replaces by something else, as in `--token=$token` or `token=read()`.
fn is_expression(value: &str) -> bool {
    is_expansion(value) || value.starts_with('=') || value.trim_matches(['"', '\'']).contains(['(', '[', '`'])
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_line_is_named_without_its_value() {
        let token = format!("RUN echo {}{}", "ghp_", "a".repeat(36));
        for (line, found) in [
            ("RUN |1 HF_TOKEN=abc /bin/sh -c make", Some("HF_TOKEN")),
            ("RUN |3 A=b DB_PASS=2024 WEB_TOKEN=x /bin/sh -c make # buildkit", Some("DB_PASS, WEB_TOKEN")),
            ("ENV WEB_PASSWORD=\"sesame\"", Some("WEB_PASSWORD")),
            ("ENV WEB_PASSWORD=$ecret99", Some("WEB_PASSWORD")),
            ("ARG WEB_PASSWORD=/sesame", Some("WEB_PASSWORD")),
            ("RUN login --token=abc", Some("token")),
            ("RUN login --hf-token abc", Some("hf-token")),
            ("RUN curl -H 'Authorization: Bearer 0123456789abcd' h", Some("a token")),
            ("RUN git clone https://ada:sesame@git.example/x", Some("a password in a URL")),
            ("RUN echo 'root:sesame' | chpasswd", Some("a password of an account")),
            (token.as_str(), Some("a token")),
            ("RUN login --token=$token --password \"$password\"", None),
            ("RUN curl -H \"Authorization: Bearer $long_token_0\" h", None),
            ("RUN login --password-stdin --token --x", None),
            ("RUN --mount=type=secret,id=token x --secret id=token", None),
            ("RUN git clone https://ada:$(cat /run/secrets/t)@h/x", None),
            ("RUN python -c 'login(token=os.environ[\"T\"]), x(a, token=read())'", None),
            ("RUN chown root:root /x; echo \"root:$PASSWORD\" | chpasswd", None),
            ("RUN pip install a==1 secret==1 --no-cache-dir", None),
            ("ENV PATH=/opt/x:$PATH", None),
            ("ARG WEB_PASSWORD", None),
        ] {
            assert_eq!(find_in_line(line).as_deref(), found, "{line}");
        }
    }
}
