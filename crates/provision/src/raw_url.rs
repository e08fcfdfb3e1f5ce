//! Addresses of scripts behind the web pages that show them.

use crate::address::Address;

/// Returns the address of the plain text behind a page of a known site.
pub fn raw_url(page: &Address) -> Option<String> {
    let parts: Vec<&str> = page.path().split('/').filter(|part| !part.is_empty()).collect();
    let raw = match (page.host_name(), parts.as_slice()) {
        ("gist.github.com", [user, id]) => format!("https://gist.github.com/{user}/{id}/raw"),
        ("pastebin.com", [id]) => format!("https://pastebin.com/raw/{id}"),
        ("github.com", [user, repository, "blob", rest @ ..]) if !rest.is_empty() => {
            format!("https://raw.githubusercontent.com/{user}/{repository}/{}", rest.join("/"))
        }
        ("huggingface.co", [before @ .., "blob", revision, file]) if before.len() >= 2 => {
            format!("https://huggingface.co/{}/resolve/{revision}/{file}", before.join("/"))
        }
        ("gitlab.com", [before @ .., "-", "blob", revision, file]) if before.len() >= 2 => {
            format!("https://gitlab.com/{}/-/raw/{revision}/{file}", before.join("/"))
        }
        _ => return None,
    };
    Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn a_page_that_people_paste_has_its_raw_form_named() {
        for (page, raw) in [
            ("https://gist.github.com/ada/123", "https://gist.github.com/ada/123/raw"),
            ("https://pastebin.com/abc", "https://pastebin.com/raw/abc"),
            ("https://github.com/a/b/blob/main/x/y.sh", "https://raw.githubusercontent.com/a/b/main/x/y.sh"),
            ("https://huggingface.co/a/b/blob/main/x.sh", "https://huggingface.co/a/b/resolve/main/x.sh"),
            ("https://gitlab.com/a/b/-/blob/main/x.sh", "https://gitlab.com/a/b/-/raw/main/x.sh"),
        ] {
            assert_eq!(raw_url(&address(page)).as_deref(), Some(raw));
            assert_eq!(raw_url(&address(raw)), None, "{raw}");
        }
        assert_eq!(raw_url(&address("https://example.com/blob/x")), None);
    }
}
