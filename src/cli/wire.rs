//! `hutong send` and `hutong echo`.

use super::{files, own_program};
use hutong::codec::{Limits, Pool};
use hutong::dicom::uids;
use hutong::dimse::storescu::{Answer, Outgoing, send};
use hutong::dimse::{ClientTls, Command, Incoming, Own, PLAIN, Proposal, Requested, connect};
use hutong::peers::check_title;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Whom to call.
#[derive(clap::Args, Clone)]
pub struct Peer {
    /// 对方地址 Address of the peer, e.g. 127.0.0.1:11112
    #[arg(value_name = "HOST:PORT")]
    address: String,
    /// 对方 AE Title of the peer
    #[arg(long, default_value = "HUTONG")]
    called: String,
    /// 本方 AE Title of ours
    #[arg(long, default_value = "HUTONGSCU")]
    calling: String,
    /// 超时（秒） Longest wait for the peer, seconds
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// TLS：信任的根证书 Speak TLS and trust these authorities, PEM
    #[arg(long, value_name = "FILE")]
    tls_authorities: Option<PathBuf>,
    /// TLS：本方证书 Our certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_authorities", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// TLS：本方私钥 Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// TLS：核对主机名 The peer's certificate must be for its host name
    #[arg(long)]
    tls_check_name: bool,
    /// 用户名 User to show; its passcode is read from HUTONG_PASSCODE
    #[arg(long)]
    user: Option<String>,
}

impl Peer {
    /// What to connect with.
    pub fn request(&self, proposals: Vec<Proposal>) -> anyhow::Result<Requested> {
        let wait = Duration::from_secs(self.timeout.max(1));
        for (option, title) in [("--called", &self.called), ("--calling", &self.calling)] {
            check_title(title).map_err(|why| anyhow::anyhow!("{option}: {why}"))?;
        }
        let own = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Own { certificate, key }),
            _ => None,
        };
        let tls = self.tls_authorities.as_ref().map(|file| ClientTls::new(file, own, self.tls_check_name));
        let passcode = || std::env::var("HUTONG_PASSCODE").unwrap_or_default();
        Ok(Requested {
            proposals,
            tls: tls.transpose().map_err(anyhow::Error::msg)?,
            identity: self.user.clone().map(|user| (user, passcode())),
            ..Requested::plain(&self.address, &self.called, &self.calling, wait)
        })
    }

    /// Longest wait.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.max(1))
    }
}

/// C-STORE.
#[derive(clap::Args)]
pub struct Send {
    #[command(flatten)]
    peer: Peer,
    /// 文件或文件夹 Files or folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// 机器可读 One JSON object with the counts and failures
    #[arg(long)]
    json: bool,
}

impl Send {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let paths = files::below(&self.paths)?;
        let pool = Pool::new(own_program()?, limits());
        let mut objects: Vec<Outgoing<'_>> = Vec::new();
        let (mut names, mut failures) = (Vec::new(), Vec::new());
        for path in &paths {
            match files::outgoing(path, Some(&pool)) {
                Ok(object) => {
                    objects.push(object);
                    names.push(path.display().to_string());
                }
                Err(why) => failures.push(format!("{}: {why}", path.display())),
            }
        }
        let mut warnings = Vec::new();
        let told = (&mut failures, &mut warnings);
        let sent = transfer(&self.peer.request(vec![])?, &mut objects, &names, self.json, told);
        if self.json {
            println!(
                "{}",
                serde_json::json!({"files": paths.len(), "stored": sent, "failures": failures, "warnings": warnings})
            );
        } else {
            warnings.iter().chain(&failures).for_each(|f| eprintln!("{f}"));
            println!("已发送 {sent} / {}  {sent} of {} files stored", paths.len(), paths.len());
        }
        Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// As much as a node without a configuration gives its decoders.
fn limits() -> Limits {
    let codec = hutong::config::Codec::default();
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    Limits { workers, memory_mib: codec.memory_mib, time: Duration::from_secs(codec.seconds) }
}

/// Sends with a progress bar; the number stored.
fn transfer(
    to: &Requested,
    objects: &mut [Outgoing<'_>],
    names: &[String],
    quiet: bool,
    (failures, warnings): (&mut Vec<String>, &mut Vec<String>),
) -> usize {
    let bar = if quiet { ProgressBar::hidden() } else { bar(objects.len() as u64) };
    let (mut stored, mut tried) = (0, 0);
    let result = send(to, objects, None, &mut |number: usize, answer: &Answer| {
        bar.inc(1);
        tried = number + 1;
        stored += usize::from(answer.is_kept());
        if let Some(why) = describe(answer) {
            let told = format!("{}: {why}", names.get(number).map_or("?", String::as_str));
            // The peer keeps it, and says what it did to it.
            if answer.is_kept() { warnings.push(told) } else { failures.push(told) }
        }
        true
    });
    bar.finish_and_clear();
    if let Err(e) = result {
        failures.push(format!("{}: {e}", to.address));
        failures.extend(names.iter().skip(tried).map(|name| format!("{name}: 未发送 not sent")));
    }
    stored
}

/// A progress bar for a number of files.
pub fn bar(count: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(count).with_style(style)
}

/// What is wrong with an answer; none for success.
pub fn describe(answer: &Answer) -> Option<String> {
    (*answer != Answer::Stored).then(|| answer.to_string())
}

/// C-ECHO.
#[derive(clap::Args)]
pub struct Echo {
    #[command(flatten)]
    peer: Peer,
    /// 机器可读 One JSON object
    #[arg(long)]
    json: bool,
}

impl Echo {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let proposal = Proposal::new(uids::VERIFICATION, &PLAIN);
        let begun = std::time::Instant::now();
        let mut association = connect(&self.peer.request(vec![proposal])?)?;
        let context = association.contexts.first().cloned();
        let context = context.ok_or_else(|| anyhow::anyhow!("the peer does not offer Verification (C-ECHO)"))?;
        association.send(context.id, &Command::request(0x0030, 1, uids::VERIFICATION, false))?;
        let status = match association.receive()? {
            Incoming::Message(_, response) => response.status(),
            _ => None,
        };
        association.leave();
        anyhow::ensure!(status == Some(0), "the peer answered with status {:04X}H", status.unwrap_or(0xFFFF));
        let (called, address, ms) = (&self.peer.called, &self.peer.address, begun.elapsed().as_millis());
        if self.json {
            println!("{}", serde_json::json!({"called": called, "address": address, "status": "0000", "milliseconds": ms}));
        } else {
            println!("{called} {address} 连通 answers, {ms} ms");
        }
        Ok(ExitCode::SUCCESS)
    }
}
