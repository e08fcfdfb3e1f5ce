//! Diagnosis of a request that matches no variant: the part that does not exist, and the values that do.

use super::catalogue::Variant;
use super::request::{Request, TagPart};

/// Returns the reason why nothing in `family` is as `wanted`, and the variants that differ only in that part.
///
/// If no variant does, it returns those of the same flavour, or else the whole family.
pub fn diagnose<'c>(name: &str, wanted: &Request, family: &[&'c Variant]) -> (String, Vec<&'c Variant>) {
    let near = |aside| pick(family, |variant| wanted.accepts_all_but(Some(aside), variant));
    let (part, reason) = mismatched_part(name, wanted, family);
    let candidates = match part {
        Some(TagPart::Cudnn | TagPart::Flavour) => {
            let other_cudnn = pick(&near(TagPart::Cudnn), |variant| variant.parts.cudnn.is_some());
            // If no cuDNN fits the flavour, drop either of the two.
            let either = || {
                pick(family, |variant| {
                    wanted.accepts_all_but(Some(TagPart::Flavour), variant)
                        || wanted.accepts_all_but(Some(TagPart::Cudnn), variant)
                })
            };
            if other_cudnn.is_empty() { either() } else { other_cudnn }
        }
        Some(TagPart::Version) => same_minor(wanted, near(TagPart::Version)),
        Some(TagPart::Release) => near(TagPart::Release),
        None => vec![],
    };
    if !candidates.is_empty() {
        return (reason, candidates);
    }
    let same_flavour = pick(family, |variant| {
        wanted.accepts(TagPart::Flavour, variant) && wanted.accepts(TagPart::Cudnn, variant)
    });
    let candidates = if same_flavour.is_empty() { family.to_vec() } else { same_flavour };
    (reason, candidates)
}

/// Returns the part that does not match: first one that exists nowhere in the family, then one that does not exist together
/// with the others.
fn mismatched_part(name: &str, wanted: &Request, family: &[&Variant]) -> (Option<TagPart>, String) {
    let nowhere = |part| !family.iter().any(|variant| wanted.accepts(part, variant));
    let apart = |aside| family.iter().any(|variant| wanted.accepts_all_but(Some(aside), variant));
    let version = wanted.version.as_ref().map(|version| format!("{name} {version}"));
    let subject = version.as_deref().unwrap_or(name);
    let cudnn = wanted.cudnn.as_deref().unwrap_or_default();
    let flavour = wanted.flavour.as_deref().unwrap_or_default();
    let release = wanted.release.as_deref().unwrap_or_default();

    let with_cudnn: Vec<&Variant> = pick(family, |variant| variant.parts.cudnn.is_some());
    let has_flavour =
        |variants: &[&Variant]| variants.iter().any(|variant| wanted.accepts(TagPart::Flavour, variant));
    if wanted.cudnn.is_some() && with_cudnn.is_empty() {
        (Some(TagPart::Cudnn), format!("{name} has no variants with cuDNN"))
    } else if nowhere(TagPart::Flavour) {
        let reason = match flavours(family) {
            none if none.is_empty() => format!("{name} has no flavours, so no {flavour}"),
            known => format!("{name} has no flavour {flavour}, only {known}"),
        };
        (Some(TagPart::Flavour), reason)
    } else if wanted.cudnn.is_some() && !has_flavour(&with_cudnn) {
        let reason = format!(
            "a {flavour} image with cuDNN does not exist, cuDNN comes with {}",
            flavours(&with_cudnn)
        );
        (Some(TagPart::Cudnn), reason)
    } else if nowhere(TagPart::Version) {
        (Some(TagPart::Version), format!("{subject} is not listed"))
    } else if nowhere(TagPart::Release) {
        (Some(TagPart::Release), format!("nothing of {name} is built on {release}"))
    } else if apart(TagPart::Release) {
        (Some(TagPart::Release), format!("{subject} is not built on {release}"))
    } else if wanted.cudnn.is_some() && apart(TagPart::Cudnn) {
        (Some(TagPart::Cudnn), format!("{subject} does not come with {cudnn}"))
    } else if apart(TagPart::Flavour) {
        let place = wanted.release.as_ref().map(|release| format!(" on {release}")).unwrap_or_default();
        (Some(TagPart::Flavour), format!("{subject} has no {flavour}{place}"))
    } else {
        (None, "no listed variant has all these parts".to_owned())
    }
}

/// Returns the candidates of the wanted minor version, or else all of them: for 12.1.0, 12.1.1 is the best match.
fn same_minor<'c>(wanted: &Request, candidates: Vec<&'c Variant>) -> Vec<&'c Variant> {
    let minor = |variant: &Variant| variant.parts.version.as_ref().map(|version| version.minor().to_vec());
    let wanted = wanted.version.as_ref().map(|version| version.minor().to_vec());
    let close = pick(&candidates, |variant| minor(variant) == wanted);
    if close.is_empty() { candidates } else { close }
}

fn flavours(variants: &[&Variant]) -> String {
    let mut flavours: Vec<&str> =
        variants.iter().filter_map(|variant| variant.parts.flavour.as_deref()).collect();
    flavours.sort_unstable();
    flavours.dedup();
    flavours.join(", ")
}

fn pick<'c>(variants: &[&'c Variant], wanted: impl Fn(&Variant) -> bool) -> Vec<&'c Variant> {
    variants.iter().copied().filter(|variant| wanted(variant)).collect()
}
