//! `hutong rule`: a person's ruling on a study's verdict, handed to the running node.

use super::Common;
use anyhow::Context;
use hutong::dicom::Uid;
use std::process::ExitCode;

/// Rules on a study.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("outcome").required(true).args(["accept", "reject"])))]
pub struct Rule {
    #[command(flatten)]
    common: Common,
    /// Study Instance UID
    study: String,
    /// 接受项目 Accept this item, whatever stood against it
    #[arg(long, value_name = "ITEM")]
    accept: Option<u32>,
    /// 不予标注 Reject this item; without a number: the study holds no item
    #[arg(long, value_name = "ITEM", num_args = 0..=1)]
    reject: Option<Option<u32>>,
    /// 承载序列 Series that carry an item which was not recognised; may be repeated
    #[arg(long, value_name = "UID")]
    series: Vec<String>,
    /// 裁定人 Who rules
    #[arg(long)]
    by: String,
    /// 理由 Why
    #[arg(long)]
    reason: String,
}

impl Rule {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let study = Uid::parse(&self.study).context("Study Instance UID")?;
        let port = self.common.load()?.http.port;
        let (item, outcome) = match (self.accept, self.reject) {
            (Some(item), _) => (Some(item), "accept"),
            (None, item) => (item.flatten(), "reject"),
        };
        let body = serde_json::json!({
            "item": item, "outcome": outcome, "by": self.by, "reason": self.reason, "series": self.series,
        });
        let (status, answer) = super::node::ask(port, "POST", &format!("/api/v1/studies/{study}/rulings"), &body.to_string())?;
        anyhow::ensure!(status == 202, "{}", detail(&answer));
        println!("已记录裁定，检查将重新判定  the ruling is recorded; the study is judged again");
        Ok(ExitCode::SUCCESS)
    }
}

fn detail(answer: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(answer).ok();
    json.and_then(|j| j.get("detail")?.as_str().map(str::to_string)).unwrap_or_else(|| answer.to_string())
}
