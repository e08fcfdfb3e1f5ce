//! A response of the portal, formatted as one line.

use axum::http::{HeaderMap, header};

use super::fixture::{TOKEN, WRONG};

/// Response of the portal.
pub struct PortalResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

/// Headers that are part of the line.
const SHOWN_HEADERS: [&str; 6] = [
    "retry-after",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "cookie",
    "authorization",
    "referer",
];

impl PortalResponse {
    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns the cookies that are set, without their attributes.
    pub fn cookies(&self) -> Vec<String> {
        let lines = self.headers.get_all(header::SET_COOKIE).iter();
        lines.map(|line| line.to_str().unwrap().split(';').next().unwrap().to_owned()).collect()
    }

    /// Returns the heading of a page with its main controls, the message of an error, or the text of any other response.
    fn text(&self) -> String {
        if let Some((_, message)) = self.body.split_once("<p id=\"message\" role=\"alert\">") {
            return message.split("</p>").next().unwrap().replace("&#39;", "'");
        }
        let Some((_, heading)) = self.body.split_once("<h1>") else { return self.body.trim().to_owned() };
        let heading = heading.split("</h1>").next().unwrap();
        let marks =
            [("type=\"password\"", "password"), ("id=\"portal\"", "portal"), ("/leonardo/logout", "logout")];
        let found =
            marks.iter().filter(|(mark, _)| self.body.contains(mark)).map(|(_, word)| format!(" ({word})"));
        format!("<{heading}>{}", found.collect::<String>())
    }
}

/// Formats status, redirect, challenge, headers, cookies and text. Random codes become `$CODE`.
impl std::fmt::Display for PortalResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut words = vec![self.status.to_string()];
        if let Some(location) = self.header("location") {
            let (before, code) = location.split_once("code=").unwrap_or((location, ""));
            let after = code.split_once('&').map(|(_, after)| format!("code=$CODE&{after}"));
            words.push(format!("to {before}{}", after.unwrap_or_default()));
        }
        if let Some(challenge) = self.header("www-authenticate") {
            words.push(if challenge.contains("Basic") { "Bearer+Basic" } else { "Bearer" }.to_owned());
        }
        words.extend(SHOWN_HEADERS.iter().filter_map(|name| Some(format!("{name}: {}", self.header(name)?))));
        words.extend(self.cookies().iter().map(|cookie| match cookie.split_once('=').unwrap() {
            (name, "") => format!("deletes {name}"),
            (name, _) => format!("sets {name}"),
        }));
        let text = self.text();
        words.extend((!text.is_empty() && !text.starts_with('{')).then_some(text));
        f.write_str(&words.join(" ").replace(TOKEN, "$TOKEN").replace(WRONG, "$WRONG"))
    }
}
