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
        Ok(store) => contents(&store),
        Err(error) if context.is_root => Finding::fail(format!("{error:#}"), REMEDY),
        Err(error) => Finding::skip(format!("{error:#}")),
    }])
}

fn contents(store: &Store) -> Finding {
    if store.iter().any(|(name, _)| name == "WORKSPACE") {
        Finding::pass(format!("{} variables", store.iter().count()))
    } else {
        Finding::fail("the store has no WORKSPACE: init has not written it", REMEDY)
    }
}
