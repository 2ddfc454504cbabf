//! The address that clients know the node by: configured, or what a proxy or the client itself says (RFC 7239).

use super::accept::split;
use crate::config::Http;
use axum::http::{HeaderMap, header};

/// Scheme, host and, behind a proxy, a path before ours; without a slash at the end. `port` is the one that is listened on.
pub fn base(config: &Http, port: u16, headers: &HeaderMap) -> String {
    if let Some(url) = &config.public_url {
        return url.trim_end_matches('/').to_string();
    }
    let text = |name: &str| {
        headers.get(name).and_then(|h| h.to_str().ok()).map(|t| t.split(',').next().unwrap_or(t).trim().to_string())
    };
    let forwarded = text("forwarded").unwrap_or_default();
    let of_forwarded = |wanted: &str| {
        let pairs = split(&forwarded, ';');
        let found = pairs.iter().filter_map(|p| p.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim().trim_matches('"').to_string())
    };
    let scheme = of_forwarded("proto").or_else(|| text("x-forwarded-proto")).map(|s| s.to_lowercase());
    let scheme = scheme.filter(|s| matches!(s.as_str(), "http" | "https"));
    let scheme = scheme.unwrap_or_else(|| if config.tls_certificate.is_some() { "https" } else { "http" }.into());
    let forwarded_host = of_forwarded("host").or_else(|| text("x-forwarded-host"));
    let own = || text(header::HOST.as_str()).map(|host| with_port(host, port));
    let host = forwarded_host.or_else(own).filter(|h| is_host(h)).unwrap_or_else(|| "localhost".into());
    let prefix = text("x-forwarded-prefix").filter(|p| is_path(p)).unwrap_or_default();
    format!("{scheme}://{host}{}", prefix.trim_end_matches('/'))
}

/// Some clients leave the port out of Host. Who asks for a bare address without a port stands before us and not before a proxy.
fn with_port(host: String, port: u16) -> String {
    let bare = host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok();
    if bare && !matches!(port, 0 | 80 | 443) { format!("{host}:{port}") } else { host }
}

/// Letters of a host and port; nothing that could end the URL or a header.
fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'))
}

fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= 255
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_says_comes_before_the_host() {
        let of = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            base(&Http::default(), 8042, &headers)
        };
        assert_eq!(of(&[("host", "a:8080")]), "http://a:8080");
        assert_eq!(
            of(&[("host", "a:8080"), ("forwarded", "for=1.2.3.4;proto=https;host=\"pacs.example.org\"")]),
            "https://pacs.example.org"
        );
        assert_eq!(
            of(&[
                ("host", "a"),
                ("x-forwarded-proto", "https, http"),
                ("x-forwarded-host", "b.example, a"),
                ("x-forwarded-prefix", "/pacs/")
            ]),
            "https://b.example/pacs"
        );
        // What is no host, scheme or path is passed over.
        assert_eq!(
            of(&[("host", "a"), ("x-forwarded-host", "b/<script>"), ("x-forwarded-proto", "gopher")]),
            "http://localhost"
        );
        assert_eq!(of(&[]), "http://localhost");
        assert_eq!(
            (of(&[("host", "10.0.0.7")]), of(&[("host", "pacs")])),
            ("http://10.0.0.7:8042".into(), "http://pacs".into())
        );
        let config = Http { public_url: Some("https://x.example/".into()), ..Http::default() };
        assert_eq!(base(&config, 8042, &HeaderMap::new()), "https://x.example");
    }
}
