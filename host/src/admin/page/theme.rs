//! The theme of the pages: light, dark, or that of the system. It is a cookie of the browser, and
//! nothing that the host knows of.

use axum::http::{HeaderMap, header};

/// Every theme; the first one is that of a browser without a cookie.
pub(in crate::admin::page) const THEMES: [&str; 3] = ["system", "light", "dark"];

/// The cookie.
pub(in crate::admin::page) const COOKIE: &str = "hb-theme";

/// The theme that a browser asks for.
pub(in crate::admin::page) fn of(headers: &HeaderMap) -> &'static str {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|it| it.split_once('='));
    let wanted = pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, value)| value.trim());
    known(wanted.unwrap_or_default()).unwrap_or(THEMES[0])
}

/// The theme of this name.
pub(in crate::admin::page) fn known(name: &str) -> Option<&'static str> {
    THEMES.into_iter().find(|theme| *theme == name)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_theme_is_one_of_those_that_there_are() {
        let with = |cookie: &'static str| {
            let value = HeaderValue::from_static(cookie);
            of(&HeaderMap::from_iter([(header::COOKIE, value)]))
        };
        assert_eq!(of(&HeaderMap::new()), "system");
        assert_eq!(with("hb-time=utc; hb-theme=dark"), "dark");
        assert_eq!(with("hb-theme=light"), "light");
        assert_eq!(with("hb-theme=\"><script>"), "system");
        assert_eq!(with("xhb-theme=dark"), "system");
    }
}
