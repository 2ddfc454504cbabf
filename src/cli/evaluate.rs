//! `hutong evaluate`: how well the classification does on a labelled table; the misses explained.

use anyhow::Context;
use hutong::exam::classify::{Classification, Evidence, classify};
use hutong::exam::labelled::{self, Case};
use hutong::exam::score::{Score, items_text, ratio, score};
use hutong::node::procedures;
use hutong::procedure::{Procedures, Region};
use maud::{DOCTYPE, Markup, html};
use std::path::PathBuf;
use std::process::ExitCode;

/// Scores a labelled set.
#[derive(clap::Args)]
pub struct Evaluate {
    /// 标注表 Labelled table: columns case_id, Modality, StudyDescription, series_json, expected_items, … (docs/procedures.md)
    csv: PathBuf,
    /// 检查日期 Exam date that picks the edition, YYYYMMDD
    #[arg(long, default_value = "20260101", value_name = "DATE")]
    date: String,
    /// 项目数据文件夹 A folder to use instead of the built-in procedures
    #[arg(long, value_name = "FOLDER")]
    procedures: Option<PathBuf>,
    /// 网页报告 Write a report with every miss explained
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// 机器可读 The score as JSON
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let name = || self.csv.display().to_string();
        let table = std::fs::read(&self.csv).with_context(name)?;
        let cases = labelled::read(&table).with_context(name)?;
        let procedures = procedures(self.procedures.as_deref())?;
        let region = procedures.region_for(&self.date).with_context(|| format!("no list is in force on {}", self.date))?;
        let score = score(&cases, region, &procedures);
        if let Some(file) = &self.html {
            let page = report(&score, &cases, region, &procedures).into_string();
            std::fs::write(file, page).with_context(|| file.display().to_string())?;
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&score)?);
        } else {
            print(&score, &cases, region);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.1}%", 100.0 * ratio(part, whole))
}

fn print(score: &Score, cases: &[Case], region: &Region) {
    println!("清单 list          {} {}", region.code, region.edition);
    println!("病例 rows          {}", score.rows);
    println!("完全一致 exact      {} ({})", score.exact, percent(score.exact, score.rows));
    println!(
        "错误标识 false marks {}，其中应为 none 的 {} of {} none rows",
        score.false_marks, score.false_marks_on_none, score.none_rows
    );
    println!("原因一致 reasons    {} of {} none rows", score.reasons_exact, score.none_rows);
    let weak: Vec<Vec<String>> = score
        .per_item
        .iter()
        .filter(|(_, s)| s.precision < 1.0 || s.recall < 1.0)
        .map(|(n, s)| {
            let name = region.item(*n).map_or("", |i| i.name.as_str()).to_string();
            let share = |x: f64| format!("{:.0}%", 100.0 * x);
            vec![n.to_string(), share(s.precision), share(s.recall), s.expected.to_string(), name]
        })
        .collect();
    if !weak.is_empty() {
        println!();
        super::table::print(&["项目 item", "查准 precision", "查全 recall", "rows", "name"], &weak);
    }
    if !score.misses.is_empty() {
        println!();
        let title = |id: &str| cases.iter().find(|c| c.id == id).map_or(String::new(), |c| c.title.clone());
        let rows: Vec<Vec<String>> = score
            .misses
            .iter()
            .map(|m| {
                let flag = if m.false_mark { "!" } else { "" };
                let (expected, got) = (items_text(&m.expected), items_text(&m.got));
                vec![format!("{}{flag}", m.case_id), expected, got, m.reason_code.clone(), title(&m.case_id)]
            })
            .collect();
        super::table::print(&["病例 case", "应为 expected", "得到 got", "原因 reason", "text"], &rows);
    }
}

const STYLE: &str = "body{font:15px/1.5 system-ui,'Noto Sans CJK SC',sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left;vertical-align:top}\
th{background:#f3f3f3}.bad{background:#fdd}.miss{border-left:4px solid #c80;padding-left:1rem;margin:1.5rem 0}.false{border-color:#c00}\
code{background:#f3f3f3;padding:0 .2rem}";

fn report(score: &Score, cases: &[Case], region: &Region, procedures: &Procedures) -> Markup {
    html! {
        (DOCTYPE)
        html lang="zh" {
            head { meta charset="utf-8"; title { "互通 判定评估 Evaluation" } style { (STYLE) } }
            body {
                h1 { "判定评估 Evaluation" }
                p { (region.name) " " (region.edition) " · procedures " code { (procedures.digest.get(..12).unwrap_or("")) } }
                table {
                    tr { th { "病例 rows" } td { (score.rows) } }
                    tr { th { "完全一致 exact" } td { (score.exact) " (" (percent(score.exact, score.rows)) ")" } }
                    tr class=[(score.false_marks > 0).then_some("bad")] {
                        th { "错误标识 false marks" } td { (score.false_marks) ", none: " (score.false_marks_on_none) "/" (score.none_rows) }
                    }
                    tr { th { "原因一致 reasons exact" } td { (score.reasons_exact) "/" (score.none_rows) } }
                }
                h2 { "未一致的病例 Misses" }
                @for miss in &score.misses {
                    @if let Some(case) = cases.iter().find(|c| c.id == miss.case_id) {
                        (explained(miss.false_mark, case, &classify(region, procedures, &case.study), region))
                    }
                }
                h2 { "混淆表 Confusion" }
                p { "只列出不一致的 Only what differs" }
                table {
                    tr { th { "应为 expected" } th { "得到 got" } th { "rows" } }
                    @for (expected, row) in &score.confusion {
                        @for (got, n) in row.iter().filter(|(got, _)| *got != expected) {
                            tr { td { (expected) } td { (got) } td { (n) } }
                        }
                    }
                }
                h2 { "项目 Items" }
                table {
                    tr { th { "项目 item" } th { "名称 name" } th { "查准 precision" } th { "查全 recall" } th { "应为 expected" } th { "得到 got" } }
                    @for (n, s) in &score.per_item {
                        tr class=[(s.precision < 1.0).then_some("bad")] {
                            td { (n) } td { (region.item(*n).map_or("", |i| i.name.as_str())) }
                            td { (format!("{:.2}", s.precision)) } td { (format!("{:.2}", s.recall)) } td { (s.expected) } td { (s.got) }
                        }
                    }
                }
                h2 { "标签 Tags" }
                table {
                    tr { th { "tag" } th { "exact" } th { "rows" } }
                    @for (tag, (exact, rows)) in &score.per_tag { tr { td { (tag) } td { (exact) } td { (rows) } } }
                }
            }
        }
    }
}

fn explained(false_mark: bool, case: &Case, found: &Classification, region: &Region) -> Markup {
    let got = found.recognised.iter().map(|r| r.item).collect();
    html! {
        div class=(if false_mark { "miss false" } else { "miss" }) {
            h3 { (case.id) " " (case.title) }
            p { "应为 expected " b { (items_text(&case.expected)) } " " (case.reason) " · 得到 got " b { (items_text(&got)) } }
            ul {
                @for series in &case.study.series {
                    li { (series.modality) " " (series.body_part) " “" (series.description) "” × " (series.count) " " (series.agents.join(", ")) }
                }
            }
            @for r in &found.recognised {
                p { "项目 item " (r.item) " " (region.item(r.item).map_or("", |i| i.name.as_str())) " — " (r.confidence.words().0) " " (r.confidence.words().1) }
                (evidence(&r.because))
            }
            @for r in &found.refused {
                p { code { (r.reason.code()) } " " (r.reason.zh()) " " (r.reason.en()) " · 最接近 nearest " (format!("{:?}", r.nearest)) }
                (evidence(&r.because))
            }
        }
    }
}

fn evidence(because: &[Evidence]) -> Markup {
    html! { ul { @for e in because { li { (e.from_zh()) " " (e.from) " “" (e.text) "” → " (e.zh) " " code { (e.means) } } } } }
}
