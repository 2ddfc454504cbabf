//! The DICOM port: a permit, then a connection, then a thread for the association.

use super::policy::{Active, Class, Configured, class_of};
use super::silent::{One, Silent};
use super::{commitment, echo, find, mpps, retrieve, store};
use crate::codec::Pool;
use crate::config::Dimse;
use crate::dimse::{
    Accepted, Association, AssociationError, Command, Context, Field, Incoming, ServerTls, Status, Stream, accept,
};
use crate::exchange::entitled::Entitled;
use crate::index::{Filter, Index, View};
use crate::ingest::{Ingest, now_ms};
use crate::journal::{Event, Journal};
use crate::outbox::Outbox;
use crate::peers::{Calls, Origin, Peers, Principal};
use crate::store::Store;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// See the module.
pub struct Listener {
    plain: Option<TcpListener>,
    tls: Option<(TcpListener, ServerTls)>,
    port: Arc<Port>,
}

/// What the services of the port work with.
pub struct Shared {
    /// Settings of the port.
    pub config: Dimse,
    /// The door in.
    pub ingest: Arc<Ingest>,
    /// Facts.
    pub index: Arc<dyn Index>,
    /// Files.
    pub store: Arc<Store>,
    /// Decoders, where what goes out must be transcoded.
    pub pool: Arc<Pool>,
    /// The record.
    pub journal: Arc<Journal>,
    /// Who is known.
    pub peers: Arc<Peers>,
    /// How they are called.
    pub calls: Calls,
    /// What is to go out later.
    pub outbox: Arc<Outbox>,
    /// What other hospitals are shown.
    pub entitled: Entitled,
    /// Another hospital's queries need not name a patient.
    pub may_browse: bool,
    /// Set when the node stops.
    pub stopping: Arc<AtomicBool>,
}

impl Shared {
    /// What the hospital that calls under an AE title is shown; nothing where no hospital does.
    pub fn shown_to(&self, aet: &str) -> Filter {
        match self.entitled.register.current().hospital_of_aet(aet) {
            Some(hospital) => self.entitled.filter(&hospital.code),
            None => Filter::new(|_| Ok(false)),
        }
    }
}

/// Connections over those that may be associations: they are told so.
const TO_TURN_AWAY: usize = 16;

/// What every association sees.
struct Port {
    shared: Shared,
    active: Active,
    turned_away: Mutex<HashSet<(String, IpAddr, String)>>,
    permits: Arc<Semaphore>,
    silent: Silent,
}

impl Listener {
    /// Binds the plain port, the TLS port, or both.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(shared: Shared, tls: Option<ServerTls>) -> std::io::Result<Listener> {
        let config = &shared.config;
        let plain = if config.clear { Some(TcpListener::bind((config.bind, config.port)).await?) } else { None };
        let tls = match (tls, config.tls_port) {
            (Some(tls), Some(port)) => Some((TcpListener::bind((config.bind, port)).await?, tls)),
            _ => None,
        };
        let permits = Arc::new(Semaphore::new(config.max_associations + TO_TURN_AWAY));
        let port =
            Port { shared, active: Active::default(), turned_away: Mutex::default(), permits, silent: Silent::default() };
        Ok(Listener { plain, tls, port: Arc::new(port) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        let socket = self.plain.as_ref().or(self.tls.as_ref().map(|(socket, _)| socket));
        socket.ok_or(std::io::ErrorKind::NotConnected)?.local_addr()
    }

    /// Where it listens for TLS.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls.as_ref().and_then(|(socket, _)| socket.local_addr().ok())
    }

    /// Accepts until `stop` resolves, then lets associations end their messages.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let next = async {
                let permit = self.port.permits.clone().acquire_owned().await;
                let (plain, tls) = (self.plain.as_ref(), self.tls.as_ref());
                let accepted = tokio::select! {
                    plain = accept_one(plain) => plain.map(|accepted| (accepted, None)),
                    secure = accept_one(tls.map(|(socket, _)| socket)) => {
                        secure.map(|accepted| (accepted, tls.map(|(_, tls)| tls.clone())))
                    }
                };
                (permit, accepted)
            };
            let (permit, accepted) = tokio::select! {
                () = &mut stop => break,
                next = next => next,
            };
            let (Ok(permit), Ok(((stream, peer), tls))) = (permit, accepted) else {
                // Out of file descriptors, say: that passes.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let port = self.port.clone();
            // Half of the places, however few: modalities and gateways ask within milliseconds.
            let most = (port.shared.config.max_associations / 2).max(TO_TURN_AWAY / 2);
            let Some(silent) = port.silent.enter(peer.ip(), most) else {
                tracing::debug!(peer = %peer, "closed: its address has many connections that ask for nothing");
                metrics::counter!("hutong_silent_connections_closed_total").increment(1);
                continue;
            };
            let stream = stream.into_std();
            let spawned = std::thread::Builder::new().name("association".into()).spawn(move || {
                if let Ok(stream) = stream {
                    serve(&port, stream, peer, tls.as_ref(), silent);
                }
                drop(permit);
            });
            if let Err(e) = spawned {
                tracing::error!(error = %e, "no thread for an association");
            }
        }
        self.port.shared.stopping.store(true, Ordering::Relaxed);
        drop((self.plain, self.tls));
        let all = u32::try_from(self.port.shared.config.max_associations + TO_TURN_AWAY).unwrap_or(u32::MAX);
        let drained = self.port.permits.acquire_many(all);
        if tokio::time::timeout(Duration::from_secs(30), drained).await.is_err() {
            tracing::warn!("associations were still open after 30 s");
        }
    }
}

/// The next connection; never where there is no socket.
async fn accept_one(socket: Option<&TcpListener>) -> std::io::Result<(tokio::net::TcpStream, SocketAddr)> {
    match socket {
        Some(socket) => socket.accept().await,
        None => std::future::pending().await,
    }
}

fn serve(port: &Port, stream: TcpStream, peer: SocketAddr, tls: Option<&ServerTls>, silent: One) {
    let prepared = stream.set_nonblocking(false).and_then(|()| stream.set_nodelay(true));
    if prepared.is_err() {
        return;
    }
    let shared = &port.shared;
    let timeouts = shared.calls.timeouts;
    let secured = match tls {
        None => Ok((Box::new(stream) as Box<dyn Stream>, None)),
        Some(tls) => tls.accept(stream, timeouts.association),
    };
    let (stream, certificate) = match secured {
        Ok(secured) => secured,
        // Nobody has named itself yet: the address and the reason are what is told once.
        Err(e) => return turned_away(port, String::new(), peer.ip(), "no TLS connection", format!("no TLS connection: {e}")),
    };
    let origin = Origin { address: peer.ip(), tls: tls.is_some(), certificate };
    metrics::gauge!("hutong_associations").increment(1);
    let denied = std::cell::Cell::new(None);
    let silent = std::cell::Cell::new(Some(silent));
    let policy = Configured {
        config: &shared.config,
        peers: &shared.peers,
        origin: &origin,
        active: &port.active,
        denied: &denied,
        silent: &silent,
    };
    let accepted = accept(stream, &policy, shared.config.max_pdu, timeouts, shared.stopping.clone());
    drop(silent.take());
    match accepted {
        Ok(accepted) => {
            let Accepted { mut association, caller, extended } = accepted;
            tracing::debug!(peer = %peer, aet = association.peer_aet, "association accepted");
            let served = Served { shared, caller: &caller.principal, extended: &extended, told: commitment::Told::default() };
            let ended = served.messages(&mut association);
            served.told.ended(shared);
            match ended {
                Ok(()) => {}
                Err(AssociationError::Aborted | AssociationError::Closed) => {
                    tracing::info!(peer = %peer, aet = association.peer_aet, "the peer ended the association without A-RELEASE");
                }
                Err(e) => tracing::warn!(peer = %peer, aet = association.peer_aet, error = %e, "association ended"),
            }
        }
        // A port check of a monitor connects and leaves.
        Err(AssociationError::Closed) => tracing::debug!(peer = %peer, "closed before an association was asked for"),
        Err(AssociationError::Turned(aet, why)) => {
            // The caller is told as little as the standard has words for; the log says what to change.
            let reason = denied.take().map_or_else(|| why.to_string(), |denied| denied.to_string());
            turned_away(port, aet, origin.address, &why.to_string(), reason);
        }
        Err(e) => tracing::warn!(peer = %peer, error = %e, "no association"),
    }
    metrics::gauge!("hutong_associations").decrement(1);
}

/// Callers that are remembered as turned away.
const REMEMBERED: usize = 1024;

/// A modality that tries again every few seconds is logged once; the counter has every time.
fn turned_away(port: &Port, aet: String, address: IpAddr, why: &str, reason: String) {
    metrics::counter!("hutong_associations_rejected_total", "reason" => why.to_string()).increment(1);
    let mut known = port.turned_away.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= REMEMBERED {
        known.clear();
    }
    if known.insert((aet.clone(), address, reason.clone())) {
        let by = if aet.is_empty() { address.to_string() } else { format!("AE {aet} {address}") };
        let event = Event::Denied { by, why: reason.clone() };
        if let Err(e) = port.shared.journal.append(event, now_ms(), false) {
            tracing::error!(error = %e, "the journal cannot be written");
        }
        tracing::warn!(peer = %address, aet, why = reason, "an association was rejected; the same again is not logged");
    }
}

/// One association and what its caller may do.
struct Served<'a> {
    shared: &'a Shared,
    caller: &'a Principal,
    extended: &'a [(String, Vec<u8>)],
    told: commitment::Told,
}

impl Served<'_> {
    fn messages(&self, association: &mut Association) -> Result<(), AssociationError> {
        loop {
            let (context, request) = match association.receive()? {
                Incoming::Message(context, request) => (context, request),
                Incoming::Released | Incoming::Stopping => return Ok(()),
            };
            self.message(association, &context, &request)?;
        }
    }

    fn message(&self, association: &mut Association, context: &Context, request: &Command) -> Result<(), AssociationError> {
        let Served { shared, caller, .. } = self;
        let class = class_of(&context.abstract_syntax);
        match (request.field(), class) {
            (Field::CancelRq | Field::Response(_), _) => {
                if request.has_data() {
                    association.data(context.id).finish()?;
                }
                if class == Class::Commitment && request.field() != Field::CancelRq {
                    self.told.answered(shared, request);
                }
                Ok(())
            }
            (Field::EchoRq, _) => association.send(context.id, &echo::answer(request)),
            (Field::StoreRq, _) if context.roles.scu => self.store(association, context, request),
            (Field::CreateRq | Field::SetRq, Class::PerformedStep) => self.step(association, context, request),
            (Field::FindRq, Class::Find) if request.has_data() => {
                let view = if caller.exchange { View::Exchange } else { View::House };
                let agreed =
                    |n: usize| self.extended.iter().any(|(c, bits)| *c == context.abstract_syntax && bits.get(n) == Some(&1));
                let (combined, fuzzy) = (agreed(1), agreed(2));
                let only = if caller.exchange { shared.shown_to(&caller.aet) } else { Filter::default() };
                let asked =
                    find::Asked { view, fuzzy, combined, only, must_name_patient: caller.exchange && !shared.may_browse };
                find::serve(shared, &asked, association, context, request)
            }
            (Field::MoveRq | Field::GetRq, Class::Retrieve) if request.has_data() => {
                retrieve::serve(shared, caller, association, context, request)
            }
            (Field::ActionRq, Class::Commitment) if context.roles.scu => {
                commitment::request(shared, caller, association, context, request, &self.told)
            }
            (Field::EventReportRq, Class::Commitment) => commitment::event(shared, association, context, request),
            _ => {
                if request.has_data() {
                    association.data(context.id).finish()?;
                }
                let answer = request.response(Status::UnrecognizedOperation);
                association.send(context.id, &answer.with_comment("this operation is not served in this presentation context"))
            }
        }
    }

    fn store(&self, association: &mut Association, context: &Context, request: &Command) -> Result<(), AssociationError> {
        let shared = self.shared;
        let answer = if request.has_data() {
            let (peer, data) = (self.caller.aet.as_str(), association.data(context.id));
            let answer = store::answer(&shared.ingest, &shared.journal, context, peer, request, data);
            metrics::counter!("hutong_store_total").increment(1);
            answer.ok_or_else(|| association.why_broken())?
        } else {
            request.response(Status::CannotUnderstand).with_comment("C-STORE-RQ without a data set")
        };
        association.send(context.id, &answer)
    }

    fn step(&self, association: &mut Association, context: &Context, request: &Command) -> Result<(), AssociationError> {
        let shared = self.shared;
        let answer = if request.has_data() {
            let (peer, data) = (self.caller.aet.as_str(), association.data(context.id));
            mpps::answer(&shared.ingest, &shared.store, &shared.journal, context, peer, request, data)
                .ok_or_else(|| association.why_broken())?
        } else {
            request.response(Status::MissingAttribute).with_comment("a performed procedure step without a data set")
        };
        association.send(context.id, &answer)
    }
}
