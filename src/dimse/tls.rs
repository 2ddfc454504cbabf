//! TLS 1.2 and 1.3 under an association (PS3.15 B.9 to B.13: the profiles of BCP 195), for both roles.
//!
//! Never falls back to the clear, and never takes a certificate that no configured authority stands for.

use super::link::Stream;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, Error, RootCertStore,
    ServerConfig, ServerConnection, SideData, SignatureScheme, StreamOwned,
};

/// Certificate chain and private key, PEM.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// The chain, own certificate first.
    pub certificate: &'a Path,
    /// Its key.
    pub key: &'a Path,
}

impl Own<'_> {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let key = PrivateKeyDer::from_pem_file(self.key).map_err(|e| format!("{}: {e}", self.key.display()))?;
        Ok((certificates(self.certificate)?, key))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let all = CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(|e| wrong(&e))?;
    if all.is_empty() { Err(wrong(&"it holds no certificate")) } else { Ok(all) }
}

/// Authorities from a file, PEM.
///
/// # Errors
/// It does not read.
pub fn roots(path: &Path) -> Result<Arc<RootCertStore>, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(Arc::new(store))
}

/// SHA-256 of a certificate, lower case hexadecimal.
pub fn fingerprint(certificate: &[u8]) -> String {
    Sha256::digest(certificate).iter().map(|b| format!("{b:02x}")).collect()
}

/// The acceptor's side.
#[derive(Clone)]
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// With `clients`, a file of authorities, callers must show a certificate that one of them stands for.
    ///
    /// # Errors
    /// The file that is wrong, and why.
    pub fn new(own: Own<'_>, clients: Option<&Path>) -> Result<ServerTls, String> {
        let (chain, key) = own.read()?;
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| e.to_string())?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots(path)?, provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|e| e.to_string())?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(|e| unfit(&own, &e))?;
        Ok(ServerTls(Arc::new(config)))
    }

    /// Shakes hands; the stream, and the digest of the caller's certificate if it showed one.
    ///
    /// # Errors
    /// The caller speaks no TLS, is too slow, or its certificate is not good.
    pub fn accept(&self, socket: TcpStream, within: Duration) -> io::Result<(Box<dyn Stream>, Option<String>)> {
        let connection = ServerConnection::new(self.0.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        shake(&mut stream.conn, &mut stream.sock, within)?;
        let certificate = stream.conn.peer_certificates().and_then(<[_]>::first).map(|c| fingerprint(c));
        Ok((Box::new(stream), certificate))
    }
}

/// A client's side of a connection.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// The requestor's side.
#[derive(Clone)]
pub struct ClientTls(Arc<ClientConfig>);

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    /// Servers must show a certificate of one of the authorities in the file; its name does not matter in DICOM, where peers are told
    /// apart by AE title and address, unless `check_name` is set. `own` is shown to those that ask for it.
    ///
    /// # Errors
    /// The file that is wrong, and why.
    pub fn new(authorities: &Path, own: Option<Own<'_>>, check_name: bool) -> Result<ClientTls, String> {
        let provider = Arc::new(default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots(authorities)?, provider.clone()).build();
        let verifier = Nameless { inner: verifier.map_err(|e| e.to_string())?, check_name };
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| e.to_string())?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let (chain, key) = own.read()?;
                builder.with_client_auth_cert(chain, key).map_err(|e| unfit(&own, &e))?
            }
        };
        Ok(ClientTls(Arc::new(config)))
    }

    /// For other protocols over TLS.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.clone()
    }

    /// A stream of its own, after the handshake with `host:port`.
    ///
    /// # Errors
    /// As for an association.
    pub fn stream(&self, socket: TcpStream, address: &str) -> io::Result<TlsStream> {
        let mut stream = self.start(socket, address)?;
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(stream)
    }

    fn start(&self, socket: TcpStream, address: &str) -> io::Result<TlsStream> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(self.0.clone(), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, socket))
    }

    /// Shakes hands with `host:port`.
    ///
    /// # Errors
    /// The server speaks no TLS, is too slow, or its certificate is not good.
    pub(super) fn connect(&self, socket: TcpStream, address: &str, within: Duration) -> io::Result<Box<dyn Stream>> {
        let mut stream = self.start(socket, address)?;
        shake(&mut stream.conn, &mut stream.sock, within)?;
        Ok(Box::new(stream))
    }
}

/// The whole handshake within a time: a peer that sends a byte now and then does not hold its thread for ever.
fn shake<D: SideData>(connection: &mut ConnectionCommon<D>, socket: &mut TcpStream, within: Duration) -> io::Result<()> {
    let until = std::time::Instant::now() + within;
    while connection.is_handshaking() {
        let left = until.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_timeout(left)?;
        if connection.wants_write() {
            connection.write_tls(socket)?;
        } else {
            if connection.read_tls(socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Err(e) = connection.process_new_packets() {
                // The alert that says what is wrong.
                let _ = connection.write_tls(socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("TLS: {e}")));
            }
        }
    }
    while connection.wants_write() {
        connection.write_tls(socket)?;
    }
    Ok(())
}

impl<C, D> Stream for StreamOwned<C, TcpStream>
where
    C: std::ops::DerefMut<Target = ConnectionCommon<D>> + Send,
    D: SideData,
    StreamOwned<C, TcpStream>: Read + Write,
{
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.sock.set_timeout(timeout)
    }

    fn is_readable(&self) -> io::Result<bool> {
        self.sock.is_readable()
    }
}

/// A certificate and a key that cannot be used together.
fn unfit(own: &Own<'_>, error: &Error) -> String {
    format!("{} and {} do not belong together: {error}", own.certificate.display(), own.key.display())
}

/// Checks the chain of a certificate, and its name where that is asked for.
#[derive(Debug)]
struct Nameless {
    inner: Arc<WebPkiServerVerifier>,
    check_name: bool,
}

impl ServerCertVerifier for Nameless {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.inner.verify_server_cert(certificate, chain, name, ocsp, now) {
            // The chain is checked before the name.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.check_name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
