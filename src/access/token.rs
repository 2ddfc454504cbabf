//! JSON web tokens: signed by a key of the issuer's set, for this audience, for now (RFC 7519, RFC 8725).
//!
//! Never takes a symmetric algorithm or none, and never looks for a key where the token says.

use super::{Denied, Issuer, Principal, Role};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Longest token, bytes.
const LONGEST: usize = 16 << 10;

const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Claims that go to the journal, and what they are called there.
const SAID: &[(&str, &str)] = &[("purpose_of_use", "purpose"), ("clinician", "clinician"), ("encounter", "encounter")];

/// Public keys of the issuers, as their files are now.
#[derive(Default)]
pub(super) struct Keys(Mutex<BTreeMap<String, (SystemTime, JwkSet)>>);

impl Keys {
    fn of(&self, issuer: &Issuer) -> Option<JwkSet> {
        let changed = std::fs::metadata(&issuer.jwks).and_then(|m| m.modified());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = known.get(&issuer.issuer);
        let Ok(changed) = changed else {
            tracing::error!(issuer = issuer.issuer, "its key set cannot be read");
            return held.map(|(_, set)| set.clone());
        };
        if let Some((_, set)) = held.filter(|(when, _)| *when == changed) {
            return Some(set.clone());
        }
        let read = std::fs::read(&issuer.jwks).ok().and_then(|bytes| serde_json::from_slice::<JwkSet>(&bytes).ok());
        match read {
            Some(set) => {
                known.insert(issuer.issuer.clone(), (changed, set.clone()));
                Some(set)
            }
            None => {
                tracing::error!(issuer = issuer.issuer, "its key set does not read; what was read last holds");
                held.map(|(_, set)| set.clone())
            }
        }
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    /// Why nobody.
    pub(super) fn principal(&self, token: &str, issuers: &[Issuer]) -> Result<Principal, Denied> {
        if token.len() > LONGEST {
            return Err(Denied::Malformed);
        }
        let header = decode_header(token).map_err(|_| Denied::Malformed)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Denied::Malformed);
        }
        let claimed = unverified_issuer(token).ok_or(Denied::Malformed)?;
        let issuer = issuers.iter().find(|i| i.issuer == claimed).ok_or(Denied::Issuer)?;
        let set = self.of(issuer).ok_or(Denied::Issuer)?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[&issuer.audience]);
        validation.set_issuer(&[&issuer.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = issuer.leeway_seconds;
        // A token without a key's name may be of any of them.
        // A key that is for encryption signs nothing (RFC 7517 4.2).
        let signs = |jwk: &jsonwebtoken::jwk::Jwk| !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
        let fits = |jwk: &&jsonwebtoken::jwk::Jwk| signs(jwk) && (header.kid.is_none() || jwk.common.key_id == header.kid);
        let mut why = Denied::Signature;
        for jwk in set.keys.iter().filter(fits) {
            let Ok(key) = DecodingKey::from_jwk(jwk) else { continue };
            match decode::<Map<String, Json>>(token, &key, &validation) {
                Ok(token) => return speaks_for(issuer, &token.claims),
                Err(e) => {
                    if matches!(
                        e.kind(),
                        ErrorKind::ExpiredSignature
                            | ErrorKind::ImmatureSignature
                            | ErrorKind::InvalidAudience
                            | ErrorKind::InvalidIssuer
                            | ErrorKind::MissingRequiredClaim(_)
                    ) {
                        why = Denied::Claims;
                    }
                }
            }
        }
        Err(why)
    }
}

/// Who the token says that it is from, to know whose keys to check it with.
fn unverified_issuer(token: &str) -> Option<String> {
    use base64::Engine;
    let payload = token.split('.').nth(1)?;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Map<String, Json> = serde_json::from_slice(&bytes).ok()?;
    claims.get("iss")?.as_str().map(str::to_string)
}

fn speaks_for(issuer: &Issuer, claims: &Map<String, Json>) -> Result<Principal, Denied> {
    let text = |name: &str| claims.get(name).and_then(Json::as_str);
    let listed: Vec<&str> = match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Json::String(text)) => text.split(' ').collect(),
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let role = listed.iter().filter_map(|scope| issuer.scopes.get(*scope)).max().copied().ok_or(Denied::Role)?;
    let hospital = text(&issuer.hospital_claim).map(str::to_string);
    let its = |code: &String| issuer.hospitals.is_empty() || issuer.hospitals.contains(code);
    if role == Role::Exchange && !hospital.as_ref().is_some_and(its) {
        return Err(Denied::Role);
    }
    let subject = text("sub").or_else(|| text("client_id")).or_else(|| text("azp")).unwrap_or("");
    let of = hospital.as_deref().unwrap_or("");
    let name: String =
        format!("token {subject} {of} {}", issuer.issuer).chars().filter(|c| !c.is_control()).take(256).collect();
    let said = SAID.iter().filter_map(|(claim, name)| Some(((*name).to_string(), text(claim)?.to_string())));
    let hospital = hospital.filter(|_| role == Role::Exchange);
    Ok(Principal { name, role, hospital, says: said.collect() })
}
