//! supervisorctl, which reports errors on standard output.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use kit::cmd;

use crate::shutdown;

/// Prefix of supervisord's refusal of a configuration.
const REFUSED: &str = "CANT_REREAD: ";
/// Text around the list of all variables, which supervisord prints if one is missing.
const NAMES: (&str, &str) = (" Available names: ", " in section ");

/// Runs `supervisorctl`; the error contains its output.
pub fn supervisorctl(words: &[&str]) -> Result<()> {
    run(Command::new(cmd::image_program("supervisorctl")).args(words))
}

fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = shutdown::spawn(command)
        .and_then(Child::wait_with_output)
        .with_context(|| format!("cannot run {}", cmd::describe(command)))?;
    if output.status.success() {
        return Ok(());
    }
    let output_text = [output.stdout, output.stderr].concat();
    bail!(
        "{} failed ({}): {}",
        cmd::describe(command),
        output.status,
        reason(&String::from_utf8_lossy(&output_text))
    )
}

/// Returns the reason without Python's wrapping.
fn reason(output_text: &str) -> String {
    let Some((_, refused)) = output_text.split_once(REFUSED) else { return output_text.trim().to_owned() };
    let refused = refused.rsplit_once(">: file: ").map_or(refused, |(refused, _)| refused);
    let refused = refused.trim().trim_end_matches(['"', '\'']).replace("\\n", " ");
    match (refused.find(NAMES.0), refused.rfind(NAMES.1)) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &refused[..from], &refused[to..]),
        _ => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_output_is_the_reason() {
        let error = run(Command::new("sh").args(["-c", "echo why; exit 3"])).unwrap_err().to_string();
        assert_eq!(error, r#""sh" "-c" "echo why; exit 3" failed (exit status: 3): why"#);
    }

    #[test]
    fn a_refusal_is_reported_without_its_wrapping() {
        let syntax = r#"error: <class 'xmlrpc.client.Fault'>, <Fault 92: "CANT_REREAD: File contains no section headers.\nfile: '/x.conf', line: 1">: file: /a/client.py line: 668"#;
        assert_eq!(reason(syntax), "File contains no section headers. file: '/x.conf', line: 1");
        let unset = r#"error: <Fault 92: "CANT_REREAD: Format string '%(ENV_X)s' cannot be expanded. Available names: ENV_A, here in section 'program:y' (file: '/x.conf')">: file: c line: 6"#;
        assert_eq!(
            reason(unset),
            "Format string '%(ENV_X)s' cannot be expanded. in section 'program:y' (file: '/x.conf')"
        );
        assert_eq!(reason("x: ERROR (no such process)\n"), "x: ERROR (no such process)");
    }
}
