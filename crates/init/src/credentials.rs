//! Login of the web services: what was given, else what an earlier start generated, else something new.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kit::atomic::{self, Placement};
use kit::{Env, Secret};
use serde::{Deserialize, Serialize};

use crate::account;
use crate::settings::Web;

/// Readable by the portal, which compares, and by root; by nobody else.
const PATH: &str = "/opt/leonardo/etc/web_credentials.json";
/// Without characters that look alike, because people copy it from a screen.
const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// 20 of 56 characters are 116 bits.
const PASSWORD_LENGTH: usize = 20;

/// The settled login.
#[derive(Serialize, Deserialize)]
pub struct Credentials {
    web_user: String,
    web_password: String,
    web_token: String,
    /// Tells this container's session cookie from those of its neighbours on the same address.
    instance: String,
}

impl Credentials {
    /// Puts the login where every session finds it: `env | grep WEB_`.
    pub fn export(&self, enable_auth: bool, env: &mut Env) {
        env.set("WEB_ENABLE_AUTH", enable_auth.to_string());
        env.set("WEB_USER", &self.web_user);
        env.set("WEB_PASSWORD", &self.web_password);
        env.set("WEB_PASSWORD_B64", STANDARD.encode(format!("{}:{}", self.web_user, self.web_password)));
        env.set("WEB_TOKEN", &self.web_token);
    }
}

/// Settles the login and keeps it over restarts.
pub fn settle(given: &Web) -> Result<Credentials> {
    let path = Path::new(PATH);
    let settled = choose(given, read(path)?, &mut Random)?;
    let portal = account::user_id("portal")?;
    let placement = Placement::durable(0o600).owned_by(portal.uid, portal.gid);
    atomic::write_if_changed(path, &serde_json::to_vec(&settled)?, placement)?;
    Ok(settled)
}

/// A file that is damaged or was emptied counts as none: a start never fails because of it.
fn read(path: &Path) -> Result<Option<Credentials>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Where new secrets come from; a test brings its own.
trait Source {
    fn password(&mut self) -> Result<String>;
    fn token(&mut self) -> Result<String>;
    fn instance(&mut self) -> Result<String>;
}

fn choose(given: &Web, kept: Option<Credentials>, source: &mut impl Source) -> Result<Credentials> {
    let (password, token, instance) = kept.map_or((None, None, None), |kept| {
        (Secret::new(kept.web_password), Secret::new(kept.web_token), Secret::new(kept.instance))
    });
    let text = |secret: Option<Secret>| secret.map(|secret| secret.expose().to_owned());
    Ok(Credentials {
        web_user: given.user.clone(),
        web_password: text(given.password.clone().or(password)).map_or_else(|| source.password(), Ok)?,
        web_token: text(given.token.clone().or(token)).map_or_else(|| source.token(), Ok)?,
        instance: text(instance).map_or_else(|| source.instance(), Ok)?,
    })
}

/// The kernel's random numbers.
struct Random;

impl Source for Random {
    fn password(&mut self) -> Result<String> {
        let mut password = String::with_capacity(PASSWORD_LENGTH);
        // Bytes beyond the largest multiple of the alphabet's size are thrown away, so that no character is likelier.
        let fair = 256 / ALPHABET.len() * ALPHABET.len();
        while password.len() < PASSWORD_LENGTH {
            let [byte] = random::<1>()?;
            if usize::from(byte) < fair {
                password.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            }
        }
        Ok(password)
    }

    fn token(&mut self) -> Result<String> {
        Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
    }

    fn instance(&mut self) -> Result<String> {
        Ok(format!("{:08x}", u32::from_ne_bytes(random::<4>()?)))
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the kernel gives no random numbers")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Source for Fixed {
        fn password(&mut self) -> Result<String> {
            Ok("new-password".into())
        }
        fn token(&mut self) -> Result<String> {
            Ok("new-token".into())
        }
        fn instance(&mut self) -> Result<String> {
            Ok("new-instance".into())
        }
    }

    fn web(password: &str, token: &str) -> Web {
        Web {
            enable_auth: true,
            user: "ada".into(),
            password: Secret::new(password),
            token: Secret::new(token),
        }
    }

    fn kept(password: &str) -> Credentials {
        Credentials {
            web_user: "old".into(),
            web_password: password.into(),
            web_token: "kept-token".into(),
            instance: "kept-instance".into(),
        }
    }

    fn chosen(given: &Web, kept: Option<Credentials>) -> [String; 4] {
        let chosen = choose(given, kept, &mut Fixed).unwrap();
        [chosen.web_user, chosen.web_password, chosen.web_token, chosen.instance]
    }

    #[test]
    fn given_beats_kept_and_kept_beats_generated() {
        assert_eq!(chosen(&web("", ""), None), ["ada", "new-password", "new-token", "new-instance"]);
        assert_eq!(chosen(&web("", ""), Some(kept("kept"))), ["ada", "kept", "kept-token", "kept-instance"]);
        assert_eq!(chosen(&web("given", "t"), Some(kept("kept"))), ["ada", "given", "t", "kept-instance"]);
    }

    #[test]
    fn an_emptied_file_never_yields_an_empty_secret() {
        assert_eq!(chosen(&web("", ""), Some(kept("")))[1], "new-password");
    }

    #[test]
    fn generated_secrets_are_long_and_never_the_same() {
        let (one, other) = (Random.password().unwrap(), Random.password().unwrap());
        assert_eq!(one.len(), PASSWORD_LENGTH);
        assert!(one.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(one, other);
        assert_eq!(Random.token().unwrap().len(), 43);
    }

    #[test]
    fn basic_carries_user_and_password_on_one_line() {
        let credentials = choose(&web(&"p".repeat(100), "t"), None, &mut Fixed).unwrap();
        let mut env = Env::default();
        credentials.export(true, &mut env);
        let encoded = env.text("WEB_PASSWORD_B64").unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap(), format!("ada:{}", "p".repeat(100)).as_bytes());
    }
}
