//! One line of an `authorized_keys` file as sshd reads it (sshd(8), `AUTHORIZED_KEYS FILE FORMAT`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The key types that OpenSSH accepts today (sshd(8), `PubkeyAcceptedAlgorithms`).
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
const BLANKS: [char; 2] = [' ', '\t'];
/// Beginning of every key in base64: a length below 2^16 in four bytes.
const BASE64_START: &str = "AAAA";

/// Returns the comment behind a usable key, or why sshd ignores the line.
pub fn parse_comment(line: &str) -> Result<&str, &'static str> {
    if let Some(comment) = comment_of(line) {
        return Ok(comment);
    }
    let (options, rest) = line.split_once(unquoted(&BLANKS)).unwrap_or_default();
    if let Some(comment) = comment_of(rest.trim_start_matches(BLANKS)).filter(|_| are_options(options)) {
        return Ok(comment);
    }
    Err(match find_key(line).map(|at| comment_of(&line[at..])) {
        None => "is not a public SSH key",
        Some(None) => "has a key that is cut off or damaged",
        Some(Some(_)) => "has an invalid option before the key",
    })
}

/// Returns where the first key of a text begins, whole or not.
pub fn find_key(text: &str) -> Option<usize> {
    text.char_indices().map(|(at, _)| at).find(|&at| begins_with_key(&text[at..]))
}

/// True if a text begins with a type and the beginning of a key.
pub fn begins_with_key(text: &str) -> bool {
    TYPES
        .iter()
        .filter_map(|kind| text.strip_prefix(kind))
        .any(|rest| rest.starts_with(BLANKS) && rest.trim_start_matches(BLANKS).starts_with(BASE64_START))
}

/// True if a word behind a key may be the options of another key rather than a comment.
pub fn may_be_options(word: &str) -> bool {
    // Base64 may end in = itself.
    let word = if word.starts_with(BASE64_START) { word.trim_end_matches(['=', ',', '|']) } else { word };
    word.contains(['"', '=']) || word.split(',').any(is_flag)
}

/// Returns the text after a type and a complete key.
fn comment_of(text: &str) -> Option<&str> {
    let (kind, rest) = text.split_once(BLANKS)?;
    let rest = rest.trim_start_matches(BLANKS);
    let (base64, comment) = rest.split_once(BLANKS).unwrap_or((rest, ""));
    is_whole(kind, base64).then_some(comment)
}

/// True if base64 is exactly one key of that type (RFC 4253, 6.6; RFC 5656, 3.1; RFC 8709, 4; PROTOCOL.u2f of OpenSSH).
fn is_whole(kind: &str, base64: &str) -> bool {
    let Ok(blob) = STANDARD.decode(base64) else { return false };
    let fields = fields(&blob).unwrap_or_default();
    let Some((name, fields)) = fields.split_first() else { return false };
    let sizes: Vec<usize> = fields.iter().map(|field| field.len()).collect();
    let is_curve = |name: &str| fields[0] == name.as_bytes();
    *name == kind.as_bytes()
        && match (kind, sizes.as_slice()) {
            ("ssh-ed25519", [32]) | ("sk-ssh-ed25519@openssh.com", [32, _]) => true,
            // sshd accepts 1,024 bits and more.
            ("ssh-rsa", &[exponent, modulus]) => exponent > 0 && modulus > 128,
            ("ecdsa-sha2-nistp256", [_, 65]) | ("sk-ecdsa-sha2-nistp256@openssh.com", [_, 65, _]) => {
                is_curve("nistp256")
            }
            ("ecdsa-sha2-nistp384", [_, 97]) => is_curve("nistp384"),
            ("ecdsa-sha2-nistp521", [_, 133]) => is_curve("nistp521"),
            _ => false,
        }
}

/// Returns the fields of a key, each behind its length in four bytes, if they fill it exactly.
fn fields(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk()?;
        let (field, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        fields.push(field);
        blob = rest;
    }
    Some(fields)
}

/// Returns a pattern for one of these characters outside quotes, in which a quote is written `\"`.
fn unquoted(wanted: &[char]) -> impl FnMut(char) -> bool {
    let (mut quoted, mut previous) = (false, ' ');
    move |character| {
        quoted ^= character == '"' && previous != '\\';
        previous = character;
        !quoted && wanted.contains(&character)
    }
}

/// True if sshd accepts all options; it ignores a line with any other.
fn are_options(text: &str) -> bool {
    let options: Vec<(String, Option<&str>)> = text
        .split(unquoted(&[',']))
        .map(|option| option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value))))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let count = |wanted: &str| options.iter().filter(|(name, _)| name == wanted).count();
    let valid = |(name, value): &(String, Option<&str>)| match value {
        None => name.is_empty() || is_flag(name),
        Some(value) => quoted(value).is_some_and(|value| is_value(name, value)),
    };
    options.iter().all(valid)
        && count("command") <= 1
        && count("from") <= 1
        && (count("principals") == 0 || count("cert-authority") > 0)
}

fn is_flag(option: &str) -> bool {
    const FLAGS: [&str; 7] = [
        "agent-forwarding",
        "port-forwarding",
        "pty",
        "touch-required",
        "user-rc",
        "verify-required",
        "x11-forwarding",
    ];
    let option = option.to_ascii_lowercase();
    ["restrict", "cert-authority"].contains(&option.as_str())
        || FLAGS.contains(&option.strip_prefix("no-").unwrap_or(&option))
}

/// Returns the inside of one pair of quotes.
fn quoted(value: &str) -> Option<&str> {
    let inside = value.strip_prefix('"')?.strip_suffix('"')?;
    (!inside.replace("\\\"", "").contains('"')).then_some(inside)
}

fn is_value(option: &str, value: &str) -> bool {
    match option {
        "command" | "principals" => true,
        "from" => !value.is_empty(),
        "environment" => value.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }),
        // YYYYMMDD, with hours and minutes, with seconds; in UTC with a suffix, from OpenSSH 9.1 on.
        "expiry-time" => {
            let value = value.to_ascii_lowercase();
            let time = value.strip_suffix('z').or_else(|| value.strip_suffix("utc")).unwrap_or(&value);
            [8, 12, 14].contains(&time.len()) && time.bytes().all(|byte| byte.is_ascii_digit())
        }
        "permitopen" => host_and_port(value).is_some_and(|(_, port)| is_port(port)),
        "permitlisten" => is_port(host_and_port(value).map_or(value, |(_, port)| port)),
        "tunnel" => value.eq_ignore_ascii_case("any") || value.parse::<u32>().is_ok(),
        _ => false,
    }
}

fn host_and_port(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('[') {
        Some(address) => address.split_once("]:").or_else(|| address.split_once("]/")),
        None => text.split_once([':', '/']),
    }
}

/// True for a number, and for what may be the name of a service: sshd looks it up.
fn is_port(text: &str) -> bool {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    text == "*" || text.parse::<u16>().map_or(is_name, |port| port != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::authorized_keys::tests::{ADA, BOB};

    const FRONT: Result<&str, &str> = Err("has an invalid option before the key");
    const DAMAGED: Result<&str, &str> = Err("has a key that is cut off or damaged");

    #[test]
    fn keys_of_ssh_keygen_are_whole_and_no_part_of_them_is() {
        let dir = tempfile::tempdir().unwrap();
        for (kind, bits) in [
            ("ed25519", "256"),
            ("ecdsa", "256"),
            ("ecdsa", "384"),
            ("ecdsa", "521"),
            ("rsa", "1024"),
            ("rsa", "3072"),
        ] {
            let path = dir.path().join(format!("{kind}{bits}"));
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-N", "", "-C", "a b", "-t", kind, "-b", bits, "-f"]).arg(&path);
            assert!(keygen.status().unwrap().success(), "{kind}");
            let line = fs::read_to_string(path.with_extension("pub")).unwrap();
            let line = line.trim_end();
            assert_eq!(parse_comment(line), Ok("a b"));
            let end = line.len() - " a b".len();
            assert_eq!(parse_comment(&line[..end]), Ok(""));
            let start = line.find(BASE64_START).unwrap() + BASE64_START.len();
            for cut in start..end {
                assert_eq!(parse_comment(&line[..cut]), DAMAGED, "{line} {cut}");
            }
            assert_eq!(parse_comment(&format!("{}AAAA", &line[..end])), DAMAGED);
        }
    }

    #[test]
    fn keys_of_hardware_are_keys() {
        for (kind, fields) in [
            ("sk-ssh-ed25519@openssh.com", &[&[1; 32][..], b"ssh:"][..]),
            ("sk-ecdsa-sha2-nistp256@openssh.com", &[b"nistp256", &[4; 65], b"ssh:"]),
        ] {
            let blob: Vec<u8> = [&[kind.as_bytes()], fields]
                .concat()
                .into_iter()
                .flat_map(|field| [&u32::try_from(field.len()).unwrap().to_be_bytes(), field].concat())
                .collect();
            assert_eq!(parse_comment(&format!("{kind} {} me", STANDARD.encode(&blob))), Ok("me"));
            assert_eq!(
                parse_comment(&format!("{kind} {}", STANDARD.encode(&blob[..blob.len() - 8]))),
                DAMAGED
            );
        }
    }

    #[test]
    fn only_a_key_at_the_beginning_or_behind_options_of_sshd_counts() {
        // The same lines are shown to sshd in tests/e2e/tests/e2e/ssh.rs.
        for line in include_str!("../tests/lines.txt").lines().filter(|line| !line.starts_with('#')) {
            let (verdict, line) = line.split_once(' ').unwrap();
            let line = line.replace("KEY", BOB);
            assert_eq!(parse_comment(&line).is_ok(), verdict == "yes", "{line}");
        }
        for front in ["-", "laptop:", "ssh-ed25519", "form=\"*\"", "command=\"a b", "\u{a0}"] {
            assert_eq!(parse_comment(&format!("{front} {ADA}")), FRONT, "{front}");
        }
    }
}
