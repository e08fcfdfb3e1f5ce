//! Certificates and proxies of this machine, for the steps of a build.
//!
//! None of them is stored in the image: a secret is mounted only for single steps, and BuildKit keeps its predefined proxy
//! arguments out of the result and its history.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kit::Env;

const PROXIES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// Certificates that the machine trusts, on Debian and Ubuntu.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The `--set` overrides for `docker buildx bake`.
///
/// An argument without a value is taken from the environment by bake itself: a proxy's address may hold a password. A builder
/// on another machine gets no proxies, because this machine's may not be reachable there.
pub fn overrides(env: &Env, is_file: impl Fn(&Path) -> bool, build_is_here: bool) -> Vec<OsString> {
    let mut overrides = Vec::new();
    if let Some(bundle) = bundle(env, is_file) {
        let mut secret = OsString::from("*.secrets=id=ca_bundle,src=");
        secret.push(bundle);
        overrides.push(secret);
    }
    if !build_is_here {
        return overrides;
    }
    let names = PROXIES.iter().flat_map(|name| [(*name).to_owned(), name.to_lowercase()]);
    overrides
        .extend(names.filter(|name| env.text(name).is_some()).map(|name| format!("*.args.{name}").into()));
    overrides
}

fn bundle(env: &Env, is_file: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let given = env.text("SSL_CERT_FILE").map(PathBuf::from);
    given.into_iter().chain([PathBuf::from(BUNDLE)]).find(|path| is_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().copied().collect()
    }

    #[test]
    fn the_machines_certificates_are_a_secret_and_proxies_go_by_name() {
        let env = env(&[
            ("SSL_CERT_FILE", "/x/ca.pem"),
            ("HTTPS_PROXY", "http://u:p@proxy.example"),
            ("no_proxy", "a"),
        ]);
        assert_eq!(
            overrides(&env, |_| true, true),
            ["*.secrets=id=ca_bundle,src=/x/ca.pem", "*.args.HTTPS_PROXY", "*.args.no_proxy"]
        );
        assert_eq!(overrides(&env, |_| true, false), ["*.secrets=id=ca_bundle,src=/x/ca.pem"]);
    }

    #[test]
    fn a_bundle_that_is_not_there_is_not_named() {
        let env = env(&[("SSL_CERT_FILE", "/gone.pem"), ("HTTP_PROXY", "")]);
        assert_eq!(
            overrides(&env, |path| path == Path::new(BUNDLE), true),
            [format!("*.secrets=id=ca_bundle,src={BUNDLE}").as_str()]
        );
        assert_eq!(overrides(&env, |_| false, true), Vec::<OsString>::new());
    }
}
