//! `hutong explain`: why a study got its verdict, from the running node or from a data root at rest.

use super::Common;
use anyhow::Context;
use hutong::dicom::Uid;
use hutong::exam::classify::{Evidence, assumption};
use hutong::exam::verdict::Verdict;
use hutong::index::{Index, SledIndex};
use std::process::ExitCode;

/// Prints the evidence.
#[derive(clap::Args)]
pub struct Explain {
    #[command(flatten)]
    common: Common,
    /// Study Instance UID
    study: String,
    /// 机器可读 The verdict as JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let study = Uid::parse(&self.study).context("Study Instance UID")?;
        let config = self.common.load()?;
        let folder = config.storage.root.join("index");
        anyhow::ensure!(folder.exists(), "{}: there is no index; is storage.root right?", folder.display());
        let verdict = match SledIndex::open_existing(&folder) {
            Ok(index) => index.verdict(&study)?,
            Err(hutong::index::IndexError::InUse) => ask_node(config.http.port, &study)?,
            Err(e) => return Err(e.into()),
        };
        let verdict =
            verdict.ok_or_else(|| anyhow::anyhow!("there is no verdict on {study}: it is unknown, or not settled yet"))?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&verdict)?);
        } else {
            print(&verdict);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The verdict from the node that holds the index.
fn ask_node(port: u16, study: &Uid) -> anyhow::Result<Option<Verdict>> {
    let (status, body) = super::node::ask(port, "GET", &format!("/api/v1/studies/{study}"), "")?;
    if status == 404 {
        return Ok(None);
    }
    let json: serde_json::Value = serde_json::from_str(&body)?;
    Ok(serde_json::from_value(json.get("verdict").cloned().unwrap_or_default())?)
}

fn print_evidence(because: &[Evidence]) {
    for e in because {
        println!("  依据 evidence: {} {} “{}” → {}（{}）", e.from_zh(), e.from, e.text, e.zh, e.means);
    }
}

/// Prints a verdict for a person.
pub fn print(verdict: &Verdict) {
    println!("检查 Study      {}", verdict.study);
    let region = verdict.region.as_ref().map_or("—".into(), |(code, edition)| format!("{code} {edition}"));
    println!("清单 List       {region}   procedures {}", verdict.procedures.get(..12).unwrap_or(""));
    println!("机构 Hospital   {}", verdict.hospital.as_deref().unwrap_or("未知 unknown"));
    println!("结论 Verdict    {}", verdict.outcome.words());
    for item in &verdict.items {
        println!("\n项目 Item {} {} — {}", item.number, item.name, item.outcome.words());
        let (zh, en) = item.confidence.words();
        println!("  依据程度 founded: {zh} {en}");
        for series in &item.series {
            println!("  承载序列 series: {series}");
        }
        print_evidence(&item.because);
        for code in &item.assumed {
            let (zh, en) = assumption(code);
            println!("  推定 assumed: {code} {zh}\n       {en}");
        }
        for ground in &item.grounds {
            println!("  {} {}\n       {}", ground.code, ground.zh, ground.en);
        }
    }
    for refusal in &verdict.refused {
        println!("\n未列入 Refused: {} {}\n     {}", refusal.reason.code(), refusal.reason.zh(), refusal.reason.en());
        if !refusal.nearest.is_empty() {
            println!("  最接近的项目 nearest items: {:?}", refusal.nearest);
        }
        print_evidence(&refusal.because);
    }
    for ground in &verdict.grounds {
        println!("\n{} {}\n     {}", ground.code, ground.zh, ground.en);
    }
    if !verdict.findings.is_empty() {
        println!("\n检查发现 Findings");
    }
    for f in &verdict.findings {
        let number = match (f.measured, f.threshold) {
            (Some(m), Some(t)) => format!(" [{m:.3} / {t:.3} {}]", f.unit),
            _ => String::new(),
        };
        println!("  {} {:?}{number} {}\n       {}", f.check, f.level, f.zh, f.en);
    }
}
