//! The environments of a session and of the settings in force, for tools that were started without a login, by sudo or
//! `docker exec`.

use std::path::Path;

use kit::{Env, exec_limit};

use crate::store::Store;

/// Returns `env` with the stored variables that it lacks. A store that cannot be read adds nothing: a user without
/// access to it has a session with the variables. A variable that no program could be started with is reported and left
/// out.
#[must_use]
pub fn session_env(mut env: Env, path: &Path) -> Env {
    for (name, value) in Store::read(path).unwrap_or_default().iter() {
        if env.get(name).is_none() {
            env.set(name, value);
        }
    }
    for problem in exec_limit::drop_oversized(&mut env) {
        log::warn!("{problem}");
    }
    env
}

/// Returns `env` with all stored variables, also in place of its own: the settings in force. `docker exec` passes on what
/// the container was created with, and `init` may have replaced or refused that. Without a readable store, `env` counts.
#[must_use]
pub fn settings_in_force(mut env: Env, path: &Path) -> Env {
    for (name, value) in Store::read(path).unwrap_or_default().iter() {
        env.set(name, value);
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_wins_in_a_session_and_what_is_stored_is_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("environment.sh");
        let given = || -> Env { [("WORKSPACE", "/given")].into_iter().collect() };
        let both = |path: &Path| [session_env(given(), path), settings_in_force(given(), path)];
        assert_eq!(both(&path), [given(), given()], "no store, no change");
        std::fs::write(&path, "broken").unwrap();
        assert_eq!(both(&path), [given(), given()]);
        std::fs::remove_file(&path).unwrap();
        let mut store = Store::default();
        store.set("WORKSPACE", "/stored");
        store.set("OPT_SYNC", "app");
        std::fs::write(&path, store.render()).unwrap();
        let expected = |workspace| [("WORKSPACE", workspace), ("OPT_SYNC", "app")].into_iter().collect();
        assert_eq!(both(&path), [expected("/given"), expected("/stored")]);
    }
}
