//! The environment of later sessions: the image's store with this container's variables.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Result;
use env_store::{ContainerRecord, Refusal, Store, VERSION_VARIABLE, check_storable, looks_secret};
use kit::{Env, Problem, container_id};

/// Variables that an earlier start may have stored and that no session needs.
const SPENT: [&str; 2] = ["USER_PASSWORD", "CF_TUNNEL_TOKEN"];

/// The variables that a shell read from the store: hooks and commands often run in a login shell.
#[derive(Debug, Default)]
pub struct Loaded {
    store: Env,
    /// Those that starts of another container stored.
    foreign: Env,
}

impl Loaded {
    /// Returns the variables that `env` has from the store.
    pub fn of(env: &Env) -> Self {
        // Without it, equal values were given.
        if env.get(VERSION_VARIABLE).is_none() {
            return Self::default();
        }
        let store = Store::read(Path::new(env_store::PATH)).unwrap_or_default();
        let record = ContainerRecord::read(Path::new(ContainerRecord::PATH));
        Self::new(&store, &record, &container_id::id().unwrap_or_default())
    }

    fn new(store: &Store, record: &ContainerRecord, container: &str) -> Self {
        let is_own = record.container.as_deref() == Some(container);
        let foreign = store.iter().filter(|(name, _)| !is_own && record.stored.contains(*name)).collect();
        Self { store: store.iter().collect(), foreign }
    }

    /// Leaves out a variable that was given.
    pub fn forget(&mut self, name: &OsStr) {
        self.store.unset(name);
    }

    /// True if the variable has its value from the store.
    pub fn has(&self, env: &Env, name: &str) -> bool {
        self.store.get(name).is_some_and(|value| env.get(name) == Some(value))
    }

    /// Removes the variables of another container.
    pub fn remove_foreign(&self, env: &mut Env) {
        self.remove(env, |_| true);
    }

    /// Removes the secrets of another container from the first process, whose other variables may be the image's.
    pub fn remove_foreign_secrets(&self, env: &mut Env) {
        // `WEB_TOKEN_FILE` names a file that only the other container has.
        self.remove(env, |name| looks_secret(name.strip_suffix("_FILE").unwrap_or(name)));
    }

    fn remove(&self, env: &mut Env, counts: impl Fn(&str) -> bool) {
        for (name, value) in self.foreign.iter() {
            if env.get(name) == Some(value) && counts(&name.to_string_lossy()) {
                env.unset(name);
            }
        }
    }
}

/// Writes the store; names that no session can have are reported.
pub fn persist(env: &Env, problems: &mut Vec<Problem>) -> Result<()> {
    let path = Path::new(env_store::PATH);
    let mut store = Store::read(path).unwrap_or_else(|error| {
        problems.push(Problem::new("environment", format!("{error:#}; creating a new one")));
        Store::default()
    });
    SPENT.iter().for_each(|name| store.unset(name));
    let mut stored = Vec::new();
    for (name, value) in env.iter() {
        let name = name.to_string_lossy();
        match check_storable(&name) {
            Ok(()) => {
                store.set(name.as_ref(), value);
                stored.push(name.into_owned());
            }
            // Docker Swarm names GPUs with a `-`; sessions have the list that `gpu-limit` made of them.
            Err(Refusal::NotAName) if name.starts_with("DOCKER_RESOURCE_") => {}
            Err(Refusal::NotAName) => problems.push(Problem::new(
                name.escape_debug().to_string(),
                "no shell can have a variable of this name; only supervised programs see it",
            )),
            Err(Refusal::OfTheShell) => problems.push(Problem::new(
                name,
                "this name is reserved by shells, which may execute its value; only supervised programs get it",
            )),
            Err(Refusal::OfASession) => {}
        }
    }
    ContainerRecord::add(Path::new(ContainerRecord::PATH), stored)?;
    store.write(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_another_container_nothing_stays_or_of_a_first_process_no_secret() {
        let mut store = Store::default();
        for name in ["HF_TOKEN", "LANG", "OF_THE_IMAGE", "WEB_PASSWORD"] {
            store.set(name, "stored");
        }
        let stored = ["HF_TOKEN", "LANG", "WEB_PASSWORD"].map(str::to_owned).into();
        let record = ContainerRecord { container: Some("one".into()), stored };
        let env: Env =
            [("HF_TOKEN", "own"), ("LANG", "stored"), ("OF_THE_IMAGE", "stored"), ("WEB_PASSWORD", "stored")]
                .into_iter()
                .collect();
        let names = |env: &Env| {
            let names: Vec<_> = env.iter().map(|(name, _)| name.to_str().unwrap().to_owned()).collect();
            names.join(" ")
        };
        for (container, all, secrets) in [
            ("one", "HF_TOKEN LANG OF_THE_IMAGE WEB_PASSWORD", "HF_TOKEN LANG OF_THE_IMAGE WEB_PASSWORD"),
            ("another", "HF_TOKEN OF_THE_IMAGE", "HF_TOKEN LANG OF_THE_IMAGE"),
        ] {
            let loaded = Loaded::new(&store, &record, container);
            let (mut late, mut first) = (env.clone(), env.clone());
            loaded.remove_foreign(&mut late);
            loaded.remove_foreign_secrets(&mut first);
            assert_eq!((names(&late).as_str(), names(&first).as_str()), (all, secrets), "{container}");
            assert!(loaded.has(&env, "WEB_PASSWORD") && !loaded.has(&env, "HF_TOKEN"));
        }
    }
}
