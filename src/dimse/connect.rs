//! The requestor: asks a peer for an association (PS3.8 7.1.1).

use super::accept::write;
use super::association::{Association, AssociationError, Context};
use super::link::{Link, Stream, Timeouts};
use crate::dicom::uid::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION};
use dicom_ul::pdu::{
    self, AssociationRQ, Pdu, PresentationContextProposed, PresentationContextResultReason as Reason, UserVariableItem,
};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// One presentation context to propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// SOP class.
    pub abstract_syntax: String,
    /// Transfer syntaxes, preferred first.
    pub transfer_syntaxes: Vec<String>,
}

/// Whom to ask for what.
#[derive(Debug, Clone)]
pub struct Requested {
    /// `host:port`.
    pub address: String,
    /// The peer's AE title.
    pub called: String,
    /// Ours.
    pub calling: String,
    /// At most 128.
    pub proposals: Vec<Proposal>,
    /// Longest PDU we take.
    pub max_pdu: u32,
    /// Deadlines.
    pub timeouts: Timeouts,
}

/// Connects and negotiates.
///
/// # Errors
/// No connection, or the association was rejected; the message says why.
pub fn connect(requested: &Requested) -> Result<Association, AssociationError> {
    let mut failure = None;
    for address in requested.address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, requested.timeouts.association) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return negotiate(Box::new(stream), requested);
            }
            Err(e) => failure = Some(e),
        }
    }
    Err(AssociationError::Io(failure.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into())))
}

fn negotiate(stream: Box<dyn Stream>, requested: &Requested) -> Result<Association, AssociationError> {
    let mut link = Link::new(stream);
    link.set_timeout(requested.timeouts.association)?;
    let proposed: Vec<PresentationContextProposed> = requested
        .proposals
        .iter()
        .take(128)
        .zip((1u8..=255).step_by(2))
        .map(|(p, id)| PresentationContextProposed {
            id,
            abstract_syntax: p.abstract_syntax.clone(),
            transfer_syntaxes: p.transfer_syntaxes.clone(),
        })
        .collect();
    let request = AssociationRQ {
        protocol_version: 1,
        calling_ae_title: requested.calling.clone(),
        called_ae_title: requested.called.clone(),
        application_context_name: "1.2.840.10008.3.1.1.1".into(),
        presentation_contexts: proposed.clone(),
        user_variables: vec![
            UserVariableItem::MaxLength(requested.max_pdu),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.into()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION.into()),
        ],
    };
    write(&mut link, &Pdu::AssociationRQ(request))?;
    let (kind, length) = link.pdu_header()?;
    let bytes = link.whole_pdu(kind, length, 1 << 20)?;
    let answer = pdu::read_pdu(bytes.as_slice(), 1 << 20, false).map_err(|e| AssociationError::Protocol(e.to_string()))?;
    let answer = match answer {
        Some(Pdu::AssociationAC(answer)) => answer,
        Some(Pdu::AssociationRJ(rejection)) => {
            return Err(AssociationError::Rejected(rejection.source.to_string()));
        }
        Some(Pdu::AbortRQ { .. }) => return Err(AssociationError::Aborted),
        _ => {
            return Err(AssociationError::Protocol(format!("PDU type {kind:02X}H instead of an answer to A-ASSOCIATE-RQ")));
        }
    };
    let contexts = answer
        .presentation_contexts
        .iter()
        .filter(|r| r.reason == Reason::Acceptance)
        .filter_map(|r| {
            let proposed = proposed.iter().find(|p| p.id == r.id)?;
            Some(Context {
                id: r.id,
                abstract_syntax: proposed.abstract_syntax.clone(),
                transfer_syntax: r.transfer_syntax.trim_matches(['\0', ' ']).to_string(),
            })
        })
        .collect();
    let peer_max_pdu = answer.user_variables.iter().find_map(|v| match v {
        UserVariableItem::MaxLength(n) => Some(*n),
        _ => None,
    });
    let stopping = Arc::new(AtomicBool::new(false));
    let called = requested.called.clone();
    let (max_pdu, timeouts) = (requested.max_pdu, requested.timeouts);
    Ok(Association::new(link, contexts, called, peer_max_pdu.unwrap_or(1 << 14), max_pdu, timeouts, stopping))
}
