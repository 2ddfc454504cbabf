//! The requestor: asks a peer for an association (PS3.8 7.1.1).

use super::accept::{Roles, write};
use super::association::{Association, AssociationError, Context};
use super::link::{Link, Stream, Timeouts};
use super::tls::ClientTls;
use crate::dicom::uid::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION};
use crate::dicom::uids;
use dicom_ul::pdu::{
    self, AssociationRQ, Pdu, PresentationContextProposed, PresentationContextResultReason as Reason, RequestorRoles,
    UserIdentity, UserIdentityType, UserVariableItem,
};
use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// One presentation context to propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// SOP class.
    pub abstract_syntax: String,
    /// Transfer syntaxes, preferred first.
    pub transfer_syntaxes: Vec<String>,
    /// What we do with it.
    pub roles: Roles,
}

impl Proposal {
    /// As usual: we send requests.
    pub fn new<T: ToString>(abstract_syntax: &str, transfer_syntaxes: &[T]) -> Proposal {
        let transfer_syntaxes = transfer_syntaxes.iter().map(ToString::to_string).collect();
        Proposal { abstract_syntax: abstract_syntax.into(), transfer_syntaxes, roles: Roles::USUAL }
    }
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
    /// Over TLS, or in the clear.
    pub tls: Option<ClientTls>,
    /// User name and passcode to show (PS3.7 D.3.3.7).
    pub identity: Option<(String, String)>,
    /// Set when the node stops: nothing is waited for any more.
    pub stopping: Arc<AtomicBool>,
}

impl Requested {
    /// In the clear, with one time limit for everything; nothing is proposed yet.
    pub fn plain(address: &str, called: &str, calling: &str, wait: Duration) -> Requested {
        Requested {
            address: address.into(),
            called: called.into(),
            calling: calling.into(),
            proposals: Vec::new(),
            max_pdu: 1 << 17,
            timeouts: Timeouts { association: wait, network: wait, idle: wait },
            tls: None,
            identity: None,
            stopping: Arc::default(),
        }
    }
}

/// What messages other than objects are written in.
pub const PLAIN: [&str; 2] = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];

/// Connects for one service, in these roles; what is proposed already is proposed besides.
///
/// # Errors
/// As [`connect`], or the peer does not offer the service.
pub fn connect_for(to: Requested, sop_class: &str, roles: Roles) -> Result<(Association, Context), AssociationError> {
    let mut proposals = vec![Proposal { roles, ..Proposal::new(sop_class, &PLAIN) }];
    proposals.extend(to.proposals);
    let association = connect(&Requested { proposals, ..to })?;
    let context = association.contexts.iter().find(|c| c.abstract_syntax == sop_class).cloned();
    let context =
        context.ok_or_else(|| AssociationError::Protocol(format!("the peer does not offer SOP class {sop_class}")))?;
    Ok((association, context))
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
                let stream: Box<dyn Stream> = match &requested.tls {
                    Some(tls) => tls.connect(stream, &requested.address, requested.timeouts.association)?,
                    None => Box::new(stream),
                };
                return negotiate(stream, requested);
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
        user_variables: user_variables(requested),
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
                roles: roles_of(&answer.user_variables, &proposed.abstract_syntax),
                abstract_syntax: proposed.abstract_syntax.clone(),
                transfer_syntax: r.transfer_syntax.trim_matches(['\0', ' ']).to_string(),
            })
        })
        .collect();
    let peer_max_pdu = answer.user_variables.iter().find_map(|v| match v {
        UserVariableItem::MaxLength(n) => Some(*n),
        _ => None,
    });
    let (stopping, called) = (requested.stopping.clone(), requested.called.clone());
    let (max_pdu, timeouts) = (requested.max_pdu, requested.timeouts);
    Ok(Association::new(link, contexts, called, peer_max_pdu.unwrap_or(1 << 14), max_pdu, timeouts, stopping))
}

fn user_variables(requested: &Requested) -> Vec<UserVariableItem> {
    let mut items = vec![
        UserVariableItem::MaxLength(requested.max_pdu),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.into()),
        UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION.into()),
    ];
    let mut selected: BTreeMap<&str, RequestorRoles> = BTreeMap::new();
    for proposal in requested.proposals.iter().filter(|p| p.roles != Roles::USUAL) {
        let roles = RequestorRoles { scu: proposal.roles.scu, scp: proposal.roles.scp };
        selected.insert(&proposal.abstract_syntax, roles);
    }
    let role = |(class, roles): (&str, RequestorRoles)| UserVariableItem::ScuScpRoleSelectionSubItem(class.into(), roles);
    items.extend(selected.into_iter().map(role));
    if let Some((user, passcode)) = &requested.identity {
        let (user, passcode) = (user.clone().into_bytes(), passcode.clone().into_bytes());
        let identity = UserIdentity::new(false, UserIdentityType::UsernamePassword, user, passcode);
        items.push(UserVariableItem::UserIdentityItem(identity));
    }
    items
}

/// What the peer agreed that we do; without an answer it is as usual (PS3.7 D.3.3.4).
fn roles_of(answer: &[UserVariableItem], class: &str) -> Roles {
    let found = answer.iter().find_map(|item| match item {
        UserVariableItem::ScuScpRoleSelectionSubItem(uid, roles) if uid.trim_matches(['\0', ' ']) == class => Some(*roles),
        _ => None,
    });
    found.map_or(Roles::USUAL, |roles| Roles { scu: roles.scu, scp: roles.scp })
}
