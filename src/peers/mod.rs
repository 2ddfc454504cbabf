//! The application entities that this node knows: who may call for what, and where they are called. From `[[peer]]` of the configuration,
//! changed while the node runs, kept in `peers.json` below the data root.
//!
//! Never decides by the AE title alone where more is known: a peer's address and certificate must fit too.

mod calls;

pub use calls::Calls;

pub use crate::dimse::check_title;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// C-ECHO.
    Echo,
    /// C-STORE and performed procedure steps.
    Store,
    /// C-FIND.
    Find,
    /// C-MOVE and C-GET.
    Retrieve,
    /// Storage commitment.
    Commit,
}

impl Right {
    /// All of them.
    pub const ALL: [Right; 5] = [Right::Echo, Right::Store, Right::Find, Right::Retrieve, Right::Commit];

    fn all() -> BTreeSet<Right> {
        Right::ALL.into()
    }
}

/// A known application entity: `[[peer]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its AE title, 1 to 16 characters.
    pub aet: String,
    /// Where it listens, `host:port`: as destination of C-MOVE, of forwarding, of storage commitment results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Addresses it may call from, alone or with a prefix length (`10.1.0.0/16`); empty: any.
    #[serde(default)]
    pub from: Vec<Network>,
    /// What it may do here.
    #[serde(default = "Right::all")]
    pub rights: BTreeSet<Right>,
    /// It belongs to another hospital: recognised studies and their marked copies are all that it is shown or sent.
    #[serde(default)]
    pub exchange: bool,
    /// It speaks TLS: it is called so, and may not call in the clear.
    #[serde(default)]
    pub tls: bool,
    /// SHA-256 of its certificate, hexadecimal: the only one it may call with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// SHA-256 of the passcode it must give as user identity (PS3.7 D.3.3.7), hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passcode_sha256: Option<String>,
    /// Associations that it may have at a time; 0: as many as all.
    #[serde(default)]
    pub max_associations: usize,
    /// Associations that are opened to it at a time when objects are forwarded.
    #[serde(default = "one")]
    pub send_associations: usize,
    /// It answers storage commitment: what is forwarded to it counts as done only when it has committed it.
    #[serde(default)]
    pub commits: bool,
}

fn one() -> usize {
    1
}

impl Peer {
    /// Whether a caller of this name must prove more than the name.
    fn is_proven(&self) -> bool {
        !self.from.is_empty() || self.certificate.is_some() || self.passcode_sha256.is_some()
    }

    /// What it may do: another hospital never stores here, and is not told what is kept.
    fn granted(&self) -> BTreeSet<Right> {
        let shown = [Right::Echo, Right::Find, Right::Retrieve];
        self.rights.iter().copied().filter(|right| !self.exchange || shown.contains(right)).collect()
    }

    /// An AE title is a claim: beyond loopback who sees images must prove it by address, certificate or passcode.
    ///
    /// # Errors
    /// What is missing.
    pub fn check_proof(&self) -> Result<(), String> {
        if self.exchange && self.certificate.is_none() {
            return Err(format!(
                "peer {}: another hospital's AE (exchange = true) needs tls = true and its certificate beyond loopback (or dimse.allow_open = \
                 true)",
                self.aet
            ));
        }
        let sees = self.rights.contains(&Right::Find) || self.rights.contains(&Right::Retrieve);
        if sees && !self.is_proven() {
            return Err(format!(
                "peer {}: who may find or retrieve beyond loopback needs from, certificate or passcode_sha256 (or dimse.allow_open = true)",
                self.aet
            ));
        }
        Ok(())
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// The field, and what it must be.
    pub fn check(&self) -> Result<(), String> {
        check_title(&self.aet)?;
        let hex =
            |text: &Option<String>| text.as_ref().is_none_or(|t| t.len() == 64 && t.bytes().all(|b| b.is_ascii_hexdigit()));
        // OpenSSL writes fingerprints with colons.
        let certificate = self.certificate.as_ref().map(|c| c.replace(':', ""));
        let port = |address: &String| {
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        match () {
            () if !self.address.as_ref().is_none_or(port) => Err(format!("peer {}: address is host:port", self.aet)),
            () if !hex(&certificate) => Err(format!("peer {}: certificate is a SHA-256 of 64 hexadecimal digits", self.aet)),
            () if !hex(&self.passcode_sha256) => Err(format!("peer {}: passcode_sha256 is 64 hexadecimal digits", self.aet)),
            () if self.certificate.is_some() && !self.tls => Err(format!("peer {}: a certificate needs tls = true", self.aet)),
            () if self.send_associations == 0 => Err(format!("peer {}: send_associations is at least 1", self.aet)),
            () => Ok(()),
        }
    }
}

/// An address, or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address lies in it. An IPv4 address that came in an IPv6 one counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(a) => (u128::from(a.to_bits()) << 96, true),
            IpAddr::V6(a) => (a.to_bits(), false),
        };
        let ((ours, v4), (theirs, other)) = (bits(self.address), bits(address));
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
        v4 == other && ours & mask == theirs & mask
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Network, String> {
        let wrong = || format!("{text:?} is no address such as 10.1.2.3 or 10.1.0.0/16");
        let (address, prefix) = text.split_once('/').map_or((text.as_str(), None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |p| p.parse().map_err(|_| wrong()))?;
        if prefix > longest { Err(wrong()) } else { Ok(Network { address, prefix }) }
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        format!("{}/{}", network.address, network.prefix)
    }
}

/// Where a call comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The address.
    pub address: IpAddr,
    /// It came over TLS.
    pub tls: bool,
    /// SHA-256 of the caller's certificate, lower case hexadecimal, if it has shown one.
    pub certificate: Option<String>,
}

/// Who calls, and what that allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its AE title.
    pub aet: String,
    /// What it may do.
    pub rights: BTreeSet<Right>,
    /// It is shown recognised studies only.
    pub exchange: bool,
    /// Associations at a time; 0: no bound of its own.
    pub max_associations: usize,
    /// SHA-256 of the passcode it must give.
    pub passcode_sha256: Option<String>,
}

impl Principal {
    /// Whether it may.
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }
}

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// No peer has this AE title, and unknown callers may nothing.
    #[error("no peer has this AE title; add a [[peer]] or set dimse.unknown_callers")]
    Unknown,
    /// It calls from another address than its own.
    #[error("it calls from an address that its peer entry does not name")]
    Address,
    /// It must use TLS.
    #[error("it calls in the clear and its peer entry says tls")]
    Clear,
    /// Its certificate is another one.
    #[error("its certificate is not the one of its peer entry")]
    Certificate,
}

/// See the module.
pub struct Peers {
    file: Option<PathBuf>,
    /// Peers must prove who they are.
    pub strict: bool,
    unknown: BTreeSet<Right>,
    now: RwLock<Arc<Known>>,
}

#[derive(Default)]
struct Known {
    configured: BTreeMap<String, Peer>,
    /// What was changed since: an entry, or none where one was taken away.
    changed: BTreeMap<String, Option<Peer>>,
}

impl Known {
    fn get(&self, aet: &str) -> Option<&Peer> {
        self.changed.get(aet).map_or_else(|| self.configured.get(aet), Option::as_ref)
    }
}

impl Peers {
    /// The configured peers, with the changes that were made while the node ran.
    ///
    /// # Errors
    /// The file of changes does not read.
    pub fn open(root: &Path, configured: &[Peer], unknown: BTreeSet<Right>, strict: bool) -> io::Result<Peers> {
        let file = root.join("peers.json");
        let changed = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(e),
        };
        let configured = configured.iter().map(|p| (p.aet.clone(), p.clone())).collect();
        Ok(Peers { file: Some(file), strict, unknown, now: RwLock::new(Arc::new(Known { configured, changed })) })
    }

    fn now(&self) -> Arc<Known> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A peer by its AE title.
    pub fn get(&self, aet: &str) -> Option<Peer> {
        self.now().get(aet).cloned()
    }

    /// All of them, by AE title.
    pub fn all(&self) -> Vec<Peer> {
        let now = self.now();
        let names: BTreeSet<&String> = now.configured.keys().chain(now.changed.keys()).collect();
        names.into_iter().filter_map(|aet| now.get(aet).cloned()).collect()
    }

    /// Puts a peer in, or takes it away (`None`); it holds from the next association on.
    ///
    /// # Errors
    /// It cannot be kept on disk; nothing changes.
    pub fn change(&self, aet: &str, peer: Option<Peer>) -> io::Result<()> {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = now.changed.clone();
        changed.insert(aet.to_string(), peer);
        if let Some(file) = &self.file {
            let draft = file.with_extension("draft");
            std::fs::write(&draft, serde_json::to_vec_pretty(&changed).map_err(io::Error::other)?)?;
            std::fs::File::open(&draft)?.sync_all()?;
            std::fs::rename(&draft, file)?;
            if let Some(folder) = file.parent() {
                std::fs::File::open(folder)?.sync_all()?;
            }
        }
        *now = Arc::new(Known { configured: now.configured.clone(), changed });
        Ok(())
    }

    /// Who a caller is.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn admit(&self, calling: &str, origin: &Origin) -> Result<Principal, Denied> {
        let now = self.now();
        let Some(peer) = now.get(calling) else {
            if self.unknown.is_empty() {
                return Err(Denied::Unknown);
            }
            let rights = self.unknown.clone();
            let (aet, exchange) = (calling.to_string(), false);
            return Ok(Principal { aet, rights, exchange, max_associations: 0, passcode_sha256: None });
        };
        if !peer.from.is_empty() && !peer.from.iter().any(|n| n.contains(origin.address)) {
            return Err(Denied::Address);
        }
        if peer.tls && !origin.tls {
            return Err(Denied::Clear);
        }
        let same =
            |wanted: &String| origin.certificate.as_ref().is_some_and(|c| c.eq_ignore_ascii_case(&wanted.replace(':', "")));
        if !peer.certificate.as_ref().is_none_or(same) {
            return Err(Denied::Certificate);
        }
        Ok(Principal {
            aet: peer.aet.clone(),
            rights: peer.granted(),
            exchange: peer.exchange,
            max_associations: peer.max_associations,
            passcode_sha256: peer.passcode_sha256.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(toml: &str) -> Peer {
        toml::from_str(toml).unwrap()
    }

    fn from(address: &str) -> Origin {
        Origin { address: address.parse().unwrap(), tls: false, certificate: None }
    }

    #[test]
    fn a_peer_calls_from_its_addresses_with_its_certificate_only() {
        let folder = tempfile::tempdir().unwrap();
        let digest = "ab".repeat(32);
        let configured = [
            peer("aet = \"CT1\"\nfrom = [\"10.1.0.0/16\", \"::1\"]\nrights = [\"echo\", \"store\"]"),
            peer(&format!("aet = \"OUT\"\ntls = true\nexchange = true\ncertificate = \"{digest}\"")),
        ];
        let peers = Peers::open(folder.path(), &configured, [Right::Echo].into(), true).unwrap();
        let ct = peers.admit("CT1", &from("10.1.255.3")).unwrap();
        assert!(ct.may(Right::Store) && !ct.may(Right::Find));
        assert!(peers.admit("CT1", &from("::ffff:10.1.2.3")).is_ok() && peers.admit("CT1", &from("::1")).is_ok());
        assert_eq!(peers.admit("CT1", &from("10.2.0.1")), Err(Denied::Address));
        assert_eq!(peers.admit("OUT", &from("10.2.0.1")), Err(Denied::Clear));
        let tls = |certificate: Option<String>| Origin { tls: true, certificate, ..from("10.2.0.1") };
        assert_eq!(peers.admit("OUT", &tls(Some("cd".repeat(32)))), Err(Denied::Certificate));
        assert_eq!(peers.admit("OUT", &tls(None)), Err(Denied::Certificate));
        let out = peers.admit("OUT", &tls(Some("AB".repeat(32)))).unwrap();
        assert!(out.exchange && out.may(Right::Find) && !out.may(Right::Store) && !out.may(Right::Commit));
        assert!(configured[1].check_proof().is_ok() && peer("aet = \"X\"").check_proof().is_err());
        assert!(peer("aet = \"X\"\nrights = [\"store\"]").check_proof().is_ok());
        assert_eq!(peers.admit("X", &from("1.2.3.4")).unwrap().rights, [Right::Echo].into());
    }

    #[test]
    fn changes_hold_at_once_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let configured = [peer("aet = \"CT1\"")];
        let peers = Peers::open(folder.path(), &configured, BTreeSet::new(), false).unwrap();
        peers.change("CT1", None).unwrap();
        peers.change("MR1", Some(peer("aet = \"MR1\"\naddress = \"mr:104\""))).unwrap();
        assert_eq!(peers.admit("CT1", &from("1.2.3.4")), Err(Denied::Unknown));
        let again = Peers::open(folder.path(), &configured, BTreeSet::new(), false).unwrap();
        assert_eq!(again.all(), peers.all());
        assert_eq!(again.all().iter().map(|p| p.aet.as_str()).collect::<Vec<_>>(), ["MR1"]);
    }

    #[test]
    fn what_is_no_peer_is_said() {
        assert!(toml::from_str::<Peer>("aet = \"A\"\nfrom = [\"10.0.0.0/33\"]").is_err());
        assert!(toml::from_str::<Peer>("aet = \"A\"\nright = []").is_err());
        for (toml, word) in [
            ("aet = \"SEVENTEEN LETTERS\"", "1 to 16"),
            ("aet = \"A\"\naddress = \"host\"", "host:port"),
            ("aet = \"A\"\ncertificate = \"ab\"\ntls = true", "64"),
        ] {
            let error = peer(toml).check().unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
