//! `{listen}` and `{instance}` in the program's arguments. No shell reads the result.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Placeholder for the port on which the program has to listen.
pub const LISTEN: &str = "{listen}";
const INSTANCE: &str = "{instance}";

/// Returns whether an argument contains the placeholder of the port.
pub fn is_used(arguments: &[OsString]) -> bool {
    let has = |argument: &OsString| {
        argument.as_bytes().windows(LISTEN.len()).any(|window| window == LISTEN.as_bytes())
    };
    arguments.iter().any(has)
}

/// Returns an argument with the values of one instance. Values are not searched for placeholders.
pub fn fill(argument: &OsStr, listen_port: u16, instance: usize) -> OsString {
    let values = [(LISTEN, listen_port.to_string()), (INSTANCE, instance.to_string())];
    let (mut filled, mut rest) = (Vec::new(), argument.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        let found =
            values.iter().find_map(|(name, value)| Some((rest.strip_prefix(name.as_bytes())?, value)));
        let after = if let Some((after, value)) = found {
            filled.extend(value.bytes());
            after
        } else {
            filled.push(*first);
            tail
        };
        rest = after;
    }
    OsString::from_vec(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_in_any_bytes_and_everything_else_stays() {
        for (argument, filled) in [
            (&b"{listen}"[..], &b"18188"[..]),
            (b"--port={listen},{listen}/{instance}", b"--port=18188,18188/3"),
            (b"{{listen}}", b"{18188}"),
            (b"\xff{listen}\n$(x)", b"\xff18188\n$(x)"),
            (b"{Listen} {listen", b"{Listen} {listen"),
            (b"", b""),
        ] {
            assert_eq!(fill(OsStr::from_bytes(argument), 18188, 3).as_bytes(), filled);
        }
        let used = |argument: &str| is_used(&["x".into(), argument.into()]);
        assert_eq!([used("-p{listen}"), used("{instance}"), used("listen")], [true, false, false]);
    }
}
