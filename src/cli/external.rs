//! `hutong external`: what other hospitals have of a patient, and fetching it, by the running node.

use super::{Common, table};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Other hospitals' nodes.
#[derive(Args)]
pub struct External {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// 查找 What other hospitals have of a patient
    Find(Find),
    /// 调阅 Fetch a study from another hospital: verified, stored as external, never marked again
    Retrieve(Retrieve),
    /// 列出 The nodes that are configured, and what is being fetched
    List(List),
}

#[derive(Args)]
struct Find {
    #[command(flatten)]
    common: Common,
    /// 患者号 Patient ID
    #[arg(long)]
    patient: Option<String>,
    /// 姓名 Patient's Name, with --birth-date
    #[arg(long, requires = "birth_date")]
    name: Option<String>,
    /// 出生日期 Birth date, YYYYMMDD
    #[arg(long)]
    birth_date: Option<String>,
    /// 节点 Ask these nodes only; may be repeated
    #[arg(long)]
    node: Vec<String>,
    /// 机器可读 The answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Retrieve {
    #[command(flatten)]
    common: Common,
    /// Study Instance UID
    study: String,
    /// 节点 The node that has it
    #[arg(long)]
    node: String,
    /// 转发 Forward it to this peer's AE title
    #[arg(long, value_name = "AET")]
    to: Option<String>,
    /// 患者号 Patient ID that it must have
    #[arg(long)]
    patient: Option<String>,
    /// 未通过核验也接收 Take it although it is not marked, or its hospital has no valid assessment
    #[arg(long)]
    unverified: bool,
    /// 不等待 Do not wait until it is there
    #[arg(long)]
    no_wait: bool,
    /// 机器可读 The job as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    common: Common,
}

impl External {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        match &self.what {
            What::Find(find) => find.run(),
            What::Retrieve(retrieve) => retrieve.run(),
            What::List(list) => {
                println!("{:#}", call(&list.common, "GET", "/api/v1/external", "", &[200])?);
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn call(common: &Common, method: &str, path: &str, body: &str, wanted: &[u16]) -> anyhow::Result<Value> {
    let port = common.load()?.http.port;
    let (status, answer) = super::node::ask(port, method, path, body)?;
    let json: Value = serde_json::from_str(&answer).unwrap_or(Value::Null);
    let detail = json.get("detail").and_then(Value::as_str).unwrap_or(&answer);
    anyhow::ensure!(wanted.contains(&status), "{status} {detail}");
    Ok(json)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

impl Find {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let body = json!({"patient_id": self.patient, "name": self.name, "birth_date": self.birth_date, "nodes": self.node});
        let answer = call(&self.common, "POST", "/api/v1/external/searches", &body.to_string(), &[200])?;
        if self.json {
            println!("{answer:#}");
        } else {
            print(&answer);
        }
        let nodes = answer.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let whole = nodes.iter().all(|n| text(n, "status") == "ok");
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

fn print(answer: &Value) {
    let nodes = answer.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let studies = nodes.iter().filter_map(|n| n.get("studies")?.as_array()).flatten();
    let item = |i: &Value| {
        let number = i.get("number").and_then(Value::as_u64).unwrap_or(0);
        let how = match (i.get("certain").and_then(Value::as_bool), i.get("strength").and_then(Value::as_str)) {
            (Some(true), Some(strength)) => strength,
            (Some(true), None) => "不互认 not recognised",
            _ => "推测 likely",
        };
        format!("{number} {} {how}", text(i, "title"))
    };
    let row = |s: &Value| {
        let items = s.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let instances = s.get("instances").and_then(Value::as_i64).map_or_else(String::new, |n| n.to_string());
        vec![
            text(s, "node").to_string(),
            text(s, "date").to_string(),
            s.get("modalities")
                .and_then(Value::as_array)
                .map_or_else(String::new, |m| m.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("/")),
            instances,
            text(s, "marked").to_string(),
            text(s, "description").to_string(),
            items.iter().map(item).collect::<Vec<_>>().join("; "),
            text(s, "study").to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = studies.map(row).collect();
    table::print(
        &["节点 node", "日期 date", "设备 modality", "图像 images", "标识 mark", "检查 description", "项目 items", "UID"],
        &rows,
    );
    for node in nodes.iter().filter(|n| text(n, "status") != "ok") {
        eprintln!("{}: {} {}", text(node, "node"), text(node, "status"), text(node, "why"));
    }
}

impl Retrieve {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let body = json!({"node": self.node, "study": self.study, "forward_to": self.to, "patient_id": self.patient, "unverified": self.unverified});
        let mut job = call(&self.common, "POST", "/api/v1/external/retrievals", &body.to_string(), &[202])?;
        let id = text(&job, "id").to_string();
        let bar = if self.no_wait || self.json { indicatif::ProgressBar::hidden() } else { super::wire::bar(0) };
        while !self.no_wait && !matches!(text(&job, "stage"), "done" | "given-up") {
            std::thread::sleep(Duration::from_millis(300));
            job = call(&self.common, "GET", &format!("/api/v1/external/retrievals/{id}"), "", &[200])
                .context("the job cannot be looked at; it goes on in the node")?;
            bar.set_length(job.get("total").and_then(Value::as_u64).unwrap_or(0));
            bar.set_position(job.get("fetched").and_then(Value::as_u64).unwrap_or(0));
        }
        bar.finish_and_clear();
        if self.json {
            println!("{job:#}");
        } else {
            for line in job.get("verified").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
                println!("✓ {line}");
            }
            println!("{} {}", text(&job, "stage"), text(&job, "last_error"));
        }
        let failed = text(&job, "stage") == "given-up";
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
