//! The DICOM port: a permit, then a connection, then a thread for the association.

use super::policy::{Class, Configured, class_of};
use super::{echo, find, mpps, store};
use crate::config::Dimse;
use crate::dimse::{Association, AssociationError, Context, Field, Incoming, Status, Timeouts, accept};
use crate::index::{Index, View};
use crate::ingest::Ingest;
use crate::journal::Journal;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// See the module.
pub struct Listener {
    socket: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    config: Dimse,
    ingest: Arc<Ingest>,
    index: Arc<dyn Index>,
    journal: Arc<Journal>,
    stopping: Arc<AtomicBool>,
    permits: Arc<Semaphore>,
}

impl Listener {
    /// Binds the port.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(
        config: &Dimse,
        ingest: Arc<Ingest>,
        index: Arc<dyn Index>,
        journal: Arc<Journal>,
    ) -> std::io::Result<Listener> {
        let socket = TcpListener::bind((config.bind, config.port)).await?;
        let shared = Shared {
            permits: Arc::new(Semaphore::new(config.max_associations)),
            config: config.clone(),
            ingest,
            index,
            journal,
            stopping: Arc::new(AtomicBool::new(false)),
        };
        Ok(Listener { socket, shared: Arc::new(shared) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop` resolves, then lets associations end their messages.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let next = async {
                let permit = self.shared.permits.clone().acquire_owned().await;
                (permit, self.socket.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = &mut stop => break,
                next = next => next,
            };
            let (Ok(permit), Ok((stream, peer))) = (permit, accepted) else {
                // Out of file descriptors, say: that passes.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let shared = self.shared.clone();
            let stream = stream.into_std();
            let spawned = std::thread::Builder::new().name("association".into()).spawn(move || {
                if let Ok(stream) = stream {
                    serve(&shared, stream, peer);
                }
                drop(permit);
            });
            if let Err(e) = spawned {
                tracing::error!(error = %e, "no thread for an association");
            }
        }
        self.shared.stopping.store(true, Ordering::Relaxed);
        drop(self.socket);
        let all = u32::try_from(self.shared.config.max_associations).unwrap_or(u32::MAX);
        let drained = self.shared.permits.acquire_many(all);
        if tokio::time::timeout(Duration::from_secs(30), drained).await.is_err() {
            tracing::warn!("associations were still open after 30 s");
        }
    }
}

fn serve(shared: &Shared, stream: TcpStream, peer: SocketAddr) {
    let prepared = stream.set_nonblocking(false).and_then(|()| stream.set_nodelay(true));
    if prepared.is_err() {
        return;
    }
    let c = &shared.config;
    let timeouts = Timeouts {
        association: Duration::from_secs(c.association_timeout),
        network: Duration::from_secs(c.network_timeout),
        idle: Duration::from_secs(c.idle_timeout),
    };
    metrics::gauge!("hutong_associations").increment(1);
    let accepted = accept(Box::new(stream), &Configured(c), c.max_pdu, timeouts, shared.stopping.clone());
    match accepted {
        Ok(accepted) => {
            let mut association = accepted.association;
            tracing::debug!(peer = %peer, aet = association.peer_aet, "association accepted");
            match messages(shared, &mut association) {
                Ok(()) => {}
                Err(AssociationError::Aborted | AssociationError::Closed) => {
                    tracing::info!(peer = %peer, aet = association.peer_aet, "the peer ended the association without A-RELEASE");
                }
                Err(e) => tracing::warn!(peer = %peer, aet = association.peer_aet, error = %e, "association ended"),
            }
        }
        // A port check of a monitor connects and leaves.
        Err(AssociationError::Closed) => tracing::debug!(peer = %peer, "closed before an association was asked for"),
        Err(e) => tracing::warn!(peer = %peer, error = %e, "no association"),
    }
    metrics::gauge!("hutong_associations").decrement(1);
}

fn messages(shared: &Shared, association: &mut Association) -> Result<(), AssociationError> {
    loop {
        let (context, request) = match association.receive()? {
            Incoming::Message(context, request) => (context, request),
            Incoming::Released | Incoming::Stopping => return Ok(()),
        };
        let peer = association.peer_aet.clone();
        let answer = match request.field() {
            Field::EchoRq => echo::answer(&request),
            Field::StoreRq if !request.has_data() => {
                request.response(Status::CannotUnderstand).with_comment("C-STORE-RQ without a data set")
            }
            Field::StoreRq => {
                let data = association.data(context.id);
                let Some(answer) = store::answer(&shared.ingest, &shared.journal, &context, &peer, &request, data) else {
                    return Err(AssociationError::Closed);
                };
                metrics::counter!("hutong_store_total").increment(1);
                answer
            }
            Field::CreateRq | Field::SetRq if is_step(&context) => {
                if !request.has_data() {
                    request.response(Status::MissingAttribute).with_comment("a performed procedure step without a data set")
                } else {
                    let data = association.data(context.id);
                    let Some(answer) = mpps::answer(&shared.ingest, &shared.journal, &context, &peer, &request, data) else {
                        return Err(AssociationError::Closed);
                    };
                    answer
                }
            }
            Field::FindRq if request.has_data() && class_of(&context.abstract_syntax) == Class::Find => {
                let (config, index) = (&shared.config, &*shared.index);
                let view = if config.is_exchange(&peer) { View::Exchange } else { View::House };
                find::serve(index, (view, config.max_matches, &config.aet), association, &context, &request)?;
                continue;
            }
            Field::CancelRq | Field::Response(_) => continue,
            Field::CreateRq | Field::SetRq | Field::GetRq | Field::FindRq | Field::MoveRq | Field::OtherRq(_) => {
                if request.has_data() {
                    association.data(context.id).finish()?;
                }
                request.response(Status::UnrecognizedOperation).with_comment("this operation is not served here")
            }
        };
        association.send(context.id, &answer)?;
    }
}

fn is_step(context: &Context) -> bool {
    class_of(&context.abstract_syntax) == Class::PerformedStep
}
