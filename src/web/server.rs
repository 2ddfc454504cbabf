//! Connections: HTTP/1.1 and HTTP/2, in the clear or over TLS, with bounds on their number, on headers and on waiting.

use super::edge::Certificate;
use crate::dimse::{fingerprint, roots};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tower::ServiceExt;

/// Longest wait for the headers of a request, and for the next one.
const PATIENCE: Duration = Duration::from_secs(30);
/// All headers of a request, bytes.
const HEADERS: usize = 64 << 10;
/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 32;

/// Reads a certificate chain and its key, both PEM, and the authorities of clients' certificates.
///
/// # Errors
/// Which of them does not read, and why.
pub fn tls(certificate: &Path, key: &Path, clients: Option<&Path>) -> Result<TlsAcceptor, String> {
    let fault = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).map_err(|e| fault(certificate, &e))?.collect();
    let chain = chain.map_err(|e| fault(certificate, &e))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| fault(key, &e))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| e.to_string())?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        // Who shows none may still bring a token or a key.
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots(path)?, provider);
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().map_err(|e| fault(path, &e))?)
        }
    };
    let config = builder.with_single_cert(chain, private);
    let mut config = config.map_err(|e| fault(certificate, &e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until `stop`; then what is under way ends.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: usize,
    tls: Option<TlsAcceptor>,
    stop: impl Future<Output = ()>,
) {
    let permits = Arc::new(Semaphore::new(connections.max(1)));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let (permit, accepted) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of descriptors, most likely: others must end before there is room.
                tracing::warn!(error = %e, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (router, tls, watcher) = (router.clone(), tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            // Until its first byte has come nobody else counts the time of a connection.
            if !matches!(tokio::time::timeout(PATIENCE, stream.peek(&mut [0])).await, Ok(Ok(1))) {
                return;
            }
            let _permit = permit;
            let served = match tls {
                None => connection(stream, (peer, Certificate(None)), router, watcher).await,
                Some(tls) => match handshake(tls, stream).await {
                    Ok(stream) => {
                        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                        let certificate = Certificate(shown.map(|c| fingerprint(c)));
                        connection(stream, (peer, certificate), router, watcher).await
                    }
                    Err(e) => Err(e.into()),
                },
            };
            if let Err(e) = served {
                tracing::debug!(error = %e, "a connection ended in an error");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn handshake(tls: TlsAcceptor, stream: TcpStream) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    tokio::time::timeout(PATIENCE, tls.accept(stream)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn connection<S>(
    stream: S,
    (peer, certificate): (SocketAddr, Certificate),
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEADERS * 4);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(HEADERS).unwrap_or(u32::MAX))
        .keep_alive_interval(PATIENCE);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(certificate.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    watcher.watch(connection).await
}
