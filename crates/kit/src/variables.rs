//! Every documented variable: the table behind reading, checking, the reference page and `docker-compose.yaml`.

/// A variable that changes how a container starts.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name, such as `SSH_PORT`.
    pub name: &'static str,
    /// The kind of value.
    pub kind: Kind,
    /// Default value, or a description of it in parentheses.
    pub default: &'static str,
    /// One phrase for the reference page, in Markdown with links that start at the root of the repository.
    pub meaning: &'static str,
    /// A value that cannot be used, for tests.
    pub invalid: &'static str,
}

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A TCP port.
    Port,
    /// A length of time, such as `30m`.
    Time,
    /// A SHA-256 in hexadecimal digits.
    Digest,
    /// A host name or an address, without a port.
    Host,
    /// An http or https address.
    Url,
    /// A directory.
    Path,
    /// A number of devices.
    Count,
    /// A word of limited characters.
    Name,
    /// A line of text.
    Text,
    /// Several words.
    List,
    /// Public SSH keys, one a line.
    Keys,
    /// A password or token.
    Secret,
}

impl Kind {
    /// All of them, in the order of the reference page.
    pub const ALL: [Self; 13] = [
        Self::Switch,
        Self::Port,
        Self::Time,
        Self::Digest,
        Self::Host,
        Self::Url,
        Self::Path,
        Self::Count,
        Self::Name,
        Self::Text,
        Self::List,
        Self::Keys,
        Self::Secret,
    ];

    /// The word of the reference page.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Port => "port",
            Self::Time => "time",
            Self::Digest => "SHA-256",
            Self::Host => "host",
            Self::Url => "URL",
            Self::Path => "path",
            Self::Count => "number",
            Self::Name => "name",
            Self::Text => "text",
            Self::List => "list",
            Self::Keys => "keys",
            Self::Secret => "secret",
        }
    }

    /// Valid values, for the reference page.
    #[must_use]
    pub fn values(self) -> &'static str {
        match self {
            Self::Switch => "`true`, `yes`, `on`, `1`, or `false`, `no`, `off`, `0`, in any case",
            Self::Port => "a number from 1 to 65535",
            Self::Time => "a number with `s`, `m`, `h` or `d`, such as `90s` or `2h`",
            Self::Digest => "64 hexadecimal digits",
            Self::Host => "a host name, an IPv4 or an IPv6 address, without a port",
            Self::Url => "an address that begins with `http://` or `https://`",
            Self::Path => "an absolute directory that is not one of the system's",
            Self::Count => "a number from 0, or `all`",
            Self::Name => "a word; the variable's meaning lists its characters",
            Self::Text => "one line",
            Self::List => "words; the variable's page has their separator",
            Self::Keys => "public keys as in `authorized_keys`, one a line",
            Self::Secret => "one line without control characters",
        }
    }
}

macro_rules! variables {
    ($($name:ident: $kind:ident, $default:literal, $meaning:literal, $invalid:literal;)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`: ", $meaning)]
            pub const $name: Variable = Variable {
                name: stringify!($name),
                kind: Kind::$kind,
                default: $default,
                meaning: $meaning,
                invalid: $invalid,
            };
        )*
        /// All of them, in the order of the reference page.
        pub const ALL: &[Variable] = &[$($name),*];
    };
}

variables! {
    CF_QUICK_TUNNELS: Switch, "true",
        "a quick Cloudflare tunnel for the portal and each service with a login ([docs/tunnels.md](docs/tunnels.md))", "maybe";
    CF_TUNNEL_TOKEN: Secret, "", "token of a Cloudflare tunnel of your own", "a\nb";
    DIRECT_ADDRESS: Host, "(the host name in your browser)",
        "host for links; replaces a provider's own ([docs/addresses.md](docs/addresses.md))", "http://lab/";
    DIRECT_ADDRESS_GET_WAN: Switch, "false",
        "`true`: find the public address and use it for links ([docs/addresses.md](docs/addresses.md))", "maybe";
    GPU_COUNT: Count, "(no limit)", "how many GPUs programs see ([docs/gpu.md](docs/gpu.md))", "two";
    IMAGE_SLUG: Name, "base-image",
        "the image's name for directories in the workspace ([docs/workspace.md](docs/workspace.md))", "a/b";
    IMAGE_TITLE: Text, "Leonardo base image",
        "the image's name in the portal, at most 60 characters ([docs/portal.md](docs/portal.md))", "a\nb";
    OPT_SYNC: List, "", "further directories below `/opt` to keep on the workspace, as `NAME:NAME`", "../x";
    PROVISIONING_SCRIPT: Url, "",
        "URL of your script, which runs once at the start ([docs/provisioning.md](docs/provisioning.md))", "setup.sh";
    PROVISIONING_SCRIPT_SHA256: Digest, "", "SHA-256 of the script; a script with another digest is not run", "abc";
    PROVISIONING_TIMEOUT: Time, "(none)", "time limit of the script: `90s`, `30m`, `2h`", "soon";
    SSH_PORT: Port, "22", "port of sshd inside the container", "1111";
    SSH_PUBKEY: Keys, "", "public keys for SSH, one per line", "not a key";
    PUBLIC_KEY: Keys, "", "same as `SSH_PUBKEY`; set by RunPod", "not a key";
    SSH_PUBLIC_KEY: Keys, "", "same as `SSH_PUBKEY`; set by vast.ai", "not a key";
    USER_NAME: Name, "user", "name of the system user: lower-case letters, digits, `_`, `-`", "../x y";
    USER_PASSWORD: Secret, "password",
        "password of the system user, at most 511 bytes; SSH and web services do not accept it",
        "a\nb";
    WEB_ALLOWED_HOSTS: List, "",
        "host names under which services without a login can be opened, such as `gpu.example.org` ([docs/design/gate.md](docs/design/gate.md#services-without-a-login))",
        "http://gpu";
    WEB_ENABLE_AUTH: Switch, "true", "`false` turns the login off for all web services; an invalid value leaves it on", "flase";
    WEB_ENABLE_HTTPS: Switch, "false",
        "`true`: web ports speak https, with a mounted or a self-signed certificate ([docs/proxy.md](docs/proxy.md#https))", "ture";
    WEB_PASSWORD: Secret, "(generated; kept when the container restarts)", "password of the web services, at most 4,096 bytes", "a\nb";
    WEB_TOKEN: Secret, "(generated; kept when the container restarts)", "token for programs, at most 4,096 bytes", "a\nb";
    WEB_TRUSTED_PROXIES: List, "",
        "networks of proxies in front, such as `10.1.0.0/16`, whose `X-Forwarded-*` headers are trusted", "everyone";
    WEB_USER: Name, "user", "user of the web services, without `:`", "a:b";
    WORKSPACE: Path, "/workspace/", "where your volume is mounted", "/etc";
    WORKSPACE_SYNC: Switch, "false",
        "`true`: environments live on the mounted workspace ([docs/sync.md](docs/sync.md))", "maybe";
}

/// Returns each secret variable with the name of the variable that gives a file instead, such as `WEB_TOKEN_FILE`.
pub fn secret_files() -> impl Iterator<Item = (&'static Variable, String)> {
    let secrets = ALL.iter().filter(|variable| variable.kind == Kind::Secret);
    secrets.map(|variable| (variable, format!("{}_FILE", variable.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_their_families_and_unique() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|variable| variable.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(names.contains("WEB_TOKEN") && ALL.iter().all(|variable| !variable.invalid.is_empty()));
    }
}
