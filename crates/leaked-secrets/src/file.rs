//! Files that hold secrets: candidates by their path and size, and then their content.

use std::path::Path;

use crate::assignment::has_secret_setting;
use crate::private_key::has_private_key;
use crate::token::has_token;
use crate::variable::names_secret;

/// Number of bytes that [`Suspect::find`] needs of a file.
pub const MAX_BYTES: u64 = 256 << 10;

/// Bytes in which a binary file has a zero.
const BINARY_BYTES: usize = 1_024;

/// A file that may hold a secret.
#[derive(Debug, Clone)]
pub struct Suspect {
    named: Option<&'static PathRule>,
    /// Settings, of which a line can assign a secret.
    is_settings: bool,
    /// A file with the name of a secret, which can be its only word.
    is_secret_named: bool,
    /// A file whose whole text is searched for keys and tokens.
    is_text: bool,
}

impl Suspect {
    /// Returns what the first [`MAX_BYTES`] of the file have, as in "holds …"; never the value.
    #[must_use]
    pub fn find(&self, content: &[u8]) -> Option<&'static str> {
        let named = self.named.filter(|(.., has_secret)| has_secret(content)).map(|(_, what, _)| *what);
        if named.is_some() || content.iter().take(BINARY_BYTES).any(|byte| *byte == 0) {
            return named;
        }
        match () {
            () if self.is_text && has_private_key(content) => Some("a private key"),
            () if self.is_text && has_token(content) => Some("a token"),
            () if self.is_settings && has_secret_setting(content) => Some("a password or a token"),
            () if self.is_secret_named && is_one_word(content) => Some("a secret"),
            () => None,
        }
    }
}

/// End of a path, what the file may hold, and the test of its content.
type PathRule = (&'static str, &'static str, fn(&[u8]) -> bool);

/// Files whose content has no form of its own, by the end of their path.
const BY_PATH: &[PathRule] = &[
    ("/etc/machine-id", "the id of one machine", is_machine_id),
    ("/var/lib/dbus/machine-id", "the id of one machine", is_machine_id),
    ("/etc/shadow", "the password of an account", has_password_hash),
    ("/opt/leonardo/etc/environment.sh", "a secret of the environment store", has_secret_setting),
    ("/opt/leonardo/etc/web_credentials.json", "the login of the web services", has_text),
    ("/.ssh/authorized_keys", "keys that may log in", has_text),
    ("/.ssh/authorized_keys_mount", "keys that may log in", has_text),
    ("/.git-credentials", "a password of git", has_text),
    ("/.config/git/credentials", "a password of git", has_text),
    ("/.git/config", "a password of git", |text| has_secret_setting(text) || has(text, &["authorization:"])),
    ("/.netrc", "a password", |text| has(text, &["password"])),
    ("/etc/apt/auth.conf", "a password", |text| has(text, &["password"])),
    ("/.npmrc", "a token of npm", |text| has_secret_setting(text) || has(text, &["_auth="])),
    ("/.pypirc", "a password of PyPI", |text| has(text, &["password"])),
    ("/.docker/config.json", "a login of a registry", |text| has(text, &["\"auth\"", "identitytoken"])),
    ("/containers/auth.json", "a login of a registry", |text| has(text, &["\"auth\""])),
    ("/.aws/credentials", "a key of AWS", |text| has(text, &["aws_secret_access_key"])),
    ("/.config/gh/hosts.yml", "a token of GitHub", |text| has(text, &["oauth_token"])),
    ("/.config/gcloud/application_default_credentials.json", "a key of Google Cloud", has_text),
    ("/.kube/config", "a login of Kubernetes", |text| has(text, &["token:", "client-key-data", "password:"])),
    ("/.kaggle/kaggle.json", "a key of Kaggle", has_text),
    ("/huggingface/token", "a token of Hugging Face", has_text),
    ("/huggingface/stored_tokens", "a token of Hugging Face", has_text),
    ("/.huggingface/token", "a token of Hugging Face", has_text),
    ("/rclone/rclone.conf", "logins of rclone", has_text),
    ("/.vnc/passwd", "a password of VNC", has_text),
    ("/.cloudflared/cert.pem", "a key of Cloudflare", has_text),
    ("/.vault-token", "a token of Vault", has_text),
    ("/.pgpass", "a password of PostgreSQL", has_text),
    ("/.my.cnf", "a password of MySQL", |text| has(text, &["password"])),
    ("/.bash_history", "the history of a shell", has_text),
    ("/.zsh_history", "the history of a shell", has_text),
    ("/.python_history", "the history of Python", has_text),
];

/// Such files by the beginning of their path; `.pub` is a public key.
const BY_DIRECTORY: &[PathRule] = &[
    ("/etc/ssh/ssh_host_", "the host key of one machine", has_text),
    ("/etc/apt/auth.conf.d/", "a password", |text| has(text, &["password"])),
];

/// Names of settings of programs that log in somewhere, and of shells.
const SETTINGS: [&str; 25] = [
    "pip.conf",
    "pip.ini",
    "uv.toml",
    ".condarc",
    ".mambarc",
    "condarc",
    "npmrc",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".gitconfig",
    "gitconfig",
    "hgrc",
    ".wgetrc",
    ".curlrc",
    ".envrc",
    ".bashrc",
    "bash.bashrc",
    ".bash_profile",
    ".profile",
    ".zshrc",
    ".s3cfg",
    ".boto",
    "environment",
    "rclone.conf",
];
/// Parts of paths whose files are settings.
const SETTINGS_DIRECTORIES: [&str; 8] = [
    "/.aws/",
    "/.cloudflared/",
    "/.config/",
    "/.streamlit/",
    "/etc/apt/",
    "/etc/profile.d/",
    "/etc/supervisor/",
    "/preflight.d/",
];
/// Parts of the names of examples, as in `.env.example`.
const EXAMPLES: [&str; 5] = ["example", "sample", "template", "dist", "test"];
/// Extensions of settings that can have the name of a secret, as in `client_secret.json`.
const SETTINGS_EXTENSIONS: [&str; 11] =
    ["", "txt", "json", "toml", "yaml", "yml", "ini", "cfg", "conf", "properties", "env"];

/// Parts of the paths of what packages bring: also keys and tokens of their tests.
const PACKAGES: [&str; 11] = [
    "/usr/share/",
    "/usr/lib/",
    "/usr/include/",
    "/var/lib/dpkg/",
    "/etc/ssl/certs/",
    "/lib/python",
    "/site-packages/",
    "/dist-packages/",
    "/node_modules/",
    "/micromamba/pkgs/",
    "/micromamba/ssl/",
];
/// Directories of tests and examples, as in a repository that was cloned.
const TESTS: [&str; 7] = ["test", "tests", "testing", "testdata", "fixtures", "examples", "__tests__"];

/// Returns a file with this absolute path and size if it may hold a secret.
#[must_use]
pub fn suspect(path: &Path, size: u64) -> Option<Suspect> {
    let text = path.to_str()?;
    let name = path.file_name()?.to_str()?;
    let (stem, extension) = name.trim_start_matches('.').rsplit_once('.').unwrap_or((name, ""));
    let named = BY_PATH.iter().find(|(end, ..)| text.ends_with(end)).or_else(|| {
        let of_directory = BY_DIRECTORY.iter().find(|(start, ..)| text.starts_with(start));
        of_directory.filter(|_| extension != "pub")
    });
    let of_git = text.split_once("/.git/").map(|(_, file)| file);
    let is_example = PACKAGES.iter().any(|part| text.contains(part))
        || path.components().any(|part| TESTS.iter().any(|test| part.as_os_str() == *test))
        // Objects, and texts of git itself.
        || of_git.is_some_and(|file| !file.starts_with("logs/") && !file.ends_with("config") && file != "FETCH_HEAD");
    let is_text = size <= MAX_BYTES && !is_example;
    let is_secret_named = is_text && names_secret(stem) && ["", "txt", "key"].contains(&extension);
    let is_settings = is_env_file(name, extension) && size <= MAX_BYTES
        || is_text
            && (SETTINGS.contains(&name)
                || SETTINGS_DIRECTORIES.iter().any(|part| text.contains(part))
                || of_git.is_some()
                || name.starts_with("requirements") && extension == "txt"
                || name.starts_with("jupyter_") && stem.ends_with("_config")
                || names_secret(stem) && SETTINGS_EXTENSIONS.contains(&extension));
    (named.is_some() || is_text || is_settings).then_some(Suspect {
        named,
        is_settings,
        is_secret_named,
        is_text,
    })
}

/// True for `.env`, `.env.local` and `prod.env`, unless it is an example.
fn is_env_file(name: &str, extension: &str) -> bool {
    let is_env = name == ".env" || name.starts_with(".env.") || extension == "env";
    is_env && !EXAMPLES.iter().any(|example| name.contains(example))
}

fn has_text(content: &[u8]) -> bool {
    content.iter().any(|byte| !byte.is_ascii_whitespace())
}

/// True for one word of letters and signs, as `echo $TOKEN > token` writes it.
fn is_one_word(content: &[u8]) -> bool {
    let word = content.trim_ascii();
    (6..=512).contains(&word.len()) && word.iter().all(u8::is_ascii_graphic)
}

fn has(content: &[u8], words: &[&str]) -> bool {
    let text = String::from_utf8_lossy(content).to_ascii_lowercase();
    text.lines()
        .any(|line| !line.trim_start().starts_with('#') && words.iter().any(|word| line.contains(word)))
}

fn is_machine_id(content: &[u8]) -> bool {
    has_text(content) && content.trim_ascii() != b"uninitialized"
}

/// True if an account of `shadow(5)` has a password.
fn has_password_hash(content: &[u8]) -> bool {
    content
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b':').nth(1))
        .any(|hash| hash.starts_with(b"$") || hash.starts_with(b"!$"))
}
#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, content: &str) -> Option<&'static str> {
        suspect(Path::new(path), content.len() as u64)?.find(content.as_bytes())
    }

    #[test]
    fn a_file_is_a_secret_by_its_path_and_its_content() {
        let key = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n", "b3BlbnNzaC1rZXkt".repeat(4));
        let account = format!(r#"{{"private_key": {key:?}}}"#);
        let token = format!("ghp_{}", "aB3d".repeat(9));
        let remote = format!("[remote \"origin\"]\n\turl = https://ada:{token}@github.com/a/b\n");
        let (key, account, token, remote) = (key.as_str(), account.as_str(), token.as_str(), remote.as_str());
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
            ("/root/id_ed25519", key, Some("a private key")),
            ("/opt/app/id_rsa", key, Some("a private key")),
            ("/opt/app/account.json", account, Some("a private key")),
            ("/opt/app/.git/config", remote, Some("a password of git")),
            ("/opt/app/.git/modules/x/config", remote, Some("a token")),
            ("/opt/app/.git/config", "[remote]\nurl = ssh://git@github.com/a/b\n", None),
            ("/opt/app/.git/objects/ab/cd", key, None),
            ("/opt/app/main.py", &*format!("login({token:?})"), Some("a token")),
            ("/opt/app/tests/keys/a.txt", key, None),
            ("/opt/app/big.txt", &*"x".repeat(300 << 10), None),
            ("/root/.cargo/credentials.toml", "[registry]\ntoken = \"abc\"\n", Some("a password or a token")),
            ("/etc/apt/auth.conf.d/x.conf", "machine h login a password b", Some("a password")),
            ("/etc/apt/sources.list", "deb https://a:b@h/x y main\n", Some("a password or a token")),
            ("/etc/shadow", "root:*:1::\nada:$y$j9T$x:1::\n", Some("the password of an account")),
            ("/etc/shadow", "root:*:1::\nada:!:1::\n", None),
            ("/opt/app/db_password", "sesame12\n", Some("a secret")),
            (
                "/opt/app/credentials",
                "[default]\naws_secret_access_key = abc\n",
                Some("a password or a token"),
            ),
            (
                "/etc/jupyter/jupyter_server_config.py",
                "c.ServerApp.token = 'abc'\n",
                Some("a password or a token"),
            ),
            ("/etc/jupyter/jupyter_server_config.py", "c.ServerApp.token = ''\n", None),
            ("/root/.config/git/config", "[url \"https://ada:sesame@h/\"]\n", Some("a password or a token")),
            ("/root/.token", "sesame12\n", Some("a secret")),
            ("/etc/pam.d/common-password", "# x\npassword required pam_unix.so\n", None),
            ("/opt/models/special_tokens_map.json", "{\"eos_token\": \"</s>\"}", None),
            ("/opt/app/tls/key.pem", key, Some("a private key")),
            ("/opt/app/tls/cert.pem", "-----BEGIN CERTIFICATE-----\n", None),
            ("/opt/micromamba/lib/python3.12/site-packages/x/test.pem", key, None),
            ("/root/.netrc", "machine h login a PASSWORD b", Some("a password")),
            ("/root/.npmrc", "//registry/:_authToken=x", Some("a token of npm")),
            ("/root/.npmrc", "registry=https://h/\n//h/:_authToken=${NPM_TOKEN}\n", None),
            ("/usr/share/nginx/html/.env", "API_KEY=x\n", Some("a password or a token")),
            ("/opt/app/de.json", "{\"password\": \"Passwort\", \"token\": \"Ein Zugangsschluessel\"}", None),
            ("/root/.config/pip/pip.conf", "index-url = https://a:b@h/simple", Some("a password or a token")),
            ("/etc/pip.conf", "index-url = https://h/simple", None),
            ("/root/.cache/huggingface/token", "hf_x", Some("a token of Hugging Face")),
            ("/root/.bash_history", "ls\n", Some("the history of a shell")),
            ("/opt/app/.env", "# API_KEY=x\nPORT=1\n", None),
            ("/opt/app/.env", "API_KEY = \"x\"\n", Some("a password or a token")),
            ("/opt/app/.env.local", "API_KEY=x\n", Some("a password or a token")),
            ("/opt/app/prod.env", "API_KEY=x\n", Some("a password or a token")),
            ("/opt/app/.env.example", "API_KEY=x\n", None),
            ("/opt/app/main.py", "TOKEN = 'x'", None),
            ("/opt/app/binary", &*format!("\0{key}"), None),
        ] {
            assert_eq!(found(path, content), what, "{path} {content:?}");
        }
    }
}
