//! How this node calls its peers: under which title, with which patience, over TLS or in the clear.

use super::Peer;
use crate::dimse::{ClientTls, Requested, Timeouts};

/// See the module.
#[derive(Debug, Clone)]
pub struct Calls {
    /// Our AE title.
    pub aet: String,
    /// Longest PDU we take.
    pub max_pdu: u32,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Whom to trust, and what to show.
    pub tls: Option<ClientTls>,
}

impl Calls {
    /// A call to a peer; what is proposed is up to the caller.
    ///
    /// # Errors
    /// The peer cannot be called as it is configured.
    pub fn to(&self, peer: &Peer) -> Result<Requested, String> {
        let address = peer.address.clone().ok_or_else(|| format!("{}: its [[peer]] has no address", peer.aet))?;
        let tls = match (&self.tls, peer.tls) {
            (_, false) => None,
            (Some(tls), true) => Some(tls.clone()),
            (None, true) => return Err(format!("{}: dimse.tls_authorities is not set, so TLS cannot be spoken", peer.aet)),
        };
        Ok(Requested {
            address,
            called: peer.aet.clone(),
            calling: self.aet.clone(),
            proposals: Vec::new(),
            max_pdu: self.max_pdu,
            timeouts: self.timeouts,
            tls,
            identity: None,
            stopping: std::sync::Arc::default(),
        })
    }
}
