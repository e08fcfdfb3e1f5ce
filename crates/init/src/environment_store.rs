//! The environment of later sessions: the image's store with this container's variables.

use std::path::Path;

use anyhow::Result;
use env_store::{ContainerRecord, Refusal, Store, check_storable};
use kit::{Env, Problem};

/// Variables that an earlier start may have stored and that no session needs.
const SPENT: [&str; 2] = ["USER_PASSWORD", "CF_TUNNEL_TOKEN"];

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
