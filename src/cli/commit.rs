//! `hutong commit`: asks a peer whether it keeps what is in files.

use super::files;
use super::query::call;
use super::wire::Peer;
use clap::Args;
use hutong::dicom::{Uid, uids};
use hutong::dimse::{Association, Incoming, PLAIN, Roles, Status, commitment, identifier};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Storage commitment.
#[derive(Args)]
pub struct Commit {
    #[command(flatten)]
    peer: Peer,
    /// 文件或文件夹 Files or folders whose instances the peer shall have
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// 回报端口 Also listen here for the result, on an association of the peer's
    #[arg(long, value_name = "PORT")]
    listen: Option<u16>,
    /// 机器可读 The result as JSON
    #[arg(long)]
    json: bool,
}

impl Commit {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let mut wanted = BTreeMap::new();
        for path in files::below(&self.paths)? {
            let object = files::outgoing(&path, None).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?;
            wanted.insert(object.sop_instance, object.sop_class);
        }
        let instances: Vec<(String, String)> = wanted.into_iter().map(|(instance, class)| (class, instance)).collect();
        let listener = self.listen.map(|port| std::net::TcpListener::bind(("0.0.0.0", port))).transpose()?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos().to_string();
        let transaction = Uid::derived(&["hutong commit", &now, &std::process::id().to_string()]);
        let (mut association, context) = call(&self.peer, uids::STORAGE_COMMITMENT_PUSH_MODEL, vec![])?;
        commitment::ask(&mut association, &context, transaction.as_str(), &instances)?;
        let kept = match listener {
            None => self.hear(&mut association)?,
            Some(listener) => {
                association.leave();
                self.hear_elsewhere(&listener)?
            }
        };
        let failed: Vec<&String> = instances.iter().map(|(_, uid)| uid).filter(|uid| !kept.contains(*uid)).collect();
        if self.json {
            println!("{}", json!({"instances": instances.len(), "failed": failed}));
        } else {
            failed.iter().for_each(|uid| eprintln!("{uid}: 未保存 not kept"));
            let kept = instances.len().saturating_sub(failed.len());
            println!("已确认 {kept} / {}  {kept} of {} instances are committed", instances.len(), instances.len());
        }
        Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The result, on the association that it was asked on.
    fn hear(&self, association: &mut Association) -> anyhow::Result<BTreeSet<String>> {
        let begun = Instant::now();
        loop {
            let left = self.peer.timeout().saturating_sub(begun.elapsed());
            let late = "no result came; the peer may tell it on an association of its own: use --listen";
            anyhow::ensure!(!left.is_zero() && association.is_ready(left)?, "{late}");
            if let Some(kept) = result(association)? {
                return Ok(kept);
            }
        }
    }

    fn hear_elsewhere(&self, listener: &std::net::TcpListener) -> anyhow::Result<BTreeSet<String>> {
        let begun = Instant::now();
        listener.set_nonblocking(true)?;
        loop {
            anyhow::ensure!(begun.elapsed() < self.peer.timeout(), "no result came");
            let Ok((stream, _)) = listener.accept() else {
                std::thread::sleep(std::time::Duration::from_millis(20));
                continue;
            };
            stream.set_nonblocking(false)?;
            let timeouts = self.peer.request(vec![])?.timeouts;
            let accepted = hutong::dimse::accept(Box::new(stream), &Hearing, 1 << 17, timeouts, Default::default())?;
            let mut association = accepted.association;
            if let Some(kept) = result(&mut association)? {
                // Its release, and then it is over.
                let _ = association.receive();
                return Ok(kept);
            }
        }
    }
}

/// Takes an N-EVENT-REPORT-RQ; instances that are kept.
fn result(association: &mut Association) -> anyhow::Result<Option<BTreeSet<String>>> {
    match association.receive()? {
        Incoming::Message(context, request) if request.event_type().is_some() && request.has_data() => {
            let information = identifier(association, &context)?.map_err(anyhow::Error::msg)?;
            association.send(context.id, &request.response(Status::Success))?;
            Ok(Some(commitment::kept(&information)))
        }
        Incoming::Message(context, request) => {
            if request.has_data() {
                std::io::copy(&mut association.data(context.id), &mut std::io::sink())?;
            }
            association.send(context.id, &request.response(Status::UnrecognizedOperation))?;
            Ok(None)
        }
        Incoming::Released | Incoming::Stopping => anyhow::bail!("the peer ended the association without a result"),
    }
}

/// Takes results of storage commitment, from anybody.
struct Hearing;

impl hutong::dimse::Policy for Hearing {
    type Caller = ();

    fn caller(&self, _: &str, _: &str, _: Option<&hutong::dimse::Identity>) -> Result<(), hutong::dimse::Rejection> {
        Ok(())
    }

    fn abstract_syntax(&self, (): &(), uid: &str, roles: Roles) -> hutong::dimse::Decision {
        let known = uid == uids::STORAGE_COMMITMENT_PUSH_MODEL || uid == uids::VERIFICATION;
        if known { hutong::dimse::Decision::Accept(roles) } else { hutong::dimse::Decision::NotSupported }
    }

    fn transfer_syntax<'a>(&self, _: &str, _: Roles, offered: &'a [String]) -> Option<&'a String> {
        offered.iter().find(|uid| PLAIN.contains(&uid.as_str()))
    }

    fn extended(&self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
