//! From a request to variants.

use super::catalogue::{Catalogue, Variant};
use super::diagnosis::diagnose;
use super::pattern;
use super::request::Request;
use super::request_error::RequestError;
use crate::repository;

/// Finds the one variant that a request means.
///
/// A shortened version means its newest listed patch, a plain `cudnn` the cuDNN version available for it. Case does not
/// matter, underscores count as dots, and of an image reference only the tag and the last part of the repository count. Other
/// parts may be left out if one candidate remains. The error lists the candidates.
pub fn resolve<'c>(catalogue: &'c Catalogue, request: &str) -> Result<&'c Variant, RequestError> {
    let found = find(catalogue, request)?;
    match found[..] {
        [variant] => Ok(variant),
        _ => Err(RequestError::Ambiguous { request: request.to_owned(), candidates: tags(&found) }),
    }
}

/// Finds the variants of several requests, each once, in the order of the requests.
///
/// Here a request may also be a pattern (`cuda-12.1*`) or a group: a family or `all` of the base image, an extended image, or
/// `extended` for all of these.
pub fn select<'c>(catalogue: &'c Catalogue, requests: &[String]) -> Result<Vec<&'c Variant>, RequestError> {
    let mut selected: Vec<&Variant> = Vec::new();
    for request in requests {
        let name = normalised(catalogue, request)?;
        let is_member = |variant: &&Variant| match &variant.extended {
            None => name == "all" || name == variant.parts.family,
            Some(image) => name == "extended" || name == *image,
        };
        let group: Vec<&Variant> = catalogue.variants().filter(is_member).collect();
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
    let name = normalised(catalogue, request)?;
    // A full name is itself, also where it could be read as a short form of another.
    if let Some(variant) = catalogue.variants().find(|variant| variant.name == name) {
        return Ok(vec![variant]);
    }
    let unknown = |reason: String, candidates| {
        Err(RequestError::Unknown { request: request.to_owned(), reason, candidates })
    };
    if pattern::is_pattern(&name) {
        let found: Vec<_> =
            catalogue.variants().filter(|variant| pattern::matches(&name, &variant.name)).collect();
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
    let extended = extended_image(catalogue, &name);
    let (before, words) = words.split_at(extended.map_or(0, |image| image.split('-').count()));
    let of_image: Vec<_> =
        catalogue.variants().filter(|variant| variant.extended.as_deref() == extended).collect();
    let Some((&family_name, parts)) = words.split_first() else { return Ok(of_image) };
    let family: Vec<_> =
        of_image.iter().copied().filter(|variant| variant.parts.family == family_name).collect();
    let subject = [before, &[family_name]].concat().join("-");
    if family.is_empty() {
        let known = known_beginnings(catalogue, extended);
        return unknown(format!("a variant's name begins with {known}, not with {subject}"), vec![]);
    }
    let wanted = Request::read(parts, catalogue, &family);
    let found: Vec<_> =
        family.iter().copied().filter(|variant| wanted.accepts_all_but(None, variant)).collect();
    let found = newest_patches(&found);
    if found.is_empty() {
        let (reason, candidates) = diagnose(&subject, &wanted, &family);
        return unknown(reason, tags(&candidates));
    }
    Ok(found)
}

/// The extended image that a name begins with.
fn extended_image<'c>(catalogue: &'c Catalogue, name: &str) -> Option<&'c str> {
    let begins =
        |image: &&str| name.strip_prefix(image).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    catalogue.extended_images().into_iter().filter(begins).max_by_key(|image| image.len())
}

/// The spelling of names: lower case, dots, and of an image reference the tag behind the name of an extended image.
fn normalised(catalogue: &Catalogue, request: &str) -> Result<String, RequestError> {
    let refuse =
        |reason: &str| Err(RequestError::Usage { request: request.to_owned(), reason: reason.to_owned() });
    let name = request.trim();
    if name.starts_with('-') {
        return refuse("it begins with a dash, as options do");
    }
    if name.contains('@') {
        return refuse("a digest names an image that is built already");
    }
    let (repository, name) = match name.rsplit_once(':') {
        // A colon before a slash is that of a registry's port.
        Some((_, port)) if port.contains('/') => return refuse("the image reference has no tag"),
        Some((repository, tag)) => (Some(repository::last_part(repository).to_lowercase()), tag),
        None if name.contains('/') => return refuse("the image reference has no tag"),
        None => (None, name),
    };
    match name {
        "" => refuse("it is empty"),
        name if name.starts_with('-') => refuse("its tag begins with a dash"),
        name => {
            let name = name.to_lowercase().replace('_', ".");
            let Some(image) = repository else { return Ok(name) };
            let images = catalogue.images();
            if !images.contains(&*image) {
                let known = images.into_iter().collect::<Vec<_>>().join(", ");
                let reason = format!("the images are {known}, not {image}");
                return Err(RequestError::Unknown {
                    request: request.to_owned(),
                    reason,
                    candidates: vec![],
                });
            }
            let is_extended = catalogue.extended_images().contains(&*image);
            Ok(if is_extended { format!("{image}-{name}") } else { name })
        }
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
    variants.iter().map(|variant| variant.name.clone()).collect()
}

/// Families of an image; for the base image, also the extended images.
fn known_beginnings(catalogue: &Catalogue, extended: Option<&str>) -> String {
    let of_image = catalogue.variants().filter(|variant| variant.extended.as_deref() == extended);
    let prefix = extended.map(|image| format!("{image}-")).unwrap_or_default();
    let mut known: Vec<_> = of_image.map(|variant| format!("{prefix}{}", variant.parts.family)).collect();
    known.dedup();
    if extended.is_none() {
        known.extend(catalogue.extended_images().into_iter().map(str::to_owned));
    }
    known.join(", ")
}

#[cfg(test)]
mod tests;
