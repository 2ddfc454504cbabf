//! Configuration: defaults, then `hutong.toml`, then environment `HUTONG_SECTION__KEY`. Unknown keys are errors.

mod mark;

pub use mark::{CopySyntax, Mark};

use crate::access;
use crate::audit;
use crate::federation::External;
use crate::outbox::{PullRule, Rule};
use crate::peers::{Peer, Right, check_title};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that can be configured.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where data lie.
    pub storage: Storage,
    /// The DICOM port.
    pub dimse: Dimse,
    /// The web port.
    pub http: Http,
    /// Life of a study.
    pub study: Study,
    /// Decoding of untrusted pixels.
    pub codec: Codec,
    /// Marked copies.
    pub mark: Mark,
    /// Log output.
    pub log: Log,
    /// The knowledge.
    pub procedures: Procedures,
    /// Hospitals and accreditation.
    pub exchange: Exchange,
    /// Who may ask over HTTP, and how it proves who it is.
    pub access: access::Settings,
    /// Known application entities: `[[peer]]`.
    pub peer: Vec<Peer>,
    /// Rules of forwarding: `[[forward]]`.
    pub forward: Vec<Rule>,
    /// Rules of fetching: `[[pull]]`.
    pub pull: Vec<PullRule>,
    /// `[audit]`.
    pub audit: audit::Settings,
    /// Other hospitals' nodes: `[[external]]`.
    pub external: Vec<External>,
}

/// `[storage]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Data root.
    pub root: PathBuf,
    /// Free space kept, MiB: below it nothing new is taken.
    pub reserve_mib: u64,
    /// Largest object taken, MiB.
    pub max_object_mib: u64,
}

impl Default for Storage {
    fn default() -> Storage {
        Storage { root: "storage".into(), reserve_mib: 1024, max_object_mib: 16 * 1024 }
    }
}

/// `[dimse]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dimse {
    /// Our AE title.
    pub aet: String,
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// What callers may do that no `[[peer]]` names; unset: everything on a loopback address, else echo and store.
    pub unknown_callers: Option<BTreeSet<Right>>,
    /// Refuse callers that ask for another AE title than ours.
    pub check_called_aet: bool,
    /// Take SOP classes that no dictionary knows (private ones).
    pub accept_unknown_classes: bool,
    /// Take transfer syntaxes that no dictionary knows.
    pub accept_unknown_syntaxes: bool,
    /// Associations at a time.
    pub max_associations: usize,
    /// Longest PDU taken, bytes.
    pub max_pdu: u32,
    /// Wait for an association request, seconds.
    pub association_timeout: u64,
    /// Wait for the next bytes of a message, seconds.
    pub network_timeout: u64,
    /// Wait for the next message, seconds.
    pub idle_timeout: u64,
    /// Beyond loopback, let callers find and retrieve that prove nothing but their AE title.
    pub allow_open: bool,
    /// Listen on `port` in the clear.
    pub clear: bool,
    /// Port for TLS; 0 takes a free one. It needs a certificate and its key.
    pub tls_port: Option<u16>,
    /// Certificate chain, PEM.
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Authorities, PEM: callers over TLS must show a certificate of one of them, and so must peers that are called.
    pub tls_authorities: Option<PathBuf>,
    /// Peers that are called must show a certificate for their host name.
    pub tls_check_names: bool,
    /// Matches of one query; they are held in memory while they are sent.
    pub max_matches: usize,
}

impl Dimse {
    /// What callers may do that no peer entry names.
    pub fn unknown_rights(&self) -> BTreeSet<Right> {
        let usual = || if self.bind.is_loopback() { Right::ALL.into() } else { [Right::Echo, Right::Store].into() };
        self.unknown_callers.clone().unwrap_or_else(usual)
    }
}

impl Default for Dimse {
    fn default() -> Dimse {
        Dimse {
            aet: "HUTONG".into(),
            bind: IpAddr::from([127, 0, 0, 1]),
            port: 11112,
            unknown_callers: None,
            check_called_aet: true,
            accept_unknown_classes: true,
            accept_unknown_syntaxes: false,
            max_associations: 64,
            max_pdu: 1 << 18,
            association_timeout: 30,
            network_timeout: 60,
            idle_timeout: 600,
            allow_open: false,
            clear: true,
            tls_port: None,
            tls_certificate: None,
            tls_key: None,
            tls_authorities: None,
            tls_check_names: false,
            max_matches: 20_000,
        }
    }
}

/// `[http]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Public address in front of a proxy, e.g. `https://pacs.example.org`; else the request's Host is used.
    pub public_url: Option<String>,
    /// Serve beyond loopback although nobody is asked who he is.
    pub allow_open: bool,
    /// Longest request body, MiB.
    pub max_body_mib: u64,
    /// Connections at a time.
    pub max_connections: usize,
    /// Answer requests that name no media type instead of refusing them (PS3.18 8.7.5 asks for 406).
    pub lenient_accept: bool,
    /// Web pages that may ask from the browser: origins such as `https://viewer.example.org`, or `*`.
    pub cors_origins: Vec<String>,
    /// Studies that one search may look at before it is refused with 413; 0: any number.
    pub search_studies: usize,
    /// Certificate chain, PEM; with it and its key HTTPS is spoken.
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Authorities, PEM: a client whose certificate is of one of them is the hospital that has that certificate in the register.
    pub tls_client_authorities: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            bind: IpAddr::from([127, 0, 0, 1]),
            port: 8080,
            public_url: None,
            allow_open: false,
            max_body_mib: 16 * 1024,
            max_connections: 1024,
            lenient_accept: false,
            cors_origins: Vec::new(),
            search_studies: 0,
            tls_certificate: None,
            tls_key: None,
            tls_client_authorities: None,
        }
    }
}

/// `[study]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Study {
    /// A study is settled when nothing came for this long: `"60s"`, `"5m"`, or seconds.
    #[serde(deserialize_with = "duration")]
    pub quiet_period: Duration,
}

impl Default for Study {
    fn default() -> Study {
        Study { quiet_period: Duration::from_secs(60) }
    }
}

/// `[codec]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Codec {
    /// Worker processes; 0: one for each processor.
    pub workers: usize,
    /// Memory of each, MiB.
    pub memory_mib: u64,
    /// Longest time for one frame, seconds.
    pub seconds: u64,
}

impl Default for Codec {
    fn default() -> Codec {
        Codec { workers: 0, memory_mib: 2048, seconds: 30 }
    }
}

/// `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A filter such as `info` or `hutong=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Log {
        Log { format: LogFormat::Text, filter: "info".into() }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[procedures]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Procedures {
    /// A folder to use instead of the built-in procedures.
    pub root: Option<PathBuf>,
}

/// `[exchange]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exchange {
    /// File with hospitals and their accreditation; without it nothing is marked.
    pub register: Option<PathBuf>,
    /// Code of our own hospital in it: for what others have, the policy needs to know who asks.
    pub hospital: Option<String>,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not valid.
    #[error("{file}{}: {message}", line.map(|l| format!(":{l}")).unwrap_or_default())]
    File {
        /// The file.
        file: PathBuf,
        /// The line.
        line: Option<usize>,
        /// What.
        message: String,
    },
    /// An environment variable is not valid.
    #[error("environment {name}: {message}")]
    Environment {
        /// Its name.
        name: String,
        /// What.
        message: String,
    },
    /// Values that do not go together.
    #[error("{0}")]
    Value(String),
}

impl Config {
    /// Whether callers by DIMSE that see images must prove more than their name.
    pub fn dimse_is_strict(&self) -> bool {
        !self.dimse.bind.is_loopback() && !self.dimse.allow_open
    }

    /// Whether clients over HTTP must prove who they are.
    pub fn asks_who(&self) -> bool {
        !self.access.is_empty() || self.http.tls_client_authorities.is_some()
    }

    /// Reads the file (if given), then the environment (name, value).
    ///
    /// # Errors
    /// Names the file and line, or the variable, and the key.
    pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        let mut table = toml::Table::new();
        if let Some(file) = file {
            let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Read { file: file.into(), source })?;
            let wrong = |e: &toml::de::Error| ConfigError::File {
                file: file.into(),
                line: e.span().map(|span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1),
                message: e.message().to_string(),
            };
            // Read as a Config first: its errors have lines.
            toml::from_str::<Config>(&text).map_err(|e| wrong(&e))?;
            table = toml::from_str(&text).map_err(|e| wrong(&e))?;
        }
        for (name, value) in environment {
            let Some(path) = name.strip_prefix("HUTONG_") else { continue };
            let Some((section, key)) = path.split_once("__") else { continue };
            let section = table.entry(section.to_lowercase()).or_insert_with(|| toml::Table::new().into());
            if let Some(section) = section.as_table_mut() {
                section.insert(key.to_lowercase(), scalar(&value));
            }
            let config: Result<Config, _> = table.clone().try_into();
            config.map_err(|e| ConfigError::Environment { name, message: e.message().to_string() })?;
        }
        let config: Config = table.try_into().map_err(|e| ConfigError::Value(e.message().to_string()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_title(&self.dimse.aet).map_err(|e| ConfigError::Value(format!("dimse.aet: {e}")))?;
        for (n, peer) in self.peer.iter().enumerate() {
            peer.check().map_err(ConfigError::Value)?;
            if self.peer.iter().take(n).any(|p| p.aet == peer.aet) {
                return Err(ConfigError::Value(format!("peer {}: there are two of that name", peer.aet)));
            }
        }
        if self.dimse_is_strict() {
            for peer in &self.peer {
                peer.check_proof().map_err(ConfigError::Value)?;
            }
            let sees = |r: &Right| matches!(r, Right::Find | Right::Retrieve);
            if self.dimse.unknown_rights().iter().any(sees) {
                let message = "dimse.unknown_callers lets anybody find or retrieve beyond loopback; make them peers, or set dimse.allow_open";
                return Err(ConfigError::Value(message.into()));
            }
        }
        for (n, rule) in self.forward.iter().enumerate() {
            rule.check().map_err(ConfigError::Value)?;
            if self.forward.iter().take(n).any(|r| r.name == rule.name) {
                return Err(ConfigError::Value(format!("forward {}: there are two of that name", rule.name)));
            }
        }
        for (n, external) in self.external.iter().enumerate() {
            external.check().map_err(ConfigError::Value)?;
            if self.external.iter().take(n).any(|e| e.name == external.name) {
                return Err(ConfigError::Value(format!("external {}: there are two of that name", external.name)));
            }
        }
        for (n, rule) in self.pull.iter().enumerate() {
            rule.check().map_err(ConfigError::Value)?;
            if self.pull.iter().take(n).any(|r| r.name == rule.name) {
                return Err(ConfigError::Value(format!("pull {}: there are two of that name", rule.name)));
            }
        }
        if !self.dimse.clear && self.dimse.tls_port.is_none() {
            return Err(ConfigError::Value("dimse.clear = false needs dimse.tls_port: else there is no DICOM port".into()));
        }
        if !(1 << 14..=1 << 24).contains(&self.dimse.max_pdu) {
            return Err(ConfigError::Value("dimse.max_pdu: 16384 to 16777216".into()));
        }
        if [self.dimse.association_timeout, self.dimse.network_timeout, self.dimse.idle_timeout].contains(&0) {
            return Err(ConfigError::Value(
                "dimse.association_timeout, network_timeout and idle_timeout: at least 1 second".into(),
            ));
        }
        if self.dimse.max_associations == 0 {
            return Err(ConfigError::Value("dimse.max_associations: at least 1".into()));
        }
        if self.http.tls_client_authorities.is_some() && self.http.tls_certificate.is_none() {
            let message =
                "http.tls_client_authorities asks clients for certificates, which needs http.tls_certificate and http.tls_key";
            return Err(ConfigError::Value(message.into()));
        }
        self.access.check().map_err(ConfigError::Value)?;
        self.audit.check().map_err(ConfigError::Value)?;
        if !self.http.bind.is_loopback() && !self.http.allow_open && !self.asks_who() {
            let message = "http.bind is not a loopback address, and nobody is asked who he is: anybody who reaches it could read every \
                           study. Configure [[access.key]], [[access.issuer]] or http.tls_client_authorities (docs/exchange.md), or put \
                           an authenticating proxy in front and set http.allow_open = true";
            return Err(ConfigError::Value(message.into()));
        }
        Ok(())
    }
}

/// The value of a variable as the TOML it looks like, else as a string.
fn scalar(text: &str) -> toml::Value {
    let parsed = toml::from_str::<toml::Table>(&format!("v = {text}")).ok().and_then(|mut t| t.remove("v"));
    parsed.unwrap_or_else(|| toml::Value::String(text.to_string()))
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Seconds(f64),
        Text(String),
    }
    let wrong = || serde::de::Error::custom("a duration is written \"60s\", \"500ms\", \"5m\", \"2h\", or a number of seconds");
    let seconds = match Written::deserialize(deserializer)? {
        Written::Seconds(seconds) => seconds,
        Written::Text(text) => {
            let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
            let (number, unit) = text.split_at(at);
            let factor = match unit {
                "ms" => 0.001,
                "" | "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                _ => return Err(wrong()),
            };
            number.trim().parse::<f64>().map_err(|_| wrong())? * factor
        }
    };
    if !(0.0..=31_536_000.0).contains(&seconds) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, env: &[(&str, &str)]) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        let env = env.iter().map(|(a, b)| (a.to_string(), b.to_string()));
        Config::load(Some(file.path()), env).map_err(|e| e.to_string())
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let env = [("HUTONG_DIMSE__PORT", "104"), ("HUTONG_DIMSE__AET", "NODE7"), ("HUTONG_STUDY__QUIET_PERIOD", "500ms")];
        let config = load("[dimse]\nport = 4242\n[storage]\nroot = \"/data\"\n", &env).unwrap();
        assert_eq!((config.dimse.port, config.dimse.aet.as_str()), (104, "NODE7"));
        assert_eq!(config.storage.root, Path::new("/data"));
        assert_eq!(config.study.quiet_period, Duration::from_millis(500));
        assert_eq!(config.http.port, 8080);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_line_or_variable() {
        assert!(load("[dimse]\nprot = 1\n", &[]).unwrap_err().contains(":2: unknown field `prot`"));
        assert!(load("", &[("HUTONG_DIMSE__PROT", "1")]).unwrap_err().contains("HUTONG_DIMSE__PROT"));
        assert_eq!(load("[mark]\ntransfer_syntax = \"jpeg-2000\"\n", &[]).unwrap().mark.transfer_syntax, CopySyntax::Jpeg2000);
        assert!(load("[mark]\ntransfer_syntax = \"jpeg\"\n", &[]).is_err());
        assert!(load("[http]\nbind = \"0.0.0.0\"\n", &[]).unwrap_err().contains("allow_open"));
        assert!(load("[study]\nquiet_period = \"soon\"\n", &[]).unwrap_err().contains("60s"));
    }
}
