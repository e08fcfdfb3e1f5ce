//! A file for a bug report: what a person who cannot see the container asks for first, without secrets.

mod known_secrets;
mod log_tails;
mod section;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use kit::{Exit, HintExt, Outcome};
use nix::libc::O_NOFOLLOW;
use redact::{Redactor, mask_secret_looking};

use crate::context::Context;
use crate::output::{self, Summary};
use crate::runner;

pub use section::{SECTIONS, section};

const HEAD: &str = "\
Report of selftest. Secrets are masked, as far as they are known or look like some:
read it before you show it to others.
";

/// Writes the report to a new file; `-` is stdout. Without a name, it has the time in its name.
pub fn write(file: Option<&Path>, summary: &Summary) -> Outcome {
    let context = Context::load()?;
    let now = kit::rfc3339::seconds(SystemTime::now());
    let redactor = Redactor::new(&context.env, known_secrets::of(&context))?;
    let text = masked(&redactor, &render(summary, &context, &now));
    if file == Some(Path::new("-")) {
        io::stdout().write_all(text.as_bytes())?;
        return Ok(Exit::Done);
    }
    let default = || PathBuf::from(format!("selftest-{}.txt", now.replace([':', '-'], "")));
    let path = file.map_or_else(default, Path::to_owned);
    create(&path, &text)?;
    writeln!(io::stdout(), "{}", path.display())?;
    Ok(Exit::Done)
}

/// Creates the file for its owner alone. Another user may have put a file or a link there.
fn create(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(O_NOFOLLOW);
    let cannot = || format!("cannot create {}", path.display());
    let created = options.open(path).with_context(cannot);
    let mut file = created.hint(|| "name another file: selftest --report FILE".to_owned())?;
    file.write_all(text.as_bytes()).with_context(cannot)
}

/// Masks known secrets first: the other step replaces parts of them.
fn masked(redactor: &Redactor, text: &str) -> String {
    mask_secret_looking(&redactor.redact_text(text))
}

fn render(summary: &Summary, context: &Context, now: &str) -> String {
    let mut text = format!("{HEAD}Created {now}.\n");
    let mut add = |title: &str, content: &str| {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n== {title} ==\n{}\n", content.trim_end());
    };
    add("selftest", &output::text(summary));
    for (name, section) in runner::sections() {
        add(name, &section);
    }
    for (name, tail) in log_tails::of(context) {
        add(&format!("log {name}"), &tail);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_report_is_a_new_file_of_its_owner_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create(&at("new"), "text").unwrap();
        assert_eq!(fs::read_to_string(at("new")).unwrap(), "text");
        assert_eq!(fs::metadata(at("new")).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(at("old"), "mine").unwrap();
        symlink(at("elsewhere"), at("link")).unwrap();
        for name in ["old", "link"] {
            let error = create(&at(name), "text").unwrap_err();
            assert_eq!(
                kit::exit::hint(&error).as_deref(),
                Some("name another file: selftest --report FILE"),
                "{error:#}"
            );
        }
        assert_eq!(
            (fs::read_to_string(at("old")).unwrap().as_str(), at("elsewhere").exists()),
            ("mine", false)
        );
    }
}
