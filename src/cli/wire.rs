//! `hutong send` and `hutong echo`.

use super::files;
use hutong::dicom::uids;
use hutong::dimse::storescu::{Answer, Outgoing, send};
use hutong::dimse::{Command, Incoming, Proposal, Requested, Timeouts, connect};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Whom to call.
#[derive(clap::Args, Clone)]
struct Peer {
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
}

impl Peer {
    fn request(&self, proposals: Vec<Proposal>) -> Requested {
        let wait = Duration::from_secs(self.timeout.max(1));
        Requested {
            address: self.address.clone(),
            called: self.called.clone(),
            calling: self.calling.clone(),
            proposals,
            max_pdu: 1 << 17,
            timeouts: Timeouts { association: wait, network: wait, idle: wait },
        }
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
        let mut objects: Vec<Outgoing> = Vec::new();
        let (mut names, mut failures) = (Vec::new(), Vec::new());
        for path in &paths {
            match files::outgoing(path) {
                Ok(object) => {
                    objects.push(object);
                    names.push(path.display().to_string());
                }
                Err(why) => failures.push(format!("{}: {why}", path.display())),
            }
        }
        let sent = transfer(&self.peer.request(vec![]), &mut objects, &names, self.json, &mut failures);
        if self.json {
            println!("{}", serde_json::json!({"files": paths.len(), "stored": sent, "failures": failures}));
        } else {
            failures.iter().for_each(|f| eprintln!("{f}"));
            println!("已发送 {sent} / {}  {sent} of {} files stored", paths.len(), paths.len());
        }
        Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Sends with a progress bar; the number stored.
fn transfer(to: &Requested, objects: &mut [Outgoing], names: &[String], quiet: bool, failures: &mut Vec<String>) -> usize {
    let bar = if quiet { ProgressBar::hidden() } else { bar(objects.len() as u64) };
    let mut stored = 0;
    let result = send(to, objects, &mut |number, answer| {
        bar.inc(1);
        match describe(answer) {
            None => stored += 1,
            Some(why) => failures.push(format!("{}: {why}", names.get(number).map_or("?", String::as_str))),
        }
    });
    bar.finish_and_clear();
    if let Err(e) = result {
        failures.push(format!("{}: {e}", to.address));
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
    let status = |code: &u16, comment: &Option<String>| format!("status {code:04X}H {}", comment.as_deref().unwrap_or(""));
    match answer {
        Answer::Stored => None,
        Answer::Warning(code, comment) => Some(format!("stored with a warning: {}", status(code, comment))),
        Answer::Refused(code, comment) => Some(format!("refused: {}", status(code, comment))),
        Answer::NoContext => Some("the peer accepts no presentation context for its SOP class and transfer syntax".into()),
        Answer::Unreadable(why) => Some(format!("it cannot be read: {why}")),
    }
}

/// C-ECHO.
#[derive(clap::Args)]
pub struct Echo {
    #[command(flatten)]
    peer: Peer,
}

impl Echo {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let proposal = Proposal {
            abstract_syntax: uids::VERIFICATION.into(),
            transfer_syntaxes: vec![uids::IMPLICIT_VR_LITTLE_ENDIAN.into(), uids::EXPLICIT_VR_LITTLE_ENDIAN.into()],
        };
        let begun = std::time::Instant::now();
        let mut association = connect(&self.peer.request(vec![proposal]))?;
        let context = association.contexts.first().cloned();
        let context = context.ok_or_else(|| anyhow::anyhow!("the peer does not offer Verification (C-ECHO)"))?;
        association.send(context.id, &Command::request(0x0030, 1, uids::VERIFICATION, false))?;
        let status = match association.receive()? {
            Incoming::Message(_, response) => response.status(),
            _ => None,
        };
        association.release()?;
        anyhow::ensure!(status == Some(0), "the peer answered with status {:04X}H", status.unwrap_or(0xFFFF));
        println!("{} {} 连通 answers, {} ms", self.peer.called, self.peer.address, begun.elapsed().as_millis());
        Ok(ExitCode::SUCCESS)
    }
}
