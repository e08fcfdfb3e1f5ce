//! The reference of variables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write;
use std::path::PathBuf;

use kit::variables::{self, Kind, Variable};

use crate::notice::GENERATED;
use crate::variables::default;

/// The page, from the output directory.
pub const PAGE: &str = "reference/environment.md";

const INTRODUCTION: &str = "\
# Variables

What each one is for is in the [README](../../README.md#environment-variables). A value that cannot be used is reported by
name, and the default is used. An empty value is the same as an unset variable. `init` checks all of them at the start; the
programs in the last column use them.

";

const REMAINING: &str = "
## Kinds of values

| kind | values |
|---|---|
";

const OTHERS: &str = "
## Variables that the image reads besides

| variable | meaning |
|---|---|
| `MAPPED_TCP_PORT_<n>` | number under which you publish port `<n>` ([addresses.md](../addresses.md)) |
| `VAST_TCP_PORT_<n>`, `RUNPOD_TCP_PORT_<n>`, `PUBLIC_IPADDR`, `RUNPOD_PUBLIC_IP`, `PAPERSPACE_FQDN` and others | set by providers ([addresses.md](../addresses.md)) |
| `RCLONE_*` | configuration of rclone ([rclone.md](../rclone.md)) |
| `NVIDIA_VISIBLE_DEVICES`, `CUDA_VISIBLE_DEVICES`, `HIP_VISIBLE_DEVICES`, `ROCR_VISIBLE_DEVICES`, `DOCKER_RESOURCE_*` | GPUs that the engine or you chose ([gpu.md](../gpu.md)) |
| `NO_COLOR` | tools print no colours |
| `SSL_CERT_FILE` | certificates that `provision` trusts besides |

## Variables that the image sets

| variable | value |
|---|---|
| `WEB_PASSWORD_B64` | `WEB_USER:WEB_PASSWORD` in base64, as HTTP Basic sends it |
| `WORKSPACE_UID`, `WORKSPACE_GID` | owner of the workspace |
| `WORKSPACE_MOUNTED` | `true` if a volume is mounted at `WORKSPACE` |
| `MAMBA_ROOT_PREFIX` | `/opt/micromamba` |
| `RCLONE_CONFIG` | `/etc/rclone/rclone.conf` |
| `LEONARDO_SERVICE` | public port of the service, in programs that `service-run` starts |
| `LEONARDO_AUTOSTART_*` | which programs supervisord starts; do not set them |
";

/// Renders the page; `sources` are the texts of the repository's source files by their paths.
pub fn page(sources: &BTreeMap<PathBuf, String>) -> Result<String, fmt::Error> {
    let mut page = format!("<!-- {GENERATED} -->\n\n{INTRODUCTION}");
    page.push_str("| variable | kind | default | secret, and its file | used by |\n|---|---|---|---|---|\n");
    for variable in variables::ALL {
        let Variable { name, kind, .. } = variable;
        let file = match kind {
            Kind::Secret => format!("yes; `{name}_FILE`"),
            _ => "no".to_owned(),
        };
        let readers: Vec<_> = readers(sources, name).iter().map(|reader| format!("`{reader}`")).collect();
        let (kind, default, readers) = (kind.label(), default(variable), readers.join(", "));
        writeln!(page, "| `{name}` | {kind} | {default} | {file} | {readers} |")?;
    }
    page.push_str(REMAINING);
    for kind in Kind::ALL {
        writeln!(page, "| {} | {} |", kind.label(), kind.values())?;
    }
    page.push_str(OTHERS);
    Ok(page)
}

/// Returns the crates that read a variable: their code, without tests, names its constant or its text.
fn readers(sources: &BTreeMap<PathBuf, String>, name: &str) -> BTreeSet<String> {
    let of_crates = sources.iter().filter_map(|(path, text)| {
        let mut parts = path.iter().map(|part| part.to_string_lossy());
        let is_crate = parts.next()? == "crates";
        let owner = parts.next()?;
        let is_source = parts.next()? == "src" && !path.iter().any(|part| part == "tests");
        (is_crate && is_source && owner != "kit").then_some((owner.into_owned(), text))
    });
    of_crates
        .filter(|(_, text)| {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let is_end = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
            code.contains(&format!("\"{name}\""))
                || code.split(&format!("variables::{name}")).skip(1).any(is_end)
                || imports(code).any(|import| import == name)
        })
        .map(|(owner, _)| owner)
        .collect()
}

/// Names in `variables::{…}`.
fn imports(code: &str) -> impl Iterator<Item = &str> {
    code.split("variables::{")
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .flat_map(|list| list.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_a_crate_whose_code_names_the_variable() {
        let sources = [
            ("crates/a/src/lib.rs", "read(variables::SSH_PORT)"),
            ("crates/b/src/lib.rs", "variables::SSH_PORT_2\n#[cfg(test)] \"SSH_PORT\""),
            ("crates/c/src/x/y.rs", "use kit::variables::{SSH_PORT, WEB_USER};"),
            ("crates/d/tests/cli.rs", "\"SSH_PORT\""),
            ("crates/kit/src/variables.rs", "\"SSH_PORT\""),
        ];
        let sources = sources.map(|(path, text)| (PathBuf::from(path), text.to_owned())).into();
        assert_eq!(Vec::from_iter(readers(&sources, "SSH_PORT")), ["a", "c"]);
    }

    #[test]
    fn a_secret_has_its_file() {
        let page = page(&BTreeMap::new()).unwrap();
        assert!(page.contains("| `WEB_TOKEN` | secret | generated; kept when the container restarts | yes; `WEB_TOKEN_FILE` |"), "{page}");
    }
}
