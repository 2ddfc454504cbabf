//! Wires the parts once: start, drain, stop. Knows every part, is known by none.

use crate::access::{self, Guard};
use crate::audit::Follower;
use crate::codec::{Limits, Pool};
use crate::config::{Config, ConfigError, Dimse, Http};
use crate::dimse::{ClientTls, Own, ServerTls, Timeouts};
use crate::exchange::entitled::Entitled;
use crate::exchange::live::LiveRegister;
use crate::federation::{External, Remote, Retrievals};
use crate::index::{Index, IndexError, SledIndex};
use crate::ingest::{self, Ingest, Settings, now_ms};
use crate::journal::{Event, Journal};
use crate::mark::{Face, MarkError};
use crate::outbox::Outbox;
use crate::peers::{Calls, Peers};
use crate::procedure::catalogue::Region;
use crate::procedure::mark::FontFile;
use crate::procedure::{LoadError, Procedures, embedded, load};
use crate::retrieve::Opened;
use crate::scp::{Listener, Shared};
use crate::store::{Store, walk};
use crate::web::server::{self, serve};
use crate::web::{self, App, Commitments, Decisions, Turns, router};
use crate::work::external::Externals;
use crate::work::{Runner, Sending, Shop};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Why a node does not start. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("external {0}: {1}")]
    External(String, String),
    #[error("storage.root {0}: {1}")]
    Storage(PathBuf, io::Error),
    #[error("index in {0}: {1}")]
    Index(PathBuf, IndexError),
    #[error("procedures are not valid:\n{}", .0.iter().map(|e| format!("  {e}")).collect::<Vec<_>>().join("\n"))]
    Procedures(Vec<LoadError>),
    #[error("exchange.register {0}: {1}")]
    Register(PathBuf, String),
    #[error("recovery: {0}")]
    Recovery(ingest::Failed),
    #[error("{0} {1}:{2} cannot be listened on: {3}; is another node running there? see dimse.port and http.port")]
    Port(&'static str, std::net::IpAddr, u16, io::Error),
    #[error("http.tls_certificate and http.tls_key: {0}")]
    Tls(String),
    #[error("TLS for DICOM: {0}")]
    DicomTls(String),
    #[error("a thread cannot be started: {0}")]
    Thread(io::Error),
}

/// A running node.
pub struct Node {
    /// Where DICOM is spoken.
    pub dicom: SocketAddr,
    /// Where HTTP is spoken.
    pub http: SocketAddr,
    /// What jobs work with; also the way to look into the node.
    pub shop: Arc<Shop>,
    runner: Runner,
    stop: watch::Sender<bool>,
    edges: Vec<JoinHandle<()>>,
}

/// Files and index of a data root, opened and whole.
pub struct Data {
    /// Files.
    pub store: Arc<Store>,
    /// Facts.
    pub index: Arc<SledIndex>,
}

/// Opens a data root for this process alone: finishes what a crash interrupted, and makes the index again if it must.
///
/// # Errors
/// In use, damaged beyond what can be mended, or not writable.
pub fn open_data(config: &Config) -> Result<Data, StartError> {
    let root = &config.storage.root;
    let store = Store::open(root).map_err(|e| StartError::Storage(root.clone(), e))?;
    let folder = root.join("index");
    let opened = SledIndex::open(&folder).map_err(|e| StartError::Index(folder.clone(), e))?;
    let quiet = config.study.quiet_period;
    if opened.must_rebuild && store.files().next().is_some() {
        tracing::warn!("the index is missing, damaged or of another version: it is made again from the files");
        let mut report = |n: u64| tracing::info!(instances = n, "indexed");
        let (count, failed) = ingest::rebuild(&store, &opened.index, quiet, &mut report).map_err(StartError::Recovery)?;
        tracing::info!(instances = count, failed = failed.len(), "the index is whole again");
    }
    if opened.must_rebuild {
        opened.index.mark_complete().map_err(|e| StartError::Index(folder.clone(), e))?;
    }
    let recovered = ingest::recover(&store, &opened.index, quiet).map_err(StartError::Recovery)?;
    if recovered > 0 {
        tracing::info!(instances = recovered, "objects that a crash interrupted are indexed");
    }
    Ok(Data { store: Arc::new(store), index: Arc::new(opened.index) })
}

/// Reads the configured procedures, or the built-in ones.
///
/// # Errors
/// Every fault, with file and line.
pub fn procedures(root: Option<&Path>) -> Result<Procedures, StartError> {
    let Some(root) = root else { return drawable(load(embedded::FILES).map_err(StartError::Procedures)?) };
    let unreadable = |path: &Path, e: io::Error| {
        StartError::Procedures(vec![LoadError { file: path.display().to_string(), line: None, message: e.to_string() }])
    };
    let mut files = Vec::new();
    for path in walk(root.to_path_buf()) {
        let path = path.map_err(|e| unreadable(root, e))?;
        if path.extension().is_some_and(|e| e == "toml") {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            files.push((name, std::fs::read_to_string(&path).map_err(|e| unreadable(&path, e))?));
        }
    }
    let mut loaded = load(&files).map_err(StartError::Procedures)?;
    for look in loaded.regions.iter_mut().map(|r| &mut r.mark.look) {
        // A font outside of the folder would not be carried along with it.
        let inside = |name: &str| !name.split(['/', '\\']).any(|part| part == ".." || part.is_empty());
        if let Some(name) = look.font.as_deref().filter(|n| inside(n)) {
            let path = root.join(name);
            look.font_file = Some(FontFile::new(std::fs::read(&path).map_err(|e| unreadable(&path, e))?));
        }
    }
    drawable(loaded)
}

/// A mark that cannot be drawn whole must not be found out by the first image.
fn drawable(procedures: Procedures) -> Result<Procedures, StartError> {
    let fault = |r: &Region| {
        let missing = r.mark.look.font.is_some() && r.mark.look.font_file.is_none();
        let why = if missing {
            Err(MarkError::Font(r.mark.look.font.clone().unwrap_or_default()))
        } else {
            Face::of(&r.mark.look).and_then(|face| face.knows(&r.mark.text()))
        };
        why.err().map(|e| LoadError {
            file: format!("{}-{}/region.toml", r.code, r.edition),
            line: None,
            message: e.to_string(),
        })
    };
    let faults: Vec<LoadError> =
        procedures.regions.iter().filter(|r| r.enabled && r.mark.is_burnt()).filter_map(fault).collect();
    if faults.is_empty() { Ok(procedures) } else { Err(StartError::Procedures(faults)) }
}

fn register(path: Option<&Path>) -> Result<LiveRegister, StartError> {
    if path.is_none() {
        tracing::warn!("no exchange.register is configured: every study will wait for review, none is marked");
    }
    LiveRegister::open(path.map(Path::to_path_buf)).map_err(|(path, why)| StartError::Register(path, why))
}

fn https(http: &Http) -> Result<Option<tokio_rustls::TlsAcceptor>, StartError> {
    match (&http.tls_certificate, &http.tls_key) {
        (Some(certificate), Some(key)) => {
            server::tls(certificate, key, http.tls_client_authorities.as_deref()).map(Some).map_err(StartError::Tls)
        }
        (None, None) => Ok(None),
        _ => Err(StartError::Tls("one of them is not set; HTTPS needs both".into())),
    }
}

fn own(dimse: &Dimse) -> Result<Option<Own<'_>>, StartError> {
    match (&dimse.tls_certificate, &dimse.tls_key) {
        (Some(certificate), Some(key)) => Ok(Some(Own { certificate, key })),
        (None, None) => Ok(None),
        _ => Err(StartError::DicomTls("of dimse.tls_certificate and dimse.tls_key one is not set".into())),
    }
}

fn dicom_tls(dimse: &Dimse) -> Result<Option<ServerTls>, StartError> {
    if dimse.tls_port.is_none() {
        return Ok(None);
    }
    let own = own(dimse)?.ok_or_else(|| StartError::DicomTls("dimse.tls_port needs tls_certificate and tls_key".into()))?;
    ServerTls::new(own, dimse.tls_authorities.as_deref()).map(Some).map_err(StartError::DicomTls)
}

/// How peers are called.
fn calls(dimse: &Dimse) -> Result<Calls, StartError> {
    let tls = match &dimse.tls_authorities {
        Some(authorities) => {
            let tls = ClientTls::new(authorities, own(dimse)?, dimse.tls_check_names);
            Some(tls.map_err(StartError::DicomTls)?)
        }
        None => None,
    };
    let timeouts = Timeouts {
        association: Duration::from_secs(dimse.association_timeout),
        network: Duration::from_secs(dimse.network_timeout),
        idle: Duration::from_secs(dimse.idle_timeout),
    };
    Ok(Calls { aet: dimse.aet.clone(), max_pdu: dimse.max_pdu, timeouts, tls })
}

/// One recorder for the process, whatever number of nodes runs in it.
fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let make = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let _ = metrics::set_global_recorder(recorder);
        handle
    };
    HANDLE.get_or_init(make).clone()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get)
}

impl Node {
    /// Starts a node; `program` is the executable whose `decode-worker` decodes pixels.
    ///
    /// # Errors
    /// What is wrong and what to do about it. Nothing keeps running.
    pub async fn start(config: &Config, program: PathBuf) -> Result<Node, StartError> {
        let metrics = recorder();
        let open = |e: &External| Remote::open(e).map_err(|why| StartError::External(e.name.clone(), why));
        let remotes = || config.external.iter().map(open).collect::<Result<Vec<_>, _>>();
        let procedures = Arc::new(procedures(config.procedures.root.as_deref())?);
        let register = Arc::new(register(config.exchange.register.as_deref())?);
        let Data { store, index } = open_data(config)?;
        let index: Arc<dyn Index> = index;
        let journal_path = config.storage.root.join("journal.jsonl");
        let journal = Journal::open(&journal_path).map_err(|e| StartError::Storage(journal_path.clone(), e))?;
        let journal = Arc::new(journal);
        let audit = Follower::open(&config.audit, &config.storage.root, &journal_path, &config.dimse.aet);
        let audit = audit.map_err(|e| StartError::External("audit".into(), e))?;
        let workers = if config.codec.workers == 0 { processors() } else { config.codec.workers };
        let limits = Limits { workers, memory_mib: config.codec.memory_mib, time: Duration::from_secs(config.codec.seconds) };
        let pool = Arc::new(Pool::new(program, limits));
        let settings = Settings {
            aet: config.dimse.aet.clone(),
            reserve_bytes: config.storage.reserve_mib << 20,
            max_object_mib: config.storage.max_object_mib,
            quiet_period: config.study.quiet_period,
        };
        let (told, incoming) = std::sync::mpsc::sync_channel(crate::work::describe::WAITING);
        let described = store.clone();
        std::thread::Builder::new()
            .name("describe".into())
            .spawn(move || crate::work::describe::follow(&described, &incoming))
            .map_err(StartError::Thread)?;
        let ingest = Ingest::start(store.clone(), index.clone(), settings, Some(told)).map_err(StartError::Thread)?;
        let ingest = Arc::new(ingest);
        let dimse = &config.dimse;
        let tls = https(&config.http)?;
        let root = &config.storage.root;
        let kept = |e| StartError::Storage(root.clone(), e);
        let peers = Arc::new(Peers::open(root, &config.peer, dimse.unknown_rights(), config.dimse_is_strict()).map_err(kept)?);
        let outbox = Arc::new(Outbox::open(root).map_err(kept)?);
        let calls = calls(dimse)?;
        let retrievals = Arc::new(Retrievals::open(root).map_err(kept)?);
        let entitled = Entitled {
            register: register.clone(),
            index: index.clone(),
            procedures: procedures.clone(),
            today: crate::work::today,
        };
        let shared = Shared {
            config: dimse.clone(),
            ingest: ingest.clone(),
            index: index.clone(),
            store: store.clone(),
            pool: pool.clone(),
            journal: journal.clone(),
            peers: peers.clone(),
            calls: calls.clone(),
            outbox: outbox.clone(),
            entitled: entitled.clone(),
            may_browse: config.access.browse,
            stopping: Arc::default(),
        };
        let listener = Listener::bind(shared, dicom_tls(dimse)?).await;
        let listener = listener.map_err(|e| StartError::Port("DICOM", dimse.bind, dimse.port, e))?;
        let port_error = |e| StartError::Port("HTTP", config.http.bind, config.http.port, e);
        let socket = TcpListener::bind((config.http.bind, config.http.port)).await.map_err(port_error)?;
        let http = socket.local_addr().map_err(port_error)?;
        let dicom = listener.address().map_err(|e| StartError::Port("DICOM", dimse.bind, dimse.port, e))?;
        let app = App {
            store: store.clone(),
            index: index.clone(),
            ingest: ingest.clone(),
            pool: pool.clone(),
            opened: Opened::default(),
            turns: Turns::new(2 * processors()),
            commitments: Commitments::open(root).map_err(kept)?,
            decisions: Decisions::open(root).map_err(kept)?,
            peers: peers.clone(),
            outbox: outbox.clone(),
            guard: Guard::new(config.access.clone(), !config.asks_who(), register.clone()),
            entitled: entitled.clone(),
            journal: journal.clone(),
            procedures: procedures.clone(),
            metrics,
            name: dimse.aet.clone(),
            external: web::external::External {
                remotes: remotes()?,
                retrievals: retrievals.clone(),
                own: config.exchange.hospital.clone(),
            },
            config: config.http.clone(),
            port: http.port(),
            reserve_bytes: config.storage.reserve_mib << 20,
        };
        let key_sets = app.guard.key_sets();
        let connections = config.http.max_connections;
        let output = config.mark.transfer_syntax.uid();
        let secure = listener.tls_address();
        let sending =
            Some(Sending { peers, calls, outbox, entitled, rules: config.forward.clone(), pulls: config.pull.clone() });
        let externals = Some(Externals {
            remotes: remotes()?,
            retrievals,
            drafts: root.join("drafts"),
            longest: config.storage.max_object_mib << 20,
            reserve: config.storage.reserve_mib << 20,
            own: config.exchange.hospital.clone(),
        });
        let shop = Arc::new(Shop { store, index, ingest, pool, procedures, register, journal, output, sending, externals });
        let mut runner = Runner::start(&shop, processors()).map_err(StartError::Thread)?;
        if let Some(audit) = audit {
            runner.also("audit", move |stopping| audit.follow(stopping)).map_err(StartError::Thread)?;
        }
        runner.also("key-sets", key_sets).map_err(StartError::Thread)?;
        let started = Event::Started {
            version: env!("CARGO_PKG_VERSION").into(),
            configuration: access::digest(&format!("{config:?}")),
            register: shop.register.text().map(|text| access::digest(&text)).unwrap_or_default(),
        };
        record(&shop.journal, started);
        for (code, category, rounds) in shop.register.current().too_few_rounds(&crate::ingest::china_day(0)) {
            tracing::warn!(
                hospital = code,
                category,
                rounds,
                "fewer than two rounds of quality assessment in a year (质评每年至少 2 次)"
            );
        }
        let (stop, stopped) = watch::channel(false);
        let edges = vec![
            tokio::spawn(listener.run(wait(stopped.clone()))),
            tokio::spawn(async move {
                serve(socket, router(Arc::new(app)), connections, tls, wait(stopped)).await;
            }),
        ];
        if let Some(secure) = secure {
            tracing::info!(dicom_tls = %secure, "DICOM over TLS");
        }
        tracing::info!(dicom = %dicom, aet = dimse.aet, http = %http, "Hutong is ready");
        Ok(Node { dicom, http, shop, runner, stop, edges })
    }

    /// Stops accepting, lets what is under way end, closes.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for edge in self.edges {
            // A client that never ends its request must not hold the node up for ever.
            let _ = tokio::time::timeout(Duration::from_secs(40), edge).await;
        }
        let (runner, shop) = (self.runner, self.shop);
        let rest = tokio::task::spawn_blocking(move || {
            runner.stop();
            shop.ingest.stop();
            record(&shop.journal, Event::Stopped);
        });
        let _ = rest.await;
        tracing::info!("Hutong has stopped");
    }
}

fn record(journal: &Journal, event: Event) {
    if let Err(e) = journal.append(event, now_ms(), true) {
        tracing::error!(error = %e, "the journal cannot be written");
    }
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}
