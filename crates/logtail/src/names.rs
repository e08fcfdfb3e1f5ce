//! What the names of log files say.

/// The service whose log this is: the name without `.log`; our own files and hidden ones are nobody's.
pub fn service(name: &str) -> Option<&str> {
    let service = name.strip_suffix(".log")?;
    // Following what we write ourselves would never end.
    (!service.is_empty() && !service.starts_with('.') && service != "logtail").then_some(service)
}

/// How many rotations ago a file was `base`: `x.log.3` is the third last `x.log`.
pub fn rotation(name: &str, base: &str) -> Option<u32> {
    let number = name.strip_prefix(base)?.strip_prefix('.')?;
    // No sign, and no second spelling of the same number.
    let plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    if plain { number.parse().ok() } else { None }
}

/// The name that `x.log.3` had first, `x.log`.
pub fn base(name: &str) -> Option<&str> {
    let (base, _) = name.rsplit_once('.')?;
    rotation(name, base).map(|_| base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_its_file() {
        assert_eq!(service("quicktunnel-8188.log"), Some("quicktunnel-8188"));
        for other in [".log", ".hidden.log", "logtail.log", "x.log.1", "x.txt", "x.log.gz"] {
            assert_eq!(service(other), None, "{other}");
        }
    }

    #[test]
    fn a_rotated_file_is_its_base_with_a_plain_number() {
        assert_eq!(rotation("x.log.12", "x.log"), Some(12));
        for other in ["x.log", "x.log.", "x.log.0", "x.log.01", "x.log.+1", "x.log.1.gz", "y.log.1"] {
            assert_eq!(rotation(other, "x.log"), None, "{other}");
        }
        assert_eq!((base("x.log.7"), base("x.log"), base("x")), (Some("x.log"), None, None));
    }
}
