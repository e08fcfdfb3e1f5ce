//! Files that hold secrets, by their path and then by their content.

use std::path::Path;

use crate::variable::{has_token, is_secret};

/// Number of bytes that [`Suspect::holds_secret`] needs of a file.
pub const MAX_BYTES: u64 = 256 << 10;

/// A file that may hold a secret.
#[derive(Debug, Clone, Copy)]
pub struct Suspect {
    /// What it would be, as in "holds …".
    pub what: &'static str,
    content: fn(&[u8]) -> bool,
}

impl Suspect {
    /// Returns whether the first [`MAX_BYTES`] of the file have the secret.
    #[must_use]
    pub fn holds_secret(&self, content: &[u8]) -> bool {
        (self.content)(content)
    }
}

/// End of a path, what the file may hold, and the test of its content.
type PathRule = (&'static str, &'static str, fn(&[u8]) -> bool);

/// Files, by the end of their path.
const BY_PATH: &[PathRule] = &[
    ("/etc/machine-id", "the id of one machine", is_machine_id),
    ("/var/lib/dbus/machine-id", "the id of one machine", is_machine_id),
    ("/opt/leonardo/etc/environment.sh", "a secret of the environment store", has_secret_assignment),
    ("/opt/leonardo/etc/web_credentials.json", "the login of the web services", has_text),
    ("/.ssh/authorized_keys", "keys that may log in", has_text),
    ("/.ssh/authorized_keys_mount", "keys that may log in", has_text),
    ("/.git-credentials", "a password of git", has_text),
    ("/.config/git/credentials", "a password of git", has_text),
    ("/.netrc", "a password", |text| has(text, &["password"])),
    ("/.npmrc", "a token of npm", |text| has(text, &["_authtoken", "_password"])),
    ("/.pypirc", "a password of PyPI", |text| has(text, &["password"])),
    ("/pip.conf", "a password of a package index", has_url_credentials),
    ("/.docker/config.json", "a login of a registry", |text| has(text, &["\"auth\"", "identitytoken"])),
    ("/.aws/credentials", "a key of AWS", |text| has(text, &["aws_secret_access_key"])),
    ("/.config/gh/hosts.yml", "a token of GitHub", |text| has(text, &["oauth_token"])),
    ("/.config/gcloud/application_default_credentials.json", "a key of Google Cloud", has_text),
    ("/.kube/config", "a login of Kubernetes", |text| has(text, &["token:", "client-key-data", "password:"])),
    ("/.kaggle/kaggle.json", "a key of Kaggle", has_text),
    ("/huggingface/token", "a token of Hugging Face", has_text),
    ("/huggingface/stored_tokens", "a token of Hugging Face", has_text),
    ("/.huggingface/token", "a token of Hugging Face", has_text),
    ("/rclone/rclone.conf", "logins of rclone", has_text),
    ("/.cloudflared/cert.pem", "a key of Cloudflare", has_text),
    ("/.vault-token", "a token of Vault", has_text),
    ("/.pgpass", "a password of PostgreSQL", has_text),
    ("/.my.cnf", "a password of MySQL", |text| has(text, &["password"])),
    ("/.bash_history", "the history of a shell", has_text),
    ("/.zsh_history", "the history of a shell", has_text),
    ("/.python_history", "the history of Python", has_text),
    ("/.env", "a secret", has_secret_assignment),
];

/// Directories whose keys are examples of packages.
const PACKAGES: [&str; 8] = [
    "/usr/share/",
    "/usr/lib/",
    "/etc/ssl/certs/",
    "/site-packages/",
    "/dist-packages/",
    "/node_modules/",
    "/micromamba/pkgs/",
    "/micromamba/ssl/",
];

/// Returns what a file with this absolute path may hold.
#[must_use]
pub fn suspect(path: &Path) -> Option<Suspect> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let path = path.to_str()?;
    if let Some((_, what, content)) = BY_PATH.iter().find(|(end, ..)| path.ends_with(end)) {
        return Some(Suspect { what, content: *content });
    }
    let is_public = extension == "pub";
    if path.starts_with("/etc/ssh/ssh_host_") && !is_public {
        return Some(Suspect { what: "the host key of one machine", content: has_text });
    }
    let is_key = (path.contains("/.ssh/") && !is_public) || ["pem", "key"].contains(&extension);
    let is_example = PACKAGES.iter().any(|package| path.contains(package));
    (is_key && !is_example).then_some(Suspect { what: "a private key", content: is_private_key })
}

fn has_text(content: &[u8]) -> bool {
    content.iter().any(|byte| !byte.is_ascii_whitespace())
}

fn has(content: &[u8], words: &[&str]) -> bool {
    let text = String::from_utf8_lossy(content).to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

fn is_machine_id(content: &[u8]) -> bool {
    has_text(content) && content.trim_ascii() != b"uninitialized"
}

fn is_private_key(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY-----"))
}

fn has_url_credentials(content: &[u8]) -> bool {
    !env_store::find_url_credentials(content).is_empty()
}

/// True if a line assigns a secret, as in a file for shells.
fn has_secret_assignment(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    has_token(&text)
        || text.lines().any(|line| {
            let line = line.trim_start();
            let assignment = line.strip_prefix("export ").unwrap_or(line).split_once('=');
            !line.starts_with('#') && assignment.is_some_and(|(name, value)| is_secret(name.trim(), value))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, content: &str) -> Option<&'static str> {
        let suspect = suspect(Path::new(path))?;
        suspect.holds_secret(content.as_bytes()).then_some(suspect.what)
    }

    #[test]
    fn a_file_is_a_secret_by_its_path_and_its_content() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n";
        for (path, content, what) in [
            ("/etc/ssh/ssh_host_ed25519_key", key, Some("the host key of one machine")),
            ("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 x", None),
            ("/etc/machine-id", "0123\n", Some("the id of one machine")),
            ("/etc/machine-id", "", None),
            ("/etc/machine-id", "uninitialized\n", None),
            (
                "/opt/leonardo/etc/environment.sh",
                "export HF_TOKEN='x'\n",
                Some("a secret of the environment store"),
            ),
            ("/opt/leonardo/etc/environment.sh", "export OMP_NUM_THREADS='4'\n", None),
            ("/root/.ssh/authorized_keys", "ssh-ed25519 x\n", Some("keys that may log in")),
            ("/root/.ssh/authorized_keys", "\n", None),
            ("/home/ada/.ssh/id_ed25519", key, Some("a private key")),
            ("/home/ada/.ssh/id_ed25519.pub", key, None),
            ("/opt/app/tls/key.pem", key, Some("a private key")),
            ("/opt/app/tls/cert.pem", "-----BEGIN CERTIFICATE-----\n", None),
            ("/opt/micromamba/lib/python3.12/site-packages/x/test.pem", key, None),
            ("/root/.netrc", "machine h login a PASSWORD b", Some("a password")),
            ("/root/.npmrc", "//registry/:_authToken=x", Some("a token of npm")),
            ("/root/.npmrc", "registry=https://h/", None),
            (
                "/root/.config/pip/pip.conf",
                "index-url = https://a:b@h/simple",
                Some("a password of a package index"),
            ),
            ("/etc/pip.conf", "index-url = https://h/simple", None),
            ("/root/.cache/huggingface/token", "hf_x", Some("a token of Hugging Face")),
            ("/root/.bash_history", "ls\n", Some("the history of a shell")),
            ("/opt/app/.env", "# API_KEY=x\nPORT=1\n", None),
            ("/opt/app/.env", "API_KEY = \"x\"\n", Some("a secret")),
            ("/opt/app/main.py", "TOKEN = 'x'", None),
        ] {
            assert_eq!(found(path, content), what, "{path} {content:?}");
        }
    }
}
