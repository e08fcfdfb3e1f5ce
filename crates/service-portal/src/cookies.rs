//! Parsing of `Cookie` headers: finds our cookies, and removes them before a service sees them.

/// Prefix of names that browsers accept only over https and from the host itself (RFC 6265bis, 4.1.3).
pub const HOST: &str = "__Host-";

/// Returns the values of all cookies named `name`, with or without [`HOST`]: other servers on the address may have set
/// further ones.
pub fn values<'a>(headers: &[&'a [u8]], name: &str) -> Vec<&'a [u8]> {
    pairs(headers)
        .filter(|(found, _)| found.strip_prefix(HOST.as_bytes()).unwrap_or(found) == name.as_bytes())
        .map(|(_, value)| value)
        .collect()
}

/// Returns the cookies without those whose names start with `prefix`, as one header; `None` if none are left.
///
/// The prefix also removes the sessions of other containers on the address. All other pairs keep their bytes.
pub fn remove_prefixed(headers: &[&[u8]], prefix: &str) -> Option<Vec<u8>> {
    let kept: Vec<&[u8]> = headers
        .iter()
        .flat_map(|header| header.split(|&byte| byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !has_prefix(split(pair).0, prefix))
        .collect();
    if kept.is_empty() { None } else { Some(kept.join(&b"; "[..])) }
}

/// Returns name and length of each pair, the longest first; a cookie without a name has an empty one.
pub fn sorted_by_size<'a>(headers: &[&'a [u8]]) -> Vec<(&'a [u8], usize)> {
    let pairs = headers.iter().flat_map(|header| header.split(|&byte| byte == b';')).map(<[u8]>::trim_ascii);
    let name = |pair: &'a [u8]| if pair.contains(&b'=') { split(pair).0 } else { b"" };
    let mut found: Vec<_> =
        pairs.filter(|pair| !pair.is_empty()).map(|pair| (name(pair), pair.len())).collect();
    found.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
    found
}

/// True if a name starts with `prefix`, with or without a special prefix of browsers before it.
fn has_prefix(name: &[u8], prefix: &str) -> bool {
    let special = [HOST, "__Secure-"];
    let name = special.iter().find_map(|special| name.strip_prefix(special.as_bytes())).unwrap_or(name);
    name.starts_with(prefix.as_bytes())
}

fn pairs<'a>(headers: &[&'a [u8]]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    headers.iter().flat_map(|header| header.split(|&byte| byte == b';')).map(|pair| split(pair.trim_ascii()))
}

/// Splits a pair into name and value. A pair without `=` is a name here; servers disagree about it.
fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|&byte| byte == b'=') {
        Some(equals) => (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()),
        None => (pair, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_cookies_are_removed_and_others_keep_their_bytes() {
        type Case = (&'static [&'static [u8]], Option<&'static [u8]>);
        let cases: [Case; 8] = [
            (&[b"__Host-own=1; a=2; __Secure-own_2=3; __Host-b=4"], Some(b"a=2; __Host-b=4")),
            (&[b"own=1"], None),
            (&[b"own=1; a=2"], Some(b"a=2")),
            (&[b"a=2; own=1; b=\"x y=z\""], Some(b"a=2; b=\"x y=z\"")),
            (&[b"a=2;own=1", b"own = 3; c"], Some(b"a=2; c")),
            (&[b"disown=1; own_2=2; own; OWN=3"], Some(b"disown=1; OWN=3")),
            (&[b"; ;;"], None),
            (&[], None),
        ];
        for (headers, left) in cases {
            assert_eq!(remove_prefixed(headers, "own").as_deref(), left, "{headers:?}");
        }
    }

    #[test]
    fn all_values_of_a_name_are_found() {
        assert_eq!(values(&[b"own=1; a=2; own=3"], "own"), [b"1", b"3"]);
        assert_eq!(values(&[b"__Host-own=1; own=2"], "own"), [b"1", b"2"]);
        assert_eq!(values(&[b"OWN=1; xown=2; __Secure-own=3"], "own"), [b""; 0]);
    }

    #[test]
    fn cookies_are_sorted_by_size_and_some_have_no_name() {
        let found = sorted_by_size(&[b"a=12; own=123456; bcd=1234", b"; c; =d"]);
        assert_eq!(found, [(&b"own"[..], 10), (b"bcd", 8), (b"a", 4), (b"", 2), (b"", 1)]);
    }

    /// Pair between two adjacent semicolons.
    const EMPTY: (&[u8], &[u8]) = (b"", b"");

    proptest! {
        #[test]
        fn our_cookies_never_pass_and_all_others_do(
            pairs in proptest::collection::vec(("[a-z_]{1,12}", "[ -:<-~]{0,12}"), 0..8)
        ) {
            let header = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
            let passed = remove_prefixed(&[header.as_bytes()], "own").unwrap_or_default();
            prop_assert!(super::pairs(&[&passed]).all(|(name, _)| !name.starts_with(b"own")));
            let both = [header.as_bytes()];
            let after = [passed.as_slice()];
            let theirs = super::pairs(&both).filter(|pair| !pair.0.starts_with(b"own") && *pair != EMPTY);
            prop_assert!(theirs.eq(super::pairs(&after).filter(|pair| *pair != EMPTY)));
        }

        #[test]
        fn any_bytes_can_be_parsed(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (values(&[&bytes], "own"), remove_prefixed(&[&bytes], "own"));
        }
    }
}
