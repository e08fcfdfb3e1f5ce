//! The store of variables for sessions.

use std::fs;
use std::path::Path;

use anyhow::Result;
use env_store::{PATH, Store};

use crate::context::Context;
use crate::finding::Finding;

const REMEDY: &str = "restart the container: docker restart NAME";

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    if !fs::exists(PATH)? {
        return Ok(vec![Finding::fail(format!("{PATH} is missing: sessions have no variables"), REMEDY)]);
    }
    Ok(vec![match Store::read(Path::new(PATH)) {
        Ok(store) => in_step(&store, context),
        Err(error) if context.is_root => Finding::fail(format!("{error:#}"), REMEDY),
        Err(error) => Finding::skip(format!("{error:#}")),
    }])
}

/// Compares the store with what the workspace is known to be.
fn in_step(store: &Store, context: &Context) -> Finding {
    let stored = store.iter().find(|(name, _)| *name == "WORKSPACE").map(|(_, value)| Path::new(value));
    match stored {
        Some(path) if path.components().eq(context.workspace.path.components()) => {
            Finding::pass(format!("{} variables", store.iter().count()))
        }
        Some(path) => Finding::warn(
            format!("new sessions have WORKSPACE={}, this one has another", path.display()),
            "log in again",
        ),
        None => Finding::fail("the store has no WORKSPACE: init has not written it", REMEDY),
    }
}
