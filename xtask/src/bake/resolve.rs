//! From a request to variants.

use super::catalogue::{Catalogue, Variant};
use super::diagnosis::diagnose;
use super::pattern;
use super::request::Request;
use super::request_error::RequestError;

/// Finds the one variant that a request means.
///
/// A shortened version means its newest listed patch, a plain `cudnn` the cuDNN version available for it. Case does not
/// matter, underscores count as dots, and of an image reference only the tag counts. Other parts may be left out if one
/// candidate remains. The error lists the candidates.
pub fn resolve<'c>(catalogue: &'c Catalogue, request: &str) -> Result<&'c Variant, RequestError> {
    let found = find(catalogue, request)?;
    match found[..] {
        [variant] => Ok(variant),
        _ => Err(RequestError::Ambiguous { request: request.to_owned(), candidates: tags(&found) }),
    }
}

/// Finds the variants of several requests, each once, in the order of the requests.
///
/// Here a request may also be a pattern (`cuda-12.1*`) or a group: `all`, or a family.
pub fn select<'c>(catalogue: &'c Catalogue, requests: &[String]) -> Result<Vec<&'c Variant>, RequestError> {
    let mut selected: Vec<&Variant> = Vec::new();
    for request in requests {
        let name = normalised(request)?;
        let group: Vec<&Variant> =
            catalogue.variants().filter(|variant| name == "all" || name == variant.parts.family).collect();
        let found = if !group.is_empty() {
            group
        } else if pattern::is_pattern(&name) {
            find(catalogue, request)?
        } else {
            vec![resolve(catalogue, request)?]
        };
        for variant in found {
            if !selected.contains(&variant) {
                selected.push(variant);
            }
        }
    }
    Ok(selected)
}

/// All variants that fit a request, at least one.
fn find<'c>(catalogue: &'c Catalogue, request: &str) -> Result<Vec<&'c Variant>, RequestError> {
    let name = normalised(request)?;
    // A full tag is itself, also where it could be read as a short form of another.
    if let Some(variant) = catalogue.variants().find(|variant| variant.tag == name) {
        return Ok(vec![variant]);
    }
    let unknown = |reason: String, candidates| {
        Err(RequestError::Unknown { request: request.to_owned(), reason, candidates })
    };
    if pattern::is_pattern(&name) {
        let found: Vec<_> =
            catalogue.variants().filter(|variant| pattern::matches(&name, &variant.tag)).collect();
        return if found.is_empty() {
            unknown("nothing fits the pattern".to_owned(), vec![])
        } else {
            Ok(found)
        };
    }
    let words: Vec<&str> = name.split('-').collect();
    if words.contains(&"") {
        return Err(RequestError::Usage {
            request: request.to_owned(),
            reason: "there is nothing between two dashes or behind the last".to_owned(),
        });
    }
    let family: Vec<_> = catalogue.variants().filter(|variant| variant.parts.family == words[0]).collect();
    if family.is_empty() {
        return unknown(format!("a tag begins with {}, not with {}", families(catalogue), words[0]), vec![]);
    }
    let wanted = Request::read(&words[1..], catalogue, &family);
    let found: Vec<_> =
        family.iter().copied().filter(|variant| wanted.accepts_all_but(None, variant)).collect();
    let found = newest_patches(&found);
    if found.is_empty() {
        let (reason, candidates) = diagnose(words[0], &wanted, &family);
        return unknown(reason, tags(&candidates));
    }
    Ok(found)
}

/// The spelling of tags: lower case, dots, without the image in front.
fn normalised(request: &str) -> Result<String, RequestError> {
    let refuse =
        |reason: &str| Err(RequestError::Usage { request: request.to_owned(), reason: reason.to_owned() });
    let name = request.trim();
    if name.starts_with('-') {
        return refuse("it begins with a dash, as options do");
    }
    if name.contains('@') {
        return refuse("a digest names an image that is built already");
    }
    let name = match name.rsplit_once(':') {
        // A colon before a slash is that of a registry's port.
        Some((_, port)) if port.contains('/') => return refuse("the image reference has no tag"),
        Some((_, tag)) => tag,
        None if name.contains('/') => return refuse("the image reference has no tag"),
        None => name,
    };
    match name {
        "" => refuse("it is empty"),
        name if name.starts_with('-') => refuse("its tag begins with a dash"),
        name => Ok(name.to_lowercase().replace('_', ".")),
    }
}

/// Of variants that differ in nothing but the patch, only the newest.
fn newest_patches<'c>(variants: &[&'c Variant]) -> Vec<&'c Variant> {
    let is_patch_of = |newer: &Variant, older: &Variant| {
        let (new, old) = (&newer.parts, &older.parts);
        let (Some(new_version), Some(old_version)) = (&new.version, &old.version) else { return false };
        new_version > old_version
            && new_version.minor() == old_version.minor()
            && (&new.flavour, &new.release) == (&old.flavour, &old.release)
            && new.cudnn.is_some() == old.cudnn.is_some()
    };
    let superseded = |older: &Variant| variants.iter().any(|newer| is_patch_of(newer, older));
    variants.iter().copied().filter(|variant| !superseded(variant)).collect()
}

fn tags(variants: &[&Variant]) -> Vec<String> {
    variants.iter().map(|variant| variant.tag.clone()).collect()
}

fn families(catalogue: &Catalogue) -> String {
    let mut families: Vec<&str> = catalogue.variants().map(|variant| variant.parts.family.as_str()).collect();
    families.dedup();
    families.join(", ")
}

#[cfg(test)]
mod tests;
