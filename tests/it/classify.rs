//! Classification: every item by its rule, whatever the order and spelling of the words; regions and editions as data.

use hutong::dicom::Uid;
use hutong::exam::classify::{Classification, classify};
use hutong::exam::facts::{ImageFacts, SeriesFacts, StudyFacts, StudyText};
use hutong::exam::geometry::{Plane, Stack};
use hutong::exam::labelled;
use hutong::exam::score::{items_of, score};
use hutong::procedure::{Contrast, Item, Posture, Procedures, Side, embedded::FILES, load};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::OnceLock;

pub fn procedures() -> &'static Procedures {
    static LOADED: OnceLock<Procedures> = OnceLock::new();
    LOADED.get_or_init(|| load(FILES).map_err(|e| format!("{e:?}")).unwrap())
}

fn series(modality: &str, n: usize, description: &str) -> SeriesFacts {
    let uid = |k: usize| Uid::derived(&[modality, description, &n.to_string(), &k.to_string()]);
    SeriesFacts {
        uid: uid(usize::MAX),
        modality: modality.into(),
        sop_classes: vec![],
        description: description.into(),
        protocol: String::new(),
        body_part: String::new(),
        laterality: String::new(),
        images: (0..n)
            .map(|k| ImageFacts {
                uid: uid(k),
                view_position: String::new(),
                view_codes: vec![],
                laterality: String::new(),
                orientation: vec![],
                region_codes: vec![],
                posture_codes: vec![],
            })
            .collect(),
        count: n,
        image_type: vec!["ORIGINAL".into(), "PRIMARY".into()],
        agents: vec![],
        routes: vec![],
        phases: vec![],
        region_codes: vec![],
        patient_position: "HFS".into(),
        acquisition_contrast: vec![],
        stacks: vec![],
        numbers: vec![],
        acquisitions: vec![],
        announced: None,
        repetition_ms: None,
        spin_echo: false,
        times_ms: (None, None, None),
    }
}

fn stacked(mut series: SeriesFacts, plane: Plane, step_mm: f64) -> SeriesFacts {
    let n = series.images.len();
    series.stacks = vec![Stack {
        slices: series.images.iter().map(|i| i.uid.clone()).collect(),
        along: (0..n).map(|k| k as f64 * step_mm).collect(),
        numbers: vec![],
        plane,
        orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        step_mm,
        thickness_mm: Some(step_mm),
        coverage_mm: n as f64 * step_mm,
        ..Stack::default()
    }];
    series
}

/// The words that name an item, in no order, and series that make it complete.
fn study_of(item: &Item, procedures: &Procedures) -> (Vec<String>, Vec<SeriesFacts>) {
    let region = item.region.first().unwrap();
    let mut words = vec![procedures.vocabulary.name(region).to_string()];
    words.extend(match item.side {
        Some(Side::Left) => Some("左侧".to_string()),
        Some(Side::Right | Side::Any) => Some("右侧".to_string()),
        Some(Side::Both) => Some("双侧".to_string()),
        None => None,
    });
    let modality = item.modality.first().unwrap().as_str();
    let list = match modality {
        "DX" => {
            words.extend(match item.position {
                Some(Posture::Erect) => Some("立位".to_string()),
                Some(Posture::Recumbent) => Some("卧位".to_string()),
                _ => None,
            });
            let view = |alternatives: &Vec<String>| {
                let wanted = alternatives.first().unwrap().trim_start_matches('=');
                let mut s = series("DX", 1, procedures.vocabulary.name(wanted));
                s.body_part = "CHEST".into();
                s
            };
            item.views.iter().map(view).collect()
        }
        "CT" => {
            let n = (item.coverage_mm.unwrap() / 2.0).ceil() as usize + 1;
            let plain = stacked(series("CT", n, "C-"), Plane::Axial, 2.0);
            let mut enhanced = stacked(series("CT", n, "C+"), Plane::Axial, 2.0);
            enhanced.agents = vec!["碘海醇".into()];
            match item.contrast {
                Some(Contrast::PlainAndEnhanced) => {
                    words.push("平扫+增强".into());
                    vec![plain, enhanced]
                }
                _ => {
                    words.push("平扫".into());
                    vec![plain]
                }
            }
        }
        _ => {
            let wanted = [
                ("T1 sag", Plane::Sagittal),
                ("T2 sag", Plane::Sagittal),
                ("T1 cor", Plane::Coronal),
                ("T2 cor", Plane::Coronal),
                ("T2 tra", Plane::Axial),
                ("PD FS tra", Plane::Axial),
            ];
            let mut list: Vec<SeriesFacts> =
                wanted.into_iter().map(|(text, plane)| stacked(series("MR", 20, text), plane, 4.0)).collect();
            words.push(if item.contrast == Some(Contrast::PlainAndEnhanced) { "平扫+增强" } else { "平扫" }.into());
            if item.contrast == Some(Contrast::PlainAndEnhanced) {
                list.push(stacked(series("MR", 20, "T1 tra +C"), Plane::Axial, 4.0));
            }
            list
        }
    };
    (words, list)
}

fn judge(item: &Item, text: String, series: Vec<SeriesFacts>) -> Classification {
    let region = procedures().region_for("20260310").unwrap();
    let age_months = item.age_months.and_then(|a| a.max).map_or(Some(480), |_| Some(12));
    let study = StudyFacts {
        texts: vec![StudyText { from: "Study Description", text }],
        codes: vec![],
        age_months,
        agents: vec![],
        series,
    };
    classify(region, procedures(), &study)
}

/// One way to write a word: other case, full width, blanks around it.
fn spelt(word: &str, way: u8) -> String {
    let wide = |c: char| if ('!'..='~').contains(&c) { char::from_u32(u32::from(c) + 0xFEE0).unwrap() } else { c };
    match way % 5 {
        0 => word.to_uppercase(),
        1 => word.to_lowercase(),
        2 => word.chars().map(wide).collect(),
        3 => format!("  {word}\u{3000}"),
        _ => word.to_string(),
    }
}

/// The English for one of the Chinese words that `study_of` makes; regions by the vocabulary's own concept names.
fn in_english(word: &str, vocabulary: &hutong::procedure::Vocabulary) -> String {
    let fixed = [
        ("左侧", "left"),
        ("右侧", "Right"),
        ("双侧", "bilateral"),
        ("立位", "erect"),
        ("卧位", "supine"),
        ("平扫+增强", "w/o and w contrast"),
        ("平扫", "without contrast"),
    ];
    if let Some((_, english)) = fixed.iter().find(|(zh, _)| *zh == word) {
        return english.to_string();
    }
    let region = procedures().region_for("20260310").unwrap();
    let named = region.items.iter().flat_map(|i| &i.region).find(|r| vocabulary.name(r) == word);
    named.map_or(word.to_string(), |r| r.replace('-', " "))
}

/// Words that say nothing about the examination.
const PADDING: &[&str] = &["CT", "检查", "急诊", "routine", "Adult", "001", "(门诊)", "exam", "科", "#12"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn order_case_width_and_padding_of_the_words_do_not_change_the_answer(
        number in 1u32..=67,
        order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
        ways in proptest::collection::vec(0u8..5, 12),
        padding in proptest::collection::vec(0usize..10, 0..4),
        english in any::<bool>(),
        turns in 0usize..6,
    ) {
        let region = procedures().region_for("20260310").unwrap();
        let item = region.item(number).unwrap();
        let (mut words, mut series) = study_of(item, procedures());
        if english {
            words = words.iter().map(|w| in_english(w, &procedures().vocabulary)).collect();
        }
        let carrying: BTreeSet<Uid> = series.iter().map(|s| s.uid.clone()).collect();
        let by = turns % series.len();
        series.rotate_left(by);
        let modality = item.modality.first().map(String::as_str);
        words.extend(padding.iter().map(|i| PADDING[*i].to_string()).filter(|p| p != "CT" || modality == Some("CT")));
        let shuffled: Vec<String> =
            order.iter().filter_map(|i| words.get(*i).map(|w| spelt(w, ways[*i]))).collect();
        let text = shuffled.join(" ");
        let found = judge(item, text.clone(), series);
        prop_assert_eq!(items_of(&found), BTreeSet::from([number]), "{}: {:?}", text, found.refused);
        let named: BTreeSet<Uid> = found.recognised.iter().flat_map(|r| r.series.clone()).collect();
        prop_assert_eq!(named, carrying, "{}", text);
    }
}

/// Sets of series, by description, without any of which an item is not complete: each of them for radiographs and CT; for MR what its
/// protocol names, and what was made after contrast.
fn needed_parts<'a>(item: &Item, list: &'a [SeriesFacts]) -> Vec<Vec<&'a str>> {
    let each = list.iter().map(|s| vec![s.description.as_str()]);
    let all_with = |part: &str| list.iter().map(|s| s.description.as_str()).filter(|d| d.contains(part)).collect::<Vec<_>>();
    let mut parts = match item.protocol.as_deref() {
        None => return each.collect(),
        Some("spine") => vec![vec!["T1 sag"], vec!["T2 sag"], all_with("tra")],
        Some("sella") => vec![vec!["T1 sag"], vec!["T1 cor"], vec!["T2 cor", "T2 sag"]],
        Some("joint") => vec![vec!["PD FS tra"]],
        // Three of them, of two weightings.
        Some("brain") => vec![vec!["T1 sag", "T1 cor", "PD FS tra"], vec!["T2 sag", "T2 cor", "T2 tra", "T1 cor"]],
        Some(other) => panic!("{other}: a protocol without a case here"),
    };
    if item.contrast == Some(Contrast::PlainAndEnhanced) {
        parts.push(vec!["T1 tra +C"]);
    }
    parts
}

#[test]
fn an_item_without_one_of_its_series_or_views_is_not_that_item() {
    let region = procedures().region_for("20260310").unwrap();
    for item in &region.items {
        let (words, list) = study_of(item, procedures());
        let text = words.join(" ");
        let whole = judge(item, text.clone(), list.clone());
        assert_eq!(items_of(&whole), BTreeSet::from([item.number]), "{text}: {:?}", whole.refused);
        for gone in needed_parts(item, &list) {
            let rest: Vec<SeriesFacts> = list.iter().filter(|s| !gone.contains(&s.description.as_str())).cloned().collect();
            let found = judge(item, text.clone(), rest);
            assert!(!items_of(&found).contains(&item.number), "{text} without {gone:?}");
        }
    }
}

#[test]
fn only_the_series_that_carry_an_item_are_named() {
    let item = procedures().region_for("20260310").unwrap().item(36).unwrap();
    let (words, mut list) = study_of(item, procedures());
    let carrying = list[0].uid.clone();
    let mut scout = stacked(series("CT", 2, "Scout"), Plane::Coronal, 1.0);
    scout.image_type = vec!["ORIGINAL".into(), "PRIMARY".into(), "LOCALIZER".into()];
    list.push(scout);
    list.push(stacked(series("CT", 12, "VR"), Plane::Axial, 1.0));
    let found = judge(item, words.join(" "), list);
    assert_eq!(found.recognised[0].series, BTreeSet::from([carrying]));
}

#[test]
fn the_phase_of_a_series_tells_plain_from_enhanced_where_the_agent_is_that_of_the_examination() {
    let item = procedures().region_for("20260310").unwrap().item(49).unwrap();
    let (words, mut list) = study_of(item, procedures());
    for (series, phase) in list.iter_mut().zip(["PRE_CONTRAST", "PORTAL_VENOUS"]) {
        series.description = "5 mm".into();
        series.agents = vec!["碘海醇".into()];
        series.phases = vec![phase.into()];
    }
    assert_eq!(items_of(&judge(item, words.join(" "), list.clone())), BTreeSet::from([49]));
    // Words and phase contradict each other.
    list[1].phases = vec!["PRE_CONTRAST".into()];
    list[1].description = "增强".into();
    assert_eq!(items_of(&judge(item, words.join(" "), list.clone())), BTreeSet::new());
    // Without the phase, an agent in both series leaves none that is plain.
    list.iter_mut().for_each(|s| s.phases.clear());
    assert_eq!(items_of(&judge(item, words.join(" "), list)), BTreeSet::new());
}

/// The built-in files, with some put in their place or added.
fn with(changes: &[(&str, String)]) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = FILES.iter().map(|(p, t)| (p.to_string(), t.to_string())).collect();
    for (path, text) in changes {
        files.retain(|(p, _)| p != path);
        files.push((path.to_string(), text.clone()));
    }
    files
}

fn built_in(path: &str) -> String {
    FILES.iter().find(|(p, _)| *p == path).unwrap().1.to_string()
}

const MADE_UP_REGION: &str = r#"
code = "testland"
edition = "2040-1"
name = "试验区"
source = "made up"
enabled = true
valid_from = "2040-01-01"
validity_months = 6
[mark]
range = "试验"
sign = "TR"
separator = "-"
style = "burn-text"
corner = "top-left"
"#;

const MADE_UP_ITEMS: &str = r#"
[[item]]
number = 1
category = "DR"
part = "胸部"
name = "肋骨双斜位"
definition = "肋骨双斜位"
modality = ["DX"]
region = ["rib"]
side = "any"
views = [["left-oblique"], ["right-oblique"]]

[[item]]
number = 2
category = "CT"
part = "头部"
name = "眼眶平扫"
definition = "眼眶平扫"
modality = ["CT"]
region = ["orbit-or-temporal-bone"]
contrast = "plain"
coverage_mm = 50

[[item]]
number = 3
category = "MR"
part = "上肢"
name = "左肩关节磁共振平扫"
definition = "左肩关节磁共振平扫"
modality = ["MR"]
region = ["shoulder"]
side = "left"
contrast = "plain"
protocol = "arthritis"
"#;

const MADE_UP_CASES: &str = r#"case_id,Modality,StudyDescription,PatientAge,series_json,expected_items,reason_code
T1,DX,右侧肋骨双斜位,045Y,"[{""d"":""左斜"",""n"":1},{""d"":""右斜"",""n"":1}]",1,OK
T2,DX,右侧肋骨斜位,045Y,"[{""d"":""右斜"",""n"":1}]",none,VIEW_MISSING
T3,CT,眼眶CT平扫,045Y,"[{""d"":""2mm"",""n"":40,""th"":2,""z"":78,""sp"":2}]",2,OK
T4,CT,头颅CT平扫,045Y,"[{""d"":""5mm"",""n"":30,""th"":5,""z"":145,""sp"":5}]",none,NOT_ON_LIST
T5,MR,Left shoulder MRI plain,045Y,"[{""d"":""T1 cor"",""n"":20,""pl"":""COR""},{""d"":""STIR sag"",""n"":20,""pl"":""SAG""}]",3,OK
T6,MR,Right shoulder MRI plain,045Y,"[{""d"":""T1 cor"",""n"":20,""pl"":""COR""},{""d"":""STIR sag"",""n"":20,""pl"":""SAG""}]",none,LATERALITY
"#;

#[test]
fn another_region_and_another_edition_are_data_and_cases_only() {
    let next = built_in("yubei-2023/region.toml").replace("2023-10-20", "2030-01-01").replace("2023-1", "2030-1");
    let ended = built_in("yubei-2023/region.toml").replace("valid_from", "valid_to = \"2029-12-31\"\nvalid_from");
    let more = built_in("yubei-2023/items.toml")
        + "\n[[item]]\nnumber = 68\ncategory = \"CT\"\npart = \"头部\"\nname = \"眼眶平扫\"\ndefinition = \"眼眶平扫\"\nmodality = [\"CT\"]\n\
           region = [\"orbit-or-temporal-bone\"]\ncontrast = \"plain\"\ncoverage_mm = 50\n";
    let protocol = "\n[[protocol]]\nid = \"arthritis\"\nneeds = [[\"t1 coronal\"], [\"t2 sagittal\"]]\n";
    let files = with(&[
        ("yubei-2023/region.toml", ended),
        ("yubei-2030/region.toml", next.replace("enabled = true", "enabled = true\nvalid_to = \"2039-12-31\"")),
        ("yubei-2030/items.toml", more),
        ("testland-2040/region.toml", MADE_UP_REGION.into()),
        ("testland-2040/items.toml", MADE_UP_ITEMS.into()),
        ("protocols.toml", built_in("protocols.toml") + protocol),
    ]);
    let procedures = load(&files).map_err(|e| format!("{e:?}")).unwrap();
    let cases = labelled::read(MADE_UP_CASES.as_bytes()).unwrap();
    let edition = |date: &str| procedures.region_for(date).map(|r| format!("{} {}", r.code, r.edition));
    assert_eq!(edition("20291231").as_deref(), Some("yubei 2023-1"));
    assert_eq!(edition("20300101").as_deref(), Some("yubei 2030-1"));
    assert_eq!(edition("20400101").as_deref(), Some("testland 2040-1"));
    let made_up = score(&cases, procedures.region_for("20400101").unwrap(), &procedures);
    assert_eq!((made_up.exact, made_up.rows), (6, 6), "{:?}", made_up.misses);
    assert_eq!(made_up.reasons_exact, 3);
    // The same orbit is none by the first edition, item 68 by the second, item 2 by the other region.
    let orbit = |date: &str| items_of(&classify(procedures.region_for(date).unwrap(), &procedures, &cases[2].study));
    assert_eq!(orbit("20260310"), BTreeSet::new());
    assert_eq!(orbit("20310310"), BTreeSet::from([68]));
    assert_eq!(orbit("20410310"), BTreeSet::from([2]));
}

#[test]
fn two_editions_of_the_same_day_are_refused() {
    let files = with(&[
        ("testland-2025/region.toml", MADE_UP_REGION.replace("2040-01-01", "2025-01-01")),
        ("testland-2025/items.toml", MADE_UP_ITEMS.replace("arthritis", "joint")),
    ]);
    let errors = load(&files).unwrap_err();
    assert!(errors.iter().any(|e| e.message.contains("in force on the same day")), "{errors:?}");
}

fn code(scheme: &str, value: &str) -> hutong::exam::facts::Code {
    hutong::exam::facts::Code { scheme: scheme.into(), value: value.into(), meaning: String::new() }
}

fn untold(series: Vec<SeriesFacts>) -> StudyFacts {
    StudyFacts { texts: vec![], codes: vec![], age_months: Some(480), agents: vec![], series }
}

fn items(study: &StudyFacts) -> BTreeSet<u32> {
    items_of(&classify(procedures().region_for("20260310").unwrap(), procedures(), study))
}

#[test]
fn codes_alone_name_region_view_phase_and_side() {
    let mut chest = series("DX", 1, "");
    chest.region_codes = vec![code("SCT", "816094009")];
    chest.images[0].view_codes = vec![code("SCT", "272479007")];
    assert_eq!(items(&untold(vec![chest.clone()])), BTreeSet::from([1]));
    // The older codes of the same (Annex L, SNOMED-RT), and a meaning where the value is unknown.
    chest.region_codes = vec![code("SRT", "T-D3000")];
    chest.images[0].view_codes = vec![code("SNM3", "R-10214")];
    assert_eq!(items(&untold(vec![chest.clone()])), BTreeSet::from([1]));
    chest.images[0].view_codes = vec![hutong::exam::facts::Code { meaning: "postero-anterior".into(), ..code("99X", "7") }];
    assert_eq!(items(&untold(vec![chest])), BTreeSet::from([1]));
    // LOINC and the RadLex playbook name whole examinations.
    let spine = || stacked(series("CT", 110, "2mm"), Plane::Axial, 2.0);
    for (scheme, value, item) in [("LN", "30620-9", 39), ("LOINC", "30592-0", 37), ("RADLEX", "RPID31", 39)] {
        let study = StudyFacts { codes: vec![code(scheme, value)], ..untold(vec![spine()]) };
        assert_eq!(items(&study), BTreeSet::from([item]), "{scheme} {value}");
    }
    let knee = ["PD FS sag", "PD FS cor", "T1 sag"].map(|t| series("MR", 20, t)).to_vec();
    let study = StudyFacts { codes: vec![code("LN", "36510-6")], ..untold(knee) };
    assert_eq!(items(&study), BTreeSet::from([61]));
}

#[test]
fn an_agent_by_mouth_or_into_a_joint_is_no_enhancement() {
    let study = |agent: &str, route: &str| {
        let mut chest = stacked(series("CT", 160, "Chest 2mm"), Plane::Axial, 2.0);
        chest.agents = vec![agent.into()];
        chest.routes = vec![route.into()];
        items(&untold(vec![chest]))
    };
    assert_eq!(study("碘海醇", "口服"), BTreeSet::from([36]));
    assert_eq!(study("Iohexol", "Oral route"), BTreeSet::from([36]));
    assert_eq!(study("NONE", ""), BTreeSet::from([36]));
    assert_eq!(study("Iohexol", "Intravenous"), BTreeSet::new());
    assert_eq!(study("Iohexol", ""), BTreeSet::new());
}

#[test]
fn what_only_looks_like_an_image_of_the_examination_is_none() {
    let chest = || {
        let mut s = series("DX", 1, "胸部后前位");
        s.images[0].view_position = "PA".into();
        s
    };
    assert_eq!(items(&untold(vec![chest()])), BTreeSet::from([1]));
    let mut captured = chest();
    captured.sop_classes = vec!["1.2.840.10008.5.1.4.1.1.7".into()];
    assert_eq!(items(&untold(vec![captured])), BTreeSet::new());
    let mut legacy = chest();
    legacy.modality = "DR".into();
    legacy.sop_classes = vec!["1.2.840.10008.5.1.4.1.1.1.1".into()];
    assert_eq!(items(&untold(vec![legacy.clone()])), BTreeSet::from([1]));
    legacy.sop_classes = vec!["1.2.840.10008.5.1.4.1.1.12.2".into()];
    assert_eq!(items(&untold(vec![legacy])), BTreeSet::new());
    // Only the orientation says that it is frontal: PA or AP is anybody's guess.
    let mut turned = series("DX", 1, "胸部");
    turned.images[0].orientation = vec!["L".into(), "F".into()];
    assert_eq!(items(&untold(vec![turned])), BTreeSet::new());
}

#[test]
fn weightings_come_from_the_header_where_words_are_silent() {
    let timed = |tr: f64, te: f64, ti: Option<f64>, plane| {
        let mut s = stacked(series("MR", 15, ""), plane, 4.0);
        s.body_part = "LSPINE".into();
        s.times_ms = (Some(tr), Some(te), ti);
        s
    };
    let all = vec![
        timed(550.0, 12.0, None, Plane::Sagittal),
        timed(3000.0, 100.0, None, Plane::Sagittal),
        timed(3500.0, 110.0, None, Plane::Axial),
    ];
    assert_eq!(items(&untold(all.clone())), BTreeSet::from([58]));
    assert_eq!(items(&untold(all[1..].to_vec())), BTreeSet::new());
    let mut enhanced = all;
    enhanced[0].times_ms = (None, None, None);
    enhanced[0].acquisition_contrast = vec!["T1".into()];
    assert_eq!(items(&untold(enhanced)), BTreeSet::from([58]));
}

#[test]
fn every_conclusion_names_its_evidence_in_both_languages() {
    let mut s = series("DX", 1, "Chest PA");
    s.body_part = "CHEST".into();
    let mut study = untold(vec![s]);
    study.texts = vec![StudyText { from: "Study Description", text: "ÐØ²¿ÕýÎ»".into() }];
    let found = classify(procedures().region_for("20260310").unwrap(), procedures(), &study);
    let one = &found.recognised[0];
    assert_eq!(one.assumed, ["ERECT_ASSUMED"]);
    assert_eq!(one.confidence.words(), ("推定", "inferred"));
    let region = one.because.iter().find(|e| e.means == "chest" && e.from == "Study Description").unwrap();
    assert_eq!((region.text.as_str(), region.zh.as_str(), region.from_zh()), ("胸部", "胸部", "检查描述"));
    assert!(one.because.iter().any(|e| e.means == "pa" && e.zh == "后前位"), "{:?}", one.because);
    study.texts[0].text = "胸部正位 坐位".into();
    let found = classify(procedures().region_for("20260310").unwrap(), procedures(), &study);
    assert_eq!(found.refused[0].reason.code(), "POSITION");
    assert_eq!(found.refused[0].nearest, [1, 2]);
    assert!(found.refused[0].because.iter().any(|e| e.zh == "坐位"), "{:?}", found.refused);
}

#[test]
fn posture_comes_from_codes_and_position_where_words_are_silent() {
    let film = |codes: Vec<hutong::exam::facts::Code>, position: &str| {
        let mut s = series("DX", 1, "Abdomen AP");
        s.images[0].posture_codes = codes;
        s.patient_position = position.into();
        items(&untold(vec![s]))
    };
    assert_eq!(film(vec![code("SCT", "10904000")], "HFS"), BTreeSet::from([24]));
    assert_eq!(film(vec![code("SCT", "102538003"), code("SCT", "40199007")], ""), BTreeSet::from([25]));
    assert_eq!(film(vec![], "HFDL"), BTreeSet::from([25]));
    // Head first, supine is what devices fill in: it does not make a film a recumbent one.
    assert_eq!(film(vec![], "HFS"), BTreeSet::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_classification_panic(
        texts in proptest::collection::vec("\\PC{0,40}|([a-zA-Z0-9+/&().,?#_-]|[胸头腰左右双膝平增正侧斜位含、，（）]){0,40}", 6),
        modality in prop::sample::select(vec!["DX", "CR", "CT", "MR", "SR", "", "?"]),
        n in 0usize..4,
    ) {
        let mut s = stacked(series(modality, n, &texts[0]), Plane::Axial, 5.0);
        s.protocol = texts[1].clone();
        s.body_part = texts[2].clone();
        s.laterality = texts[3].clone();
        s.agents = vec![texts[4].clone()];
        s.routes = vec![texts[5].clone()];
        s.images.iter_mut().for_each(|i| i.view_position = texts[3].clone());
        let texts = texts.iter().map(|t| StudyText { from: "Study Description", text: t.clone() }).collect();
        let study = StudyFacts { texts, codes: vec![code("SCT", "816094009")], ..untold(vec![s]) };
        let found = classify(procedures().region_for("20260310").unwrap(), procedures(), &study);
        prop_assert!(!found.recognised.is_empty() || !found.refused.is_empty());
    }
}

#[test]
fn a_table_that_cannot_be_read_names_line_and_cell() {
    let head = "case_id,Modality,StudyDescription,series_json,expected_items\n";
    let said = |rows: &str| labelled::read(format!("{head}{rows}").as_bytes()).unwrap_err().to_string();
    assert!(said("X1,CT,a,{,1\n").starts_with("line 2, X1: series_json"), "{}", said("X1,CT,a,{,1\n"));
    assert!(said("X1,CT,a,[],1|b\n").contains("`b` is no item number"));
    assert!(said("X1,CT,a,\"[{\"\"n\"\":900000000}]\",none\n").contains("900000000 images"));
    assert!(labelled::read(b"a,b\n1,2\n").unwrap_err().to_string().contains("case_id"));
}
