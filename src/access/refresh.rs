//! Key sets that an issuer publishes at an address (jwks_uri of OpenID Connect Discovery): fetched from time to time into the issuer's file, which
//! stays what tokens are checked with. An issuer that cannot be reached changes nothing.

use super::{Denied, Issuer};
use crate::dimse::ClientTls;
use jsonwebtoken::jwk::JwkSet;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often sets are fetched.
const EVERY: Duration = Duration::from_secs(600);
/// Least time between two fetches, whatever tokens come.
const LEAST: Duration = Duration::from_secs(10);
/// Longest key set, bytes.
const LONGEST: u64 = 1 << 20;

/// Fetches the sets of all issuers that have an address, until it is told to stop; sooner when a token named a key that nobody knows.
pub fn follow(issuers: &[Issuer], unknown_key: &AtomicBool, stopping: &AtomicBool) {
    let published: Vec<(&Issuer, &str)> = issuers.iter().filter_map(|i| Some((i, i.jwks_url.as_deref()?))).collect();
    let mut last: Option<Instant> = None;
    while !published.is_empty() && !stopping.load(Ordering::Relaxed) {
        let age = last.map_or(Duration::MAX, |at| at.elapsed());
        if age >= EVERY || (age >= LEAST && unknown_key.swap(false, Ordering::Relaxed)) {
            for (issuer, url) in &published {
                if let Err(why) = fetch(issuer, url) {
                    tracing::warn!(issuer = issuer.issuer, why, "its key set cannot be fetched; the one that is there holds");
                }
            }
            last = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// Fetches one set into its file, whole or not at all.
fn fetch(issuer: &Issuer, url: &str) -> Result<(), String> {
    let mut agent = ureq::AgentBuilder::new().redirects(0).timeout(Duration::from_secs(10));
    if let Some(authorities) = &issuer.jwks_authorities {
        agent = agent.tls_config(ClientTls::new(authorities, None, true)?.config());
    }
    let answer = agent.build().get(url).set("Accept", "application/json").call().map_err(|e| match e {
        ureq::Error::Status(status, _) => format!("HTTP status {status}"),
        ureq::Error::Transport(e) => e.kind().to_string(),
    })?;
    let mut text = Vec::new();
    answer.into_reader().take(LONGEST + 1).read_to_end(&mut text).map_err(|e| e.to_string())?;
    let set: JwkSet = serde_json::from_slice(&text).map_err(|_| "what stands there is no JSON Web Key Set")?;
    if set.keys.is_empty() || text.len() as u64 > LONGEST {
        return Err("the set is empty, or too long".into());
    }
    // Unchanged: the file's date tells readers that there is something new.
    if std::fs::read(&issuer.jwks).is_ok_and(|known| known == text) {
        return Ok(());
    }
    write(&issuer.jwks, &text).map_err(|e| e.to_string())
}

fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text)?;
    std::fs::File::open(&draft)?.sync_all()?;
    std::fs::rename(draft, path)
}

/// What is wrong with an issuer's address: keys that come in the clear from elsewhere could be anybody's.
///
/// # Errors
/// What it must be.
pub(super) fn check(issuer: &Issuer) -> Result<(), String> {
    let Some(url) = &issuer.jwks_url else { return Ok(()) };
    let local = ["http://127.0.0.1:", "http://[::1]:", "http://localhost:"].iter().any(|start| url.starts_with(start));
    if url.starts_with("https://") || local {
        Ok(())
    } else {
        Err(format!("access.issuer {}: jwks_url begins with https://", issuer.issuer))
    }
}

/// A signature that no known key made may be of a new one.
pub(super) fn may_be_new(why: Denied) -> bool {
    matches!(why, Denied::Signature | Denied::Issuer)
}
