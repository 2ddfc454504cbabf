//! The report as a page: verdict, findings with what to do, the slices as they stand, and pictures with the fault in sight.

use super::picture::{self, Thumbnail};
use super::whole::{Contents, Whole, facts, originals};
use crate::codec::Pool;
use crate::dicom::{Uid, tags};
use crate::exam::facts::SeriesFacts;
use crate::exam::finding::{Finding, Level};
use crate::exam::verdict::{Ground, ItemVerdict, Verdict};
use crate::index::{InstanceRow, StudyRow};
use crate::procedure::Procedures;
use crate::retrieve::Object;
use crate::store::Store;
use base64::Engine;
use maud::{DOCTYPE, Markup, html};
use std::collections::BTreeSet;

/// What the page is made of.
pub struct Input<'a> {
    /// Files.
    pub store: &'a Store,
    /// Decoders.
    pub pool: &'a Pool,
    /// The knowledge.
    pub procedures: &'a Procedures,
    /// The study.
    pub study: &'a StudyRow,
    /// Its series and instances.
    pub contents: &'a Contents,
    /// What was found.
    pub verdict: &'a Verdict,
}

/// Pictures on one page at most.
const MOST_PICTURES: usize = 24;

pub(super) const STYLE: &str = "body{font:15px/1.5 system-ui,'Noto Sans CJK SC',sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left;vertical-align:top}\
th{background:#f3f3f3}.reject td:first-child,.bad{color:#b00}.review td:first-child{color:#a60}.outcome{font-size:1.3rem}\
figure{display:inline-block;width:260px;vertical-align:top;margin:.5rem;word-break:break-all}figure img{max-width:256px;background:#000}\
figcaption{font-size:12px}code{background:#f3f3f3;padding:0 .2rem}";

/// The page, as HTML that needs nothing from elsewhere.
pub fn page(input: &Input<'_>) -> String {
    let own = originals(input.contents);
    let whole: Vec<Whole> = own.iter().map(|(series, rows)| Whole::read(input.store, series, rows)).collect();
    let facts = facts(input.study, &own, &whole);
    let verdict = input.verdict;
    let mut findings: Vec<&Finding> = verdict.findings.iter().collect();
    findings.sort_by_key(|f| std::cmp::Reverse(f.level));
    let markup = html! {
        (DOCTYPE)
        html lang="zh" {
            head { meta charset="utf-8"; title { "互通 质量报告 Quality report" } style { (STYLE) } }
            body {
                h1 { "质量报告 Quality report" }
                (summary(input))
                @for item in &verdict.items { (of_item(item)) }
                @for refusal in &verdict.refused {
                    p { "未列入 refused: " code { (refusal.reason.code()) } " " (refusal.reason.zh()) " " (refusal.reason.en()) }
                }
                (grounds(&verdict.grounds))
                h2 { "发现 Findings" }
                (table(&findings))
                h2 { "序列 Series" }
                @for series in &facts.series { (of_series(input, series)) }
                h2 { "图像 Images" }
                p { "红：达到最大值；蓝：达到最小值。 Red: at the largest value; blue: at the smallest." }
                @for row in pictured(input, &own) { (figure(input, row, &findings)) }
            }
        }
    };
    markup.into_string()
}

fn summary(input: &Input<'_>) -> Markup {
    let (verdict, study) = (input.verdict, &input.study.attributes);
    let modalities: Vec<&str> = input.study.modalities.iter().map(String::as_str).collect();
    html! {
        table {
            tr { th { "结论 verdict" } td class="outcome" { (verdict.outcome.words()) } }
            tr { th { "检查 study" } td { code { (verdict.study) } } }
            tr { th { "检查日期 date" } td { (study.text(tags::STUDY_DATE).unwrap_or("—")) " " (modalities.join(", ")) } }
            tr { th { "描述 description" } td { (study.text(tags::STUDY_DESCRIPTION).unwrap_or("—")) } }
            tr { th { "机构 hospital" } td { (verdict.hospital.as_deref().unwrap_or("未知 unknown")) } }
            tr { th { "清单 list" } td {
                @match &verdict.region { Some((code, edition)) => { (code) " " (edition) } None => "—" }
                " · procedures " code { (verdict.procedures.get(..12).unwrap_or("")) }
            } }
        }
    }
}

fn of_item(item: &ItemVerdict) -> Markup {
    let (zh, en) = item.confidence.words();
    html! {
        h3 { "项目 item " (item.number) " " (item.name) " — " (item.outcome.words()) }
        p { (zh) " " (en) @if !item.assumed.is_empty() { " · " (item.assumed.join(", ")) } }
        (grounds(&item.grounds))
    }
}

fn grounds(grounds: &[Ground]) -> Markup {
    html! { @if !grounds.is_empty() { ul { @for g in grounds { li { code { (g.code) } " " (g.zh) br; (g.en) } } } } }
}

fn table(findings: &[&Finding]) -> Markup {
    let number =
        |n: Option<f64>| n.map_or(String::new(), |n| format!("{n:.3}").trim_end_matches('0').trim_end_matches('.').to_string());
    html! {
        @if findings.is_empty() { p { "无 none" } } @else {
            table {
                tr { th { "级别 level" } th { "检查 check" } th { "说明 what" } th { "测得 measured" } th { "界限 limit" } th { "对象 object" } }
                @for f in findings {
                    tr class=(format!("{:?}", f.level).to_lowercase()) {
                        td { (f.level.words()) } td { code { (f.check) } } td { (f.zh) br; (f.en) }
                        td { (number(f.measured)) " " (f.unit) } td { (number(f.threshold)) }
                        td { @if let Some(uid) = f.instance.as_ref().or(f.series.as_ref()) { code { (uid) } @if let Some(frame) = f.frame { " 第 " (frame) " 帧 frame " (frame) } } }
                    }
                }
            }
        }
    }
}

fn of_series(input: &Input<'_>, series: &SeriesFacts) -> Markup {
    let carries = input.verdict.items.iter().filter(|i| i.series.contains(&series.uid)).map(|i| i.number.to_string());
    let carries: Vec<String> = carries.collect();
    let factor = input.procedures.quality.completeness.gap_factor;
    html! {
        h3 { (series.modality) " " (series.description) " × " (series.count)
            @if !carries.is_empty() { " — 承载项目 carries " (carries.join(", ")) } }
        @for stack in series.stacks.iter().filter(|s| s.slices.len() > 1).take(8) { p { (picture::stack(stack, factor)) } }
        @let own = input.verdict.measures.iter().filter(|m| m.series == series.uid);
        p { @for (n, m) in own.enumerate() { @if n > 0 { " · " } (m.measure) " " (format!("{:.4}", m.value)) } }
    }
}

/// The images that findings name, and the middle one of every series that carries an item.
fn pictured<'a>(input: &Input<'_>, own: &'a Contents) -> Vec<&'a InstanceRow> {
    let grave = |f: &&Finding| f.level >= Level::Warn;
    let named: BTreeSet<&Uid> = input.verdict.findings.iter().filter(grave).filter_map(|f| f.instance.as_ref()).collect();
    let all = || own.iter().flat_map(|(_, rows)| rows);
    let mut chosen: Vec<&InstanceRow> = all().filter(|r| named.contains(&r.sop_instance)).collect();
    for (series, rows) in own {
        let carries = |i: &ItemVerdict| i.series.contains(&series.series);
        if input.verdict.items.iter().any(carries) {
            chosen.extend(rows.get(rows.len() / 2).filter(|r| !named.contains(&r.sop_instance)));
        }
    }
    chosen.truncate(MOST_PICTURES);
    chosen
}

fn figure(input: &Input<'_>, row: &InstanceRow, findings: &[&Finding]) -> Markup {
    let own = || findings.iter().filter(|f| f.instance.as_ref() == Some(&row.sop_instance));
    // The frame of the gravest finding; of those alike the first.
    let frame = own().filter(|f| f.frame.is_some()).min_by_key(|f| std::cmp::Reverse(f.level)).and_then(|f| f.frame);
    let number = frame.map_or(0, |frame| frame.saturating_sub(1));
    let made = Object::open(input.store, row, 1 << 20).ok().map(|object| picture::thumbnail(&object, number, input.pool));
    html! {
        figure {
            @match made {
                Some(Ok(Thumbnail { png, histogram })) => {
                    img alt="" src={ "data:image/png;base64," (base64::engine::general_purpose::STANDARD.encode(png)) };
                    @if !histogram.is_empty() { (picture::histogram(&histogram)) }
                }
                _ => p class="bad" { "无法显示 cannot be input" }
            }
            figcaption {
                code { (row.sop_instance) } " #" (row.attributes.text(tags::INSTANCE_NUMBER).unwrap_or("—"))
                @if let Some(frame) = frame { " 第 " (frame) " 帧 frame " (frame) }
                @for f in own() { br; b { (f.check) } " " (f.zh) }
            }
        }
    }
}
