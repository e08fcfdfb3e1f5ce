//! Error messages of Caddy, with locations in the templates instead of the generated file.

use std::path::Path;

use serde_json::Value;

use crate::configuration::Configuration;

/// Start of every error about a Caddyfile.
const PREFIX: &str = "adapting config using caddyfile: ";

/// Returns Caddy's error message from the output of a failed command, or all of the output if there is none.
pub fn extract_message(message: &str) -> String {
    let found = message.lines().filter_map(|line| parse_error(&line[line.find('{')?..])).next_back();
    found.unwrap_or_else(|| message.to_owned())
}

/// Replaces locations in the generated file by those in the templates.
pub fn with_template_location(
    message: &str,
    generated: &Path,
    configuration: &Configuration,
    share: &Path,
) -> String {
    let file = format!("{}:", generated.display());
    let mut parts = message.split(&file);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|character: char| character.is_ascii_digit()).len();
        let (line, rest) = part.split_at(digits);
        match line.parse().ok().and_then(|line| configuration.source_line(line)) {
            Some((name, line)) => {
                text.extend([&share.join(name).to_string_lossy(), ":", &line.to_string(), rest]);
            }
            None => text.extend([&file, part]),
        }
    }
    text
}

/// Returns the message of an error line of Caddy's log, which may contain a JSON response of the administration interface.
fn parse_error(line: &str) -> Option<String> {
    let entry: Value = serde_json::Deserializer::from_str(line).into_iter().next()?.ok()?;
    if entry.get("level")? != "error" {
        return None;
    }
    let message = entry.get("msg")?.as_str()?;
    let response =
        message.find("{\"error\":").and_then(|start| serde_json::from_str::<Value>(&message[start..]).ok());
    let inner = response.as_ref().and_then(|response| response.get("error")?.as_str());
    let message = inner.unwrap_or(message).trim();
    Some(message.strip_prefix(PREFIX).unwrap_or(message).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Templates;
    use crate::settings::Settings;

    #[test]
    fn the_last_error_is_extracted() {
        let message = concat!(
            "\"caddy\" \"reload\" failed (exit status: 1): {\"level\":\"info\",\"msg\":\"adapted\"}\n",
            "{\"level\":\"error\",\"ts\":1.5,\"msg\":\"adapting config using caddyfile: C:3: unrecognized directive: \
             x\"}\n",
        );
        assert_eq!(extract_message(message), "C:3: unrecognized directive: x");
        let nested = r#"{"level":"error","msg":"sending: HTTP 400: {\"error\":\"listen tcp :22: address in use\"}\n"}"#;
        assert_eq!(extract_message(nested), "listen tcp :22: address in use");
        assert_eq!(extract_message("cannot run \"caddy\": {broken"), "cannot run \"caddy\": {broken");
    }

    #[test]
    fn an_error_has_the_location_in_the_template() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("base_config"), "a\nb\n").unwrap();
        std::fs::write(dir.path().join("service_config"), "%PROXY_PORT%\nx\n").unwrap();
        let templates = Templates::read(dir.path()).unwrap();
        let configuration = templates.render(&Settings::default(), &templates.sample_services());
        let relocated =
            |text: &str| with_template_location(text, Path::new("/g/C"), &configuration, Path::new("/share"));
        assert_eq!(relocated("/g/C:2: bad b"), "/share/base_config:2: bad b");
        assert_eq!(
            relocated("bad x, at /g/C:5 ['/g/C:2']"),
            "bad x, at /share/service_config:2 ['/share/base_config:2']"
        );
        assert_eq!(relocated("/g/C:99: beyond, /g/C: none"), "/g/C:99: beyond, /g/C: none");
    }
}
