//! The environment of a session, for tools that were started without a login, by sudo or `docker exec`.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_wins_and_the_rest_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("environment.sh");
        let given = || -> Env { [("WORKSPACE", "/given")].into_iter().collect() };
        assert_eq!(session_env(given(), &path), given(), "no store, no change");
        std::fs::write(&path, "broken").unwrap();
        assert_eq!(session_env(given(), &path), given());
        std::fs::remove_file(&path).unwrap();
        let mut store = Store::default();
        store.set("WORKSPACE", "/stored");
        store.set("OPT_SYNC", "app");
        std::fs::write(&path, store.render()).unwrap();
        let expected: Env = [("WORKSPACE", "/given"), ("OPT_SYNC", "app")].into_iter().collect();
        assert_eq!(session_env(given(), &path), expected);
    }
}
