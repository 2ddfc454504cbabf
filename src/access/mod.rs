//! Who asks over HTTP: a client certificate, a bearer token of a configured issuer, or an API key becomes one principal, once, at the edge.
//!
//! Never keeps a secret: keys are stored as digests, tokens are checked with public keys. What does not prove who it is, is nobody.

mod guard;
mod refresh;
mod token;

pub use guard::Guard;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What a principal may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Another hospital: the exchange root and the exchange's services, as far as the policy grants.
    Exchange,
    /// The owner's systems: everything that is stored, and storing.
    House,
    /// The owner's administrators: the API besides.
    Admin,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// As it stands in the journal.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Code of its hospital in the register; another hospital's principal always has one.
    pub hospital: Option<String>,
    /// What its token says beside: purpose of use, clinician, encounter.
    pub says: BTreeMap<String, String>,
}

impl Principal {
    /// Everybody, where nothing is configured and only this machine can ask.
    pub fn open() -> Principal {
        Principal { name: "local".into(), role: Role::Admin, hospital: None, says: BTreeMap::new() }
    }
}

/// `[access]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// API keys: `[[access.key]]`.
    pub key: Vec<Key>,
    /// Issuers of tokens: `[[access.issuer]]`.
    pub issuer: Vec<Issuer>,
    /// Another hospital's queries need not name a patient.
    pub browse: bool,
    /// Requests a minute of one principal of another hospital; 0: any number.
    pub requests_per_minute: u32,
    /// Failures to prove who it is from one address within a minute before that address is locked out.
    pub failures: u32,
    /// So long, seconds.
    pub lockout_seconds: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { key: vec![], issuer: vec![], browse: false, requests_per_minute: 1200, failures: 20, lockout_seconds: 60 }
    }
}

impl Settings {
    /// Whether anybody could prove who it is with these.
    pub fn is_empty(&self) -> bool {
        self.key.is_empty() && self.issuer.is_empty()
    }

    /// What is wrong with them.
    ///
    /// # Errors
    /// The entry and the field.
    pub fn check(&self) -> Result<(), String> {
        for key in &self.key {
            if key.sha256.len() != 64 || !key.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(format!("access.key {}: sha256 is 64 hexadecimal digits; `hutong access-key` makes one", key.name));
            }
            if (key.role == Role::Exchange) != key.hospital.is_some() {
                return Err(format!("access.key {}: role exchange needs a hospital, others have none", key.name));
            }
        }
        self.issuer.iter().try_for_each(refresh::check)
    }
}

/// A static API key, as its digest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Whose it is; stands in the journal.
    pub name: String,
    /// SHA-256 of the key, hexadecimal.
    pub sha256: String,
    /// What it allows.
    pub role: Role,
    /// Code of the hospital, for role exchange.
    #[serde(default)]
    pub hospital: Option<String>,
}

/// An issuer of JSON web tokens (RFC 7519).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its `iss`.
    pub issuer: String,
    /// The `aud` that means this node.
    pub audience: String,
    /// File with its public keys (RFC 7517); read again when it changes.
    pub jwks: PathBuf,
    /// Where it publishes them: fetched into that file every ten minutes, and when a token names another key.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// PEM file of the authorities that its certificate comes from; those of the system's web trust where there is none.
    #[serde(default)]
    pub jwks_authorities: Option<PathBuf>,
    /// Claim with the code of the hospital.
    #[serde(default = "hospital_claim")]
    pub hospital_claim: String,
    /// Hospitals that it may speak for; empty: all.
    #[serde(default)]
    pub hospitals: BTreeSet<String>,
    /// Scope that means each role; the highest one counts. Unless it is said otherwise no issuer makes anybody of the house.
    #[serde(default = "scopes")]
    pub scopes: BTreeMap<String, Role>,
    /// Difference between clocks that is borne, seconds.
    #[serde(default = "leeway")]
    pub leeway_seconds: u64,
}

fn hospital_claim() -> String {
    "hospital".into()
}

fn scopes() -> BTreeMap<String, Role> {
    [("hutong.exchange".to_string(), Role::Exchange)].into()
}

fn leeway() -> u64 {
    60
}

/// What a request brings to prove who asks.
#[derive(Debug, Clone, Default)]
pub struct Credentials<'a> {
    /// SHA-256 of the client's certificate, whose chain was checked.
    pub certificate: Option<&'a str>,
    /// The Authorization header.
    pub authorization: Option<&'a str>,
    /// The X-Api-Key header.
    pub api_key: Option<&'a str>,
}

/// Why nobody was recognised. Clients are told no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing was brought.
    #[error("no credentials")]
    Nothing,
    /// The Authorization header is of another kind.
    #[error("credentials of another kind than Bearer")]
    Kind,
    /// No such key.
    #[error("unknown key")]
    Key,
    /// The token is no token, or of an algorithm that is not taken.
    #[error("malformed token")]
    Malformed,
    /// Nobody knows its issuer.
    #[error("unknown issuer")]
    Issuer,
    /// Its signature is not good.
    #[error("bad signature")]
    Signature,
    /// For somebody else, expired, or not valid yet.
    #[error("token not for now or not for here")]
    Claims,
    /// No scope that means a role, or no hospital.
    #[error("no role")]
    Role,
    /// A certificate that no hospital has.
    #[error("unknown certificate")]
    Certificate,
    /// The hospital is not in the register, or takes no part.
    #[error("the hospital takes no part")]
    Hospital,
    /// A key or a token that the register does not name among the hospital's clients.
    #[error("not a client that speaks for the hospital")]
    Client,
    /// Too many failures from this address.
    #[error("locked out")]
    LockedOut,
    /// The first request over the bound within a minute: it stands in the journal, those after it do not.
    #[error("too many requests within a minute")]
    Exceeded,
    /// Too many requests.
    #[error("too many requests")]
    TooMany,
}

/// SHA-256, lower case hexadecimal.
pub fn digest(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}
