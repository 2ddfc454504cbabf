//! Content negotiation (PS3.18 8.7): media ranges with q, `type` and `transfer-syntax`, quoted or not.

use super::problem::Problem;
use axum::http::{HeaderMap, header};

/// One media range of an Accept header or `accept` parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// `type/subtype`, lower case.
    pub media: String,
    /// Parameters, names lower case, quotes off.
    pub parameters: Vec<(String, String)>,
    /// Weight, 0 to 1.
    pub q: f64,
}

impl Range {
    /// A parameter by name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The media type asked for; for multipart/related the one inside.
    pub fn wanted(&self) -> String {
        match self.media.as_str() {
            "multipart/related" => self.parameter("type").unwrap_or("*/*").to_lowercase(),
            media => media.to_string(),
        }
    }

    fn covers(&self, media: &str) -> bool {
        let wanted = self.wanted();
        wanted == media || wanted == "*/*" || wanted.strip_suffix('*').is_some_and(|kind| media.starts_with(kind))
    }
}

/// The ranges of a request, heaviest first; the `accept` parameter wins over the header (8.3.3.1).
pub fn ranges(headers: &HeaderMap, query: &[(String, String)]) -> Vec<Range> {
    let parameter = query.iter().find(|(k, _)| k.eq_ignore_ascii_case("accept")).map(|(_, v)| v.clone());
    let header = || {
        let values: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
        if values.is_empty() { "*/*".to_string() } else { values.join(",") }
    };
    let mut ranges: Vec<Range> = split(&parameter.unwrap_or_else(header), ',').iter().filter_map(|text| range(text)).collect();
    ranges.sort_by(|a, b| b.q.total_cmp(&a.q));
    ranges
}

/// The best of the media types on offer, and the range that asked for it.
///
/// # Errors
/// None is acceptable.
pub fn choose<'a>(ranges: &[Range], offered: &[&'a str]) -> Result<(&'a str, Range), Problem> {
    for range in ranges.iter().filter(|r| r.q > 0.0) {
        if let Some(media) = offered.iter().find(|media| range.covers(media)) {
            return Ok((media, range.clone()));
        }
    }
    Err(Problem::unacceptable(format!("this resource can be had as {}", offered.join(", "))))
}

fn range(text: &str) -> Option<Range> {
    let mut parts = split(text, ';').into_iter();
    let media = parts.next()?.trim().to_lowercase();
    if !media.contains('/') {
        return None;
    }
    let parameters: Vec<(String, String)> = parts
        .filter_map(|p| p.split_once('=').map(|(n, v)| (n.trim().to_lowercase(), v.trim().trim_matches('"').to_string())))
        .collect();
    let q = parameters.iter().find(|(n, _)| n == "q").map_or(1.0, |(_, v)| v.parse().unwrap_or(0.0));
    Some(Range { media, parameters, q })
}

/// Splits at a separator outside of quotes.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        if c == separator && !quoted {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accept: &str) -> Vec<Range> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        ranges(&headers, &[])
    }

    #[test]
    fn weights_quotes_and_unknown_types_are_understood() {
        let offered = ["image/jpeg", "image/png"];
        assert_eq!(choose(&of("image/webp, image/png;q=0.9, image/jpeg;q=0.5"), &offered).unwrap().0, "image/png");
        assert_eq!(choose(&of("image/*"), &offered).unwrap().0, "image/jpeg");
        assert!(choose(&of("text/html"), &offered).is_err());
        assert!(choose(&of("image/png;q=0"), &offered).is_err());
        for accept in [
            "multipart/related; type=\"application/dicom\"; transfer-syntax=\"*\"",
            "multipart/related; type=application/dicom; transfer-syntax=*",
        ] {
            let (media, range) = choose(&of(accept), &["application/dicom"]).unwrap();
            assert_eq!((media, range.parameter("transfer-syntax")), ("application/dicom", Some("*")));
        }
    }
}
