//! Variables of the image: secrets, the image's own name, and settings as `init` reads them.

use kit::{Env, Problem, SettingsReader};

use crate::finding::Finding;

const SLUG: &str = "IMAGE_SLUG";

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
    let problems = init::invalid_variables(env);
    let mixed = "on a shared volume, its environments are mixed with those of the base image";
    let base = || {
        let fix = "add the line: ENV IMAGE_SLUG=my-image";
        Finding::fault("name", SLUG, "the base image's", mixed, fix)
    };
    let is_base =
        env.text(SLUG).is_none() || workspace::slug_from_setting(&mut SettingsReader::new(env)) == base_slug;
    let is_reported = problems.iter().any(|problem| problem.setting == SLUG);
    let slug = (is_base && !is_reported).then(base);
    let invalid = problems.into_iter().map(|Problem { setting, message }| {
        let fix = format!("correct ENV {setting}");
        match setting.as_str() {
            SLUG => Finding::fault("name", setting, message, mixed, fix),
            _ => Finding::fault("variables", setting, message, "every start reports it", fix),
        }
    });
    let misspelled = init::misspelled_variables(env).into_iter().map(|Problem { setting, message }| {
        let fix = "correct the name, unless another program reads it";
        Finding::fault("variables", setting, message, "it has no effect, and every start reports it", fix)
            .as_warning()
    });
    secrets.chain(slug).chain(invalid).chain(misspelled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

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

    #[test]
    fn settings_are_judged_as_a_start_does() {
        let long = "x".repeat(100);
        for (name, value, check_name, fails) in [
            ("IMAGE_SLUG", "../../x", "name", true),
            ("IMAGE_SLUG", " base-image ", "name", true),
            ("SSH_PORT", "abc", "variables", true),
            ("WORKSPACE", "relative", "variables", true),
            ("IMAGE_TITLE", &long, "variables", true),
            ("GPU_COUNT", "two", "variables", true),
            ("WORKSPACE_SYNCH", "true", "variables", false),
        ] {
            let env: Env = [("IMAGE_SLUG", "mine"), (name, value)].into_iter().collect();
            let found: Vec<_> = check(&env, "base-image")
                .into_iter()
                .map(|finding| (finding.check, finding.place, finding.verdict == Verdict::Fail))
                .collect();
            assert_eq!(found, [(check_name, name.to_owned(), fails)]);
        }
    }
}
