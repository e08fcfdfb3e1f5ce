//! The token of a named tunnel.

use std::env;
use std::fs;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::arguments::Arguments;

const SEE: &str = "See 'cloudflared tunnel run --help'.";

/// Returns the id of the tunnel in the token of the environment or of a file; the error is printed bare.
pub fn tunnel_id(arguments: &Arguments) -> Result<String, String> {
    let file =
        arguments.get("token-file").map(ToOwned::to_owned).or_else(|| env::var("TUNNEL_TOKEN_FILE").ok());
    let token = match (env::var("TUNNEL_TOKEN"), file) {
        (Ok(token), _) => token,
        (Err(_), Some(file)) => fs::read_to_string(&file).map_err(|error| {
            // As Go words it.
            let reason = match error.kind() {
                std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
                _ => error.to_string(),
            };
            format!("Failed to read token file: open {file}: {reason}\n{SEE}")
        })?,
        (Err(_), None) => {
            return Err(format!(
                "\"cloudflared tunnel run\" requires the ID or name of the tunnel to run as the last command line argument or \
                 in the configuration file.\n{SEE}"
            ));
        }
    };
    let decoded = BASE64_STANDARD.decode(token.trim()).ok();
    let content: Option<Value> = decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let has_all = |content: &Value| ["a", "s", "t"].iter().all(|name| content[*name].is_string());
    match content.filter(has_all) {
        Some(content) => Ok(content["t"].as_str().unwrap_or_default().to_owned()),
        None => Err(format!("Provided Tunnel token is not valid.\n{SEE}")),
    }
}
