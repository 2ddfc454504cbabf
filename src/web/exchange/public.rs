//! The public list (YB 六(四) 向社会公示): items and hospitals that take part: members with an assessment that speaks for today. No login, no patient data.

use crate::exchange::register::Hospital;
use crate::procedure::Region;
use crate::web::problem::Problem;
use crate::web::router::App;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, html};
use serde_json::json;
use std::sync::Arc;

/// `GET /public/items`, `.json` or `.csv`.
///
/// # Errors
/// Another form.
pub async fn items(State(app): State<Arc<App>>, Path(form): Path<String>) -> Result<Response, Problem> {
    let regions: Vec<&Region> = app.procedures.regions.iter().filter(|r| r.enabled).collect();
    // YB 六(二): a passed assessment is what lets a hospital take part.
    let today = (app.entitled.today)();
    let register = app.entitled.register.current();
    let members: Vec<&Hospital> = register.hospitals.iter().filter(|h| h.is_member() && h.is_admitted(&today)).collect();
    match form.as_str() {
        "items" => Ok(Html(page(&regions, &members).into_string()).into_response()),
        "items.json" => Ok(as_json(&regions, &members).into_response()),
        "items.csv" => csv(&regions),
        _ => Err(Problem::unknown("this list")),
    }
}

fn as_json(regions: &[&Region], members: &[&Hospital]) -> Json<serde_json::Value> {
    let item = |i: &crate::procedure::catalogue::Item| json!({"number": i.number, "category": i.category, "part": i.part, "name": i.name, "definition": i.definition});
    let region = |r: &&Region| {
        json!({"code": r.code, "edition": r.edition, "name": r.name, "source": r.source, "valid_from": r.valid_from,
               "valid_to": r.valid_to, "validity_months": r.validity_months, "mark": r.mark.text(),
               "items": r.items.iter().map(item).collect::<Vec<_>>()})
    };
    let hospital = |h: &&Hospital| json!({"code": h.code, "name": h.name, "level": h.level, "district": h.district});
    Json(json!({
        "regions": regions.iter().map(region).collect::<Vec<_>>(),
        "hospitals": members.iter().map(hospital).collect::<Vec<_>>(),
    }))
}

fn csv(regions: &[&Region]) -> Result<Response, Problem> {
    let failed = |e: &dyn std::fmt::Display| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["地区", "版本", "序号", "类别", "部位", "项目名称", "释义"]).map_err(|e| failed(&e))?;
    for region in regions {
        for i in &region.items {
            let row = [&region.name, &region.edition, &i.number.to_string(), &i.category, &i.part, &i.name, &i.definition];
            writer.write_record(row).map_err(|e| failed(&e))?;
        }
    }
    let bytes = writer.into_inner().map_err(|e| failed(&e))?;
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], bytes).into_response())
}

fn page(regions: &[&Region], members: &[&Hospital]) -> maud::Markup {
    html! {
        (DOCTYPE)
        html lang="zh-CN" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "检查互认项目公示" }
                style { "body{font-family:sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;line-height:1.6}table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.3rem .6rem;text-align:left}" }
            }
            body {
                h1 { "检查结果互认项目" }
                @for region in regions {
                    h2 { (region.name) "（" (region.edition) "）" }
                    p { (region.source) "，自 " (region.valid_from) " 起施行；互认标识 “" (region.mark.text()) "”；一般 " (region.validity_months) " 个月内的检查。" }
                    table {
                        tr { th { "序号" } th { "类别" } th { "部位" } th { "项目名称" } th { "释义" } }
                        @for i in &region.items {
                            tr { td { (i.number) } td { (i.category) } td { (i.part) } td { (i.name) } td { (i.definition) } }
                        }
                    }
                }
                h2 { "参加互认的医疗机构" }
                @if members.is_empty() { p { "尚未登记" } }
                ul { @for h in members { li { (h.name) } } }
                p { "另有 " a href="items.json" { "JSON" } " 与 " a href="items.csv" { "CSV" } " 格式。" }
            }
        }
    }
}
