//! `IMAGE_SLUG`: the name of the image in directory names of the workspace.

use kit::SettingsReader;

/// Slug of the base image.
pub const DEFAULT_SLUG: &str = "base-image";
/// Long enough for repository and tag, short enough for all file systems with a suffix.
const MAX_LENGTH: usize = 64;

/// Reads `IMAGE_SLUG`; a value that is not a plain file name is reported and replaced by the default.
#[must_use]
pub fn slug_from_setting(reader: &mut SettingsReader<'_>) -> String {
    match reader.text("IMAGE_SLUG") {
        Some(slug) if is_plain(&slug) => slug,
        Some(slug) => {
            reader.problem(
                "IMAGE_SLUG",
                format!(
                    "{slug:?} is not 1 to {MAX_LENGTH} letters, digits, \".\", \"_\" or \"-\", the first a letter, digit \
                     or \"_\"; using {DEFAULT_SLUG:?}"
                ),
            );
            DEFAULT_SLUG.to_owned()
        }
        None => DEFAULT_SLUG.to_owned(),
    }
}

/// A leading dot would hide it or climb, a dash would look like an option.
fn is_plain(slug: &str) -> bool {
    slug.len() <= MAX_LENGTH
        && !slug.starts_with(['.', '-'])
        && slug.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(value: &str) -> (String, usize) {
        let env = [("IMAGE_SLUG", value)].into_iter().collect();
        let mut reader = SettingsReader::new(&env);
        (slug_from_setting(&mut reader), reader.into_problems().len())
    }

    #[test]
    fn plain_names_are_taken_and_blank_means_the_default() {
        for slug in ["comfyui", "A_b-1.2", "_x", "9", &"a".repeat(64)] {
            assert_eq!(read_one(slug), (slug.to_owned(), 0));
        }
        for blank in ["", "  "] {
            assert_eq!(read_one(blank), ("base-image".to_owned(), 0));
        }
    }

    #[test]
    fn whatever_could_leave_its_directory_is_refused() {
        for slug in ["..", ".hidden", "-rf", "a/b", "../x", "a b", "a\nb", "ä", "$(id)", &"a".repeat(65)] {
            assert_eq!(read_one(slug), ("base-image".to_owned(), 1), "{slug:?}");
        }
    }
}
