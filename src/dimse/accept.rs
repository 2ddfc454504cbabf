//! The acceptor: from a connection to an association, or to a rejection with the right reason (PS3.8 9.3.2 to 9.3.4).

use super::association::{Association, AssociationError, Context};
use super::link::{Link, Stream, Timeouts};
use crate::dicom::uid::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION};
use dicom_ul::pdu::{
    self, AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason,
    AssociationRJServiceProviderPresentationReason, AssociationRJServiceUserReason, AssociationRJSource, AssociationRQ, Pdu,
    PresentationContextProposed, PresentationContextResult, PresentationContextResultReason as Reason, RequestorRoles,
    UserVariableItem,
};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Why a caller is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    /// Its AE title is not known, or not at this address or with this certificate.
    #[error("calling AE title not recognised")]
    CallingNotRecognised,
    /// It asked for another AE title than ours.
    #[error("called AE title not recognised")]
    CalledNotRecognised,
    /// It speaks another version of the upper layer protocol.
    #[error("protocol version not supported")]
    Protocol,
    /// It speaks no DICOM application context we know.
    #[error("application context name not supported")]
    ApplicationContext,
    /// Its user identity is not the one it must give.
    #[error("user identity not accepted")]
    Identity,
    /// Too many associations; it may try again.
    #[error("local limit of associations exceeded")]
    Limit,
}

/// Which parts of a storage service the requestor plays (PS3.7 D.3.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// It sends.
    pub scu: bool,
    /// It receives.
    pub scp: bool,
}

impl Roles {
    /// What holds without negotiation.
    pub const USUAL: Roles = Roles { scu: true, scp: false };
}

/// What the requestor says about its user (PS3.7 D.3.3.7).
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// User name, or token.
    pub primary: Vec<u8>,
    /// Passcode.
    pub secondary: Vec<u8>,
}

/// What becomes of one proposed abstract syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Take it in these roles.
    Accept(Roles),
    /// This SOP class is not served.
    NotSupported,
    /// The caller may not use it.
    Refused,
}

/// Who may do what.
pub trait Policy {
    /// What is known of a caller that is let in.
    type Caller;
    /// Whether the caller may have an association at all.
    ///
    /// # Errors
    /// The reason it may not.
    fn caller(&self, calling: &str, called: &str, identity: Option<&Identity>) -> Result<Self::Caller, Rejection>;
    /// Whether it may use an abstract syntax in the roles that it proposes.
    fn abstract_syntax(&self, caller: &Self::Caller, uid: &str, roles: Roles) -> Decision;
    /// Which of the transfer syntaxes offered is taken for it.
    fn transfer_syntax<'a>(&self, abstract_syntax: &str, roles: Roles, offered: &'a [String]) -> Option<&'a String>;
    /// The answer to service class application information (PS3.7 D.3.3.5).
    fn extended(&self, abstract_syntax: &str, information: &[u8]) -> Option<Vec<u8>>;
}

/// An accepted association and who called.
pub struct Accepted<C> {
    /// The association.
    pub association: Association,
    /// Who called.
    pub caller: C,
    /// The answers to extended negotiation, by SOP class.
    pub extended: Vec<(String, Vec<u8>)>,
}

/// The longest association request taken: 128 contexts of 64 syntaxes stay below.
const MAX_REQUEST: u32 = 1 << 20;

/// Reads the association request from a fresh connection and answers it.
///
/// # Errors
/// No request came in time, it was damaged, or the caller was rejected (and told so).
pub fn accept<P: Policy>(
    stream: Box<dyn Stream>,
    policy: &P,
    max_pdu: u32,
    timeouts: Timeouts,
    stopping: Arc<AtomicBool>,
) -> Result<Accepted<P::Caller>, AssociationError> {
    let mut link = Link::new(stream);
    link.set_timeout(timeouts.association)?;
    let request = requested(&mut link)?;
    let calling = request.calling_ae_title.trim().to_string();
    let asked = Asked::of(&request);
    // Other versions of the protocol may say other things with the same bytes (PS3.8 9.3.2, bit 0).
    if request.protocol_version & 1 == 0 {
        write(&mut link, &Pdu::AssociationRJ(rejection_pdu(Rejection::Protocol)))?;
        link.drain(Duration::from_secs(1));
        return Err(AssociationError::Turned(calling, Rejection::Protocol));
    }
    let caller = match admit(&request, policy, &calling, asked.identity.as_ref()) {
        Ok(caller) => caller,
        Err(rejection) => {
            write(&mut link, &Pdu::AssociationRJ(rejection_pdu(rejection)))?;
            link.drain(Duration::from_secs(1));
            return Err(AssociationError::Turned(calling, rejection));
        }
    };
    let mut roles = Vec::new();
    let decide = |proposed| negotiate(proposed, policy, &caller, &asked, &mut roles);
    let results: Vec<(PresentationContextResult, Context)> = request.presentation_contexts.iter().map(decide).collect();
    let accepted: Vec<Context> =
        results.iter().filter(|(r, _)| r.reason == Reason::Acceptance).map(|(_, c)| c.clone()).collect();
    let extended: Vec<(String, Vec<u8>)> = asked
        .extended
        .iter()
        .filter(|(class, _)| accepted.iter().any(|c| c.abstract_syntax == *class))
        .filter_map(|(class, information)| Some((class.clone(), policy.extended(class, information)?)))
        .collect();
    let answer = AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title,
        called_ae_title: request.called_ae_title,
        application_context_name: request.application_context_name,
        presentation_contexts: results.into_iter().map(|(r, _)| r).collect(),
        user_variables: asked.answers(max_pdu, &roles, &extended),
    };
    write(&mut link, &Pdu::AssociationAC(answer))?;
    let association = Association::new(link, accepted, calling, asked.max_pdu, max_pdu, timeouts, stopping).accepted();
    Ok(Accepted { association, caller, extended })
}

/// Reads the association request.
fn requested(link: &mut Link) -> Result<AssociationRQ, AssociationError> {
    let (kind, length) = link.pdu_header()?;
    if kind != 0x01 {
        abort(link);
        return Err(AssociationError::Protocol(format!("PDU type {kind:02X}H instead of A-ASSOCIATE-RQ")));
    }
    let bytes = link.whole_pdu(kind, length, MAX_REQUEST).map_err(AssociationError::from).inspect_err(|error| {
        // PS3.8 table 9-10, state 2: what is no request is aborted (AA-1), a silent caller is closed upon (AA-2).
        if matches!(error, AssociationError::Protocol(_)) {
            abort(link);
        }
    })?;
    match pdu::read_pdu(bytes.as_slice(), MAX_REQUEST, false) {
        Ok(Some(Pdu::AssociationRQ(request))) => {
            // PS3.8 9.3.2.2: odd, and each once.
            let ids: BTreeSet<u8> = request.presentation_contexts.iter().map(|c| c.id).filter(|id| id % 2 == 1).collect();
            if ids.len() < request.presentation_contexts.len() {
                abort(link);
                return Err(AssociationError::Protocol("a presentation context ID that is even, or there twice".into()));
            }
            Ok(request)
        }
        Ok(_) => {
            abort(link);
            Err(AssociationError::Protocol("the first PDU is no A-ASSOCIATE-RQ".into()))
        }
        Err(e) => {
            abort(link);
            Err(AssociationError::Protocol(format!("A-ASSOCIATE-RQ is damaged: {e}")))
        }
    }
}

/// The user information items of a request (PS3.8 D.1, PS3.7 D.3.3).
struct Asked {
    max_pdu: u32,
    roles: Vec<(String, Roles)>,
    extended: Vec<(String, Vec<u8>)>,
    identity: Option<Identity>,
    confirm_identity: bool,
    window: bool,
}

/// Item type of the asynchronous operations window.
const WINDOW: u8 = 0x53;
/// Item type of the answer to a user identity.
const IDENTITY_ANSWER: u8 = 0x59;

impl Asked {
    fn of(request: &AssociationRQ) -> Asked {
        let mut asked =
            Asked { max_pdu: 1 << 14, roles: vec![], extended: vec![], identity: None, confirm_identity: false, window: false };
        for item in &request.user_variables {
            match item {
                UserVariableItem::MaxLength(n) => asked.max_pdu = *n,
                UserVariableItem::ScuScpRoleSelectionSubItem(class, roles) => {
                    asked.roles.push((clean(class), Roles { scu: roles.scu, scp: roles.scp }));
                }
                UserVariableItem::SopClassExtendedNegotiationSubItem(class, information) => {
                    asked.extended.push((clean(class), information.clone()));
                }
                UserVariableItem::UserIdentityItem(identity) => {
                    asked.identity =
                        Some(Identity { primary: identity.primary_field(), secondary: identity.secondary_field() });
                    asked.confirm_identity = identity.positive_response_requested();
                }
                UserVariableItem::Unknown(WINDOW, _) => asked.window = true,
                _ => {}
            }
        }
        asked
    }

    fn roles_of(&self, class: &str) -> Option<Roles> {
        self.roles.iter().find(|(c, _)| c == class).map(|(_, roles)| *roles)
    }

    fn answers(&self, max_pdu: u32, roles: &[(String, Roles)], extended: &[(String, Vec<u8>)]) -> Vec<UserVariableItem> {
        let mut items = vec![
            UserVariableItem::MaxLength(max_pdu),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.into()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION.into()),
        ];
        if self.window {
            // One operation at a time each way: messages are answered in their order (PS3.7 D.3.3.3).
            items.push(UserVariableItem::Unknown(WINDOW, vec![0, 1, 0, 1]));
        }
        let role = |(class, roles): &(String, Roles)| {
            let roles = RequestorRoles { scu: roles.scu, scp: roles.scp };
            UserVariableItem::ScuScpRoleSelectionSubItem(class.clone(), roles)
        };
        items.extend(roles.iter().map(role));
        let information = |(class, bytes): &(String, Vec<u8>)| {
            UserVariableItem::SopClassExtendedNegotiationSubItem(class.clone(), bytes.clone())
        };
        items.extend(extended.iter().map(information));
        if self.identity.is_some() && self.confirm_identity {
            items.push(UserVariableItem::Unknown(IDENTITY_ANSWER, vec![0, 0]));
        }
        items
    }
}

fn admit<P: Policy>(
    request: &AssociationRQ,
    policy: &P,
    calling: &str,
    identity: Option<&Identity>,
) -> Result<P::Caller, Rejection> {
    if request.application_context_name.trim_matches(['\0', ' ']) != "1.2.840.10008.3.1.1.1" {
        return Err(Rejection::ApplicationContext);
    }
    // PS3.5 6.2: no AE title is of spaces alone.
    if calling.is_empty() {
        return Err(Rejection::CallingNotRecognised);
    }
    policy.caller(calling, request.called_ae_title.trim(), identity)
}

fn negotiate<P: Policy>(
    proposed: &PresentationContextProposed,
    policy: &P,
    caller: &P::Caller,
    asked: &Asked,
    agreed: &mut Vec<(String, Roles)>,
) -> (PresentationContextResult, Context) {
    let abstract_syntax = clean(&proposed.abstract_syntax);
    let offered: Vec<String> = proposed.transfer_syntaxes.iter().map(|t| clean(t)).collect();
    let wanted = asked.roles_of(&abstract_syntax);
    let decision = policy.abstract_syntax(caller, &abstract_syntax, wanted.unwrap_or(Roles::USUAL));
    let mut roles = Roles::USUAL;
    let (reason, taken) = match decision {
        Decision::NotSupported => (Reason::AbstractSyntaxNotSupported, None),
        Decision::Refused => (Reason::UserRejection, None),
        Decision::Accept(taken_in) => {
            roles = taken_in;
            if wanted.is_some() && !agreed.iter().any(|(class, _)| *class == abstract_syntax) {
                agreed.push((abstract_syntax.clone(), roles));
            }
            match policy.transfer_syntax(&abstract_syntax, roles, &offered) {
                None => (Reason::TransferSyntaxesNotSupported, None),
                Some(taken) => (Reason::Acceptance, Some(taken.clone())),
            }
        }
    };
    let transfer_syntax = taken.or_else(|| offered.first().cloned()).unwrap_or_default();
    let result = PresentationContextResult { id: proposed.id, reason, transfer_syntax: transfer_syntax.clone() };
    (result, Context { id: proposed.id, abstract_syntax, transfer_syntax, roles })
}

fn clean(uid: &str) -> String {
    uid.trim_matches(['\0', ' ']).to_string()
}

fn rejection_pdu(rejection: Rejection) -> AssociationRJ {
    use AssociationRJServiceUserReason as User;
    let user = |reason| (AssociationRJResult::Permanent, AssociationRJSource::ServiceUser(reason));
    let (result, source) = match rejection {
        Rejection::CallingNotRecognised => user(User::CallingAETitleNotRecognized),
        Rejection::CalledNotRecognised => user(User::CalledAETitleNotRecognized),
        Rejection::Protocol => (
            AssociationRJResult::Permanent,
            AssociationRJSource::ServiceProviderASCE(AssociationRJServiceProviderASCEReason::ProtocolVersionNotSupported),
        ),
        Rejection::ApplicationContext => user(User::ApplicationContextNameNotSupported),
        Rejection::Identity => user(User::NoReasonGiven),
        Rejection::Limit => (
            AssociationRJResult::Transient,
            AssociationRJSource::ServiceProviderPresentation(
                AssociationRJServiceProviderPresentationReason::LocalLimitExceeded,
            ),
        ),
    };
    AssociationRJ { result, source }
}

pub(super) fn write(link: &mut Link, pdu: &Pdu) -> Result<(), AssociationError> {
    let mut bytes = Vec::new();
    pdu::write_pdu(&mut bytes, pdu).map_err(|e| AssociationError::Protocol(e.to_string()))?;
    Ok(link.write_all(&bytes)?)
}

fn abort(link: &mut Link) {
    let _ = link.write_all(&[0x07, 0, 0, 0, 0, 4, 0, 0, 2, 1]);
    link.drain(Duration::from_millis(200));
}
