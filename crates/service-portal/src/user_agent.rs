//! A browser or program in words, from its `User-Agent`.
//!
//! Anyone can send any text, so the result is a description and no proof; text without a known form is not repeated.

/// Browsers by their product token. Derived browsers also have the tokens of the original, so they come first.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg", "Edge"),
    ("EdgA", "Edge"),
    ("EdgiOS", "Edge"),
    ("OPR", "Opera"),
    ("OPX", "Opera"),
    ("Vivaldi", "Vivaldi"),
    ("YaBrowser", "Yandex Browser"),
    ("SamsungBrowser", "Samsung Internet"),
    ("DuckDuckGo", "DuckDuckGo"),
    ("Code", "VS Code"),
    ("FxiOS", "Firefox"),
    ("Firefox", "Firefox"),
    ("CriOS", "Chrome"),
    ("HeadlessChrome", "Headless Chrome"),
    ("Chrome", "Chrome"),
    // Safari's own version is in this token.
    ("Version", "Safari"),
];

/// Systems by a part of the comment in parentheses; Android also names Linux, and iPhones name Mac OS X.
const SYSTEMS: &[(&str, &str)] = &[
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("FreeBSD", "FreeBSD"),
    ("Linux", "Linux"),
];

/// Maximum length of a program's name; longer ones are not repeated.
const MAX_NAME_LENGTH: usize = 30;

/// Returns `Chrome 131 on macOS`, `curl 7.88` or `unknown program`.
pub fn describe(agent: &str) -> String {
    let products: Vec<Product<'_>> =
        agent.split([' ', '(', ')', ';', ',']).filter_map(Product::parse).collect();
    if !agent.starts_with("Mozilla/") {
        return products
            .first()
            .map_or_else(|| "unknown program".to_owned(), |program| program.with_version(2));
    }
    let browser = BROWSERS.iter().find_map(|(token, name)| {
        let version = products.iter().find(|product| product.name == *token)?.version;
        Some(Product { name, version }.with_version(1))
    });
    let system = SYSTEMS.iter().find(|(part, _)| agent.contains(part));
    let browser = browser.unwrap_or_else(|| "unknown browser".to_owned());
    system.map_or_else(|| browser.clone(), |(_, system)| format!("{browser} on {system}"))
}

/// A product token, `NAME/VERSION` (RFC 9110, 10.1.5).
#[derive(Debug, Clone, Copy)]
struct Product<'a> {
    name: &'a str,
    version: &'a str,
}

impl<'a> Product<'a> {
    fn parse(word: &'a str) -> Option<Self> {
        let (name, version) = word.split_once('/')?;
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.len() <= MAX_NAME_LENGTH
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let version = version.strip_prefix('v').unwrap_or(version);
        (is_name && version.starts_with(|first: char| first.is_ascii_digit()))
            .then_some(Self { name, version })
    }

    /// Returns the name with the first `parts` numbers of the version.
    fn with_version(self, parts: usize) -> String {
        let numbers = self.version.split('.').take(parts).map(|part| {
            let digits = part.bytes().take(6).take_while(u8::is_ascii_digit).count();
            &part[..digits]
        });
        let numbers: Vec<&str> = numbers.take_while(|digits| !digits.is_empty()).collect();
        format!("{} {}", self.name, numbers.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEBKIT: &str = "AppleWebKit/537.36 (KHTML, like Gecko)";

    #[test]
    fn browsers_are_named_with_their_system() {
        for (agent, words) in [
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) WEBKIT Chrome/131.0.0.0 Safari/537.36",
                "Chrome 131 on macOS",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) WEBKIT Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.86",
                "Edge 131 on Windows",
            ),
            (
                "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
                "Firefox 133 on Linux",
            ),
            (
                "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0",
                "Firefox 133 on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
                "Safari 18 on iPhone",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1",
                "Chrome 131 on iPad",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) WEBKIT Code/1.95.3 Chrome/128.0.6613.186 Electron/32.2.1 Safari/537.36",
                "VS Code 1 on Linux",
            ),
            ("Mozilla/5.0", "unknown browser"),
            ("Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0)", "unknown browser on Linux"),
        ] {
            assert_eq!(describe(&agent.replace("WEBKIT", WEBKIT)), words, "{agent}");
        }
    }

    #[test]
    fn programs_are_named_with_their_version() {
        for (agent, words) in [
            ("curl/7.88.1", "curl 7.88"),
            ("Python/3.11 aiohttp/3.9.5", "Python 3.11"),
            ("node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", "node-fetch 1.0"),
        ] {
            assert_eq!(describe(agent), words, "{agent}");
        }
    }

    #[test]
    fn hostile_text_is_not_repeated() {
        let long = format!("{}/1", "x".repeat(31));
        for agent in ["", "a/b", "<script>alert(1)</script>/1", "\u{202e}lruc/7", long.as_str()] {
            assert_eq!(describe(agent), "unknown program", "{agent:?}");
        }
        assert_eq!(describe("curl/99999999999999.1<b>"), "curl 999999.1");
        assert_eq!(describe("curl/7ä.88"), "curl 7.88");
        assert_eq!(describe("Mozilla/5.0 (<b>x</b>) Chrome/<i>"), "unknown browser");
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_short_harmless_description(agent in "\\PC{0,200}") {
            let words = describe(&agent);
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_. ".contains(letter);
            proptest::prop_assert!(words.len() <= 60 && words.chars().all(is_plain), "{words}");
        }
    }
}
