//! Other hospitals' nodes (协同调阅): what they have of a patient, and their studies as they are. Any DICOMweb server will do; of a Hutong
//! node the manifest of a study says besides what was recognised and what each object's bytes must be.
//!
//! Asks only addresses of the configuration; never trusts what comes before it is verified.

mod client;
pub mod find;
mod part;
mod tasks;

pub use client::{Listed, Manifest, Remote, RemoteError};
pub use find::{Answer, Wanted, search};
pub use tasks::{Retrieval, Retrievals, Stage};

use serde::Deserialize;
use std::path::PathBuf;

/// Headers that say on whose behalf a hospital asks (purpose of use, clinician, encounter), and what they are called in the journal: a node
/// is told them, and tells them.
pub const ON_BEHALF: &[(&str, &str)] =
    &[("x-purpose-of-use", "purpose"), ("x-clinician", "clinician"), ("x-encounter", "encounter")];

/// `[[external]]`: a node of another hospital.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// Its name; it must be the only one of that name.
    pub name: String,
    /// Code of its hospital in the register; the name, if it is not set.
    #[serde(default)]
    pub hospital: Option<String>,
    /// Address of its DICOMweb root, such as `https://node.example/exchange/dicom-web`.
    pub url: String,
    /// File with the API key that it knows us by (`X-Api-Key`).
    #[serde(default)]
    pub api_key_file: Option<PathBuf>,
    /// File with a bearer token; read again for each request.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Certificates of the authorities that its certificate is signed by, PEM; needed for https.
    #[serde(default)]
    pub authorities: Option<PathBuf>,
    /// Our own certificate, PEM.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its key.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Speak http with a machine that is not this one: through a tunnel that hides patients and keys.
    #[serde(default)]
    pub clear: bool,
    /// Seconds that a search may take.
    #[serde(default = "ten")]
    pub seconds: u64,
}

fn ten() -> u64 {
    10
}

impl External {
    /// Code of its hospital.
    pub fn hospital(&self) -> &str {
        self.hospital.as_deref().unwrap_or(&self.name)
    }

    /// Whether what is said to it leaves this machine for all to read.
    fn is_in_the_open(&self) -> bool {
        let Some(rest) = self.url.strip_prefix("http://") else { return false };
        let authority = rest.split('/').next().unwrap_or("");
        let host = authority.strip_prefix('[').map_or_else(
            || authority.rsplit_once(':').map_or(authority, |(host, _)| host),
            |six| six.split(']').next().unwrap_or(""),
        );
        host != "localhost" && !host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// The field, and what it must be.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("external {}: {what}", self.name));
        let secure = self.url.starts_with("https://");
        match () {
            () if self.name.is_empty() => Err("an [[external]] needs a name".into()),
            () if !secure && !self.url.starts_with("http://") => wrong("url begins with https:// or http://"),
            () if secure && self.authorities.is_none() => wrong("https needs authorities: who signs its certificate"),
            () if self.certificate.is_some() != self.key.is_some() => wrong("certificate and key go together"),
            () if self.api_key_file.is_some() && self.token_file.is_some() => wrong("api_key_file or token_file, not both"),
            () if self.is_in_the_open() && !self.clear => wrong(
                "url is http to another machine, so patients' names and keys could be read: use https, or clear = true in a tunnel",
            ),
            () if self.seconds == 0 => wrong("seconds is at least 1"),
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_node_is_said() {
        let node = |url: &str| External { name: "T1".into(), url: url.into(), seconds: 10, ..External::default() };
        assert!(node("http://127.0.0.1:8080/dicom-web").check().is_ok());
        assert!(node("ftp://x").check().unwrap_err().contains("url"));
        assert!(node("https://x/dicom-web").check().unwrap_err().contains("authorities"));
        for (url, is_open) in [
            ("http://127.0.0.1:8080/x", false),
            ("http://localhost/x", false),
            ("http://[::1]:8080/x", false),
            ("http://192.0.2.9:8080/x", true),
            ("http://node.example", true),
            ("http://127.0.0.1.example/x", true),
            ("http://[2001:db8::1]/x", true),
        ] {
            assert_eq!(node(url).check().is_err(), is_open, "{url}");
            assert!(External { clear: true, ..node(url) }.check().is_ok(), "{url}");
        }
        let both = External { api_key_file: Some("a".into()), token_file: Some("b".into()), ..node("http://x") };
        assert!(both.check().unwrap_err().contains("not both"));
        assert!(External { certificate: Some("c".into()), ..node("http://x") }.check().is_err());
        assert_eq!(node("http://x").hospital(), "T1");
    }
}
