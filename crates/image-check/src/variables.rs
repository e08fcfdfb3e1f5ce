//! Variables of the image: secrets, and the image's own name.

use kit::Env;

use crate::finding::Finding;

/// Checks the variables, with the `IMAGE_SLUG` of the base image.
pub fn check(env: &Env, base_slug: &str) -> Vec<Finding> {
    let secrets = env.iter().filter_map(|(name, value)| {
        let name = name.to_string_lossy();
        leaked_secrets::is_secret(&name, &value.to_string_lossy()).then(|| {
            let effect = "everyone who can pull the image can read it";
            let fix = "remove ENV or ARG; use RUN --mount=type=secret in the build, or -e when the container starts";
            Finding::fault("secrets", name, "a secret in a variable of the image", effect, fix)
        })
    });
    let slug = env.text("IMAGE_SLUG").is_none_or(|slug| slug == base_slug).then(|| {
        let effect = "on a shared volume, its environments are mixed with those of the base image";
        Finding::fault(
            "name",
            "IMAGE_SLUG",
            "the base image's",
            effect,
            "add the line: ENV IMAGE_SLUG=my-image",
        )
    });
    secrets.chain(slug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_without_its_value_and_the_image_needs_a_name() {
        let env: Env =
            [("PATH", "/bin"), ("HF_TOKEN", "sesame"), ("IMAGE_SLUG", "base-image")].into_iter().collect();
        let found = check(&env, "base-image");
        let places: Vec<_> = found.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(places, ["HF_TOKEN", "IMAGE_SLUG"]);
        assert!(found.iter().all(|finding| !finding.to_string().contains("sesame")));
        let named: Env = [("IMAGE_SLUG", "mine")].into_iter().collect();
        assert_eq!(check(&named, "base-image"), []);
    }
}
