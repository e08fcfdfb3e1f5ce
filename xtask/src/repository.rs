//! Names of repositories and registries.

use anyhow::{Result, anyhow};
use kit::HintExt;

/// Fails unless the value of `LEONARDO_IMAGE` names a repository as Docker accepts it: `image`, `team/image`,
/// `host:5000/team/image`.
pub fn check(name: &str) -> Result<()> {
    if is_repository(name) {
        return Ok(());
    }
    Err(anyhow!("LEONARDO_IMAGE={name:?} is not the name of a repository")).hint(|| {
        "use lower case and no tag, such as leonardo/base-image or registry.example:5000/team/image"
            .to_owned()
    })
}

/// Last part of a repository's name, such as `base-image`.
#[must_use]
pub fn last_part(repository: &str) -> &str {
    repository.rsplit('/').next().unwrap_or(repository)
}

/// Returns the value of `--mirror` if it names a registry: a host that no one takes for a user of Docker Hub, with or without a
/// path.
pub fn mirror(text: &str) -> Result<String, String> {
    let is_mirror = match text.split_once('/') {
        None => is_registry(text) && is_host(text),
        Some((host, _)) => is_registry(host) && is_repository(text),
    };
    if is_mirror {
        Ok(text.to_owned())
    } else {
        Err("not a registry, such as mirror.example:5000".to_owned())
    }
}

fn is_repository(name: &str) -> bool {
    let path = match name.split_once('/') {
        Some((host, path)) if is_registry(host) => {
            if !is_host(host) {
                return false;
            }
            path
        }
        _ => name,
    };
    path.split('/').all(is_path_part)
}

/// True if the first part of a name is that of a registry, and not of a user of Docker Hub.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "0"));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
    !name.is_empty()
        && name.bytes().all(is_name)
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
}

/// Lower-case letters and digits; between them one dot, one or two underscores, or dashes.
fn is_path_part(part: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_separator =
        |between: &str| [".", "_", "__"].contains(&between) || between.bytes().all(|byte| byte == b'-');
    part.starts_with(is_word) && part.ends_with(is_word) && part.split(is_word).all(is_separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_docker() {
        for name in [
            "myimage",
            "team/image",
            "a/b/c",
            "localhost/x",
            "localhost:5000/x",
            "r.example/a__b/c.d-e---f",
            "127.0.0.1:1/x",
            "[::1]:5000/x",
        ] {
            check(name).unwrap();
        }
        for name in [
            "",
            " ",
            "Bad Name",
            "MyImage",
            "x:1",
            "localhost:5000",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "h:x/a",
            ":5000/a",
            "x@sha256",
            "https://r.example/a",
            "é",
        ] {
            assert!(check(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_mirror_is_a_registry() {
        for text in
            ["mirror.example", "mirror.example:5000", "localhost", "127.0.0.1:5000", "r.example/hub/proxy"]
        {
            assert_eq!(mirror(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "mirror",
            "http://127.0.0.1:1/",
            "http://127.0.0.1:1",
            "mirror.example/",
            "a b.example",
            "h.example:",
        ] {
            assert!(mirror(text).is_err(), "{text:?}");
        }
    }
}
