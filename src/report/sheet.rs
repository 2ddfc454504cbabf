//! The mark sheet: the region's mark on each kind of image at every usual window, marked and rendered by the code that serves hospitals.

use crate::codec::Pool;
use crate::dicom::grey::Voi;
use crate::dicom::{DataSet, Uid, VR, Value, tags, uids};
use crate::mark::Form;
use crate::mark::derive::Source;
use crate::phantom::{self, Phantom};
use crate::procedure::Region;
use crate::retrieve::pictures::Format;
use crate::retrieve::{NoCopy, Object, encode, marked, picture};
use base64::Engine;
use maud::{DOCTYPE, html};
use std::io::Read;

/// A kind of image with the windows it is looked at.
struct Case {
    name: &'static str,
    data_set: DataSet,
    windows: Vec<(&'static str, Option<Voi>)>,
}

/// One picture of the page.
struct Shown {
    window: &'static str,
    whole: String,
    corner: String,
}

/// Why there is no sheet.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// A kind of image cannot carry the mark.
    #[error("{0}: {1}")]
    Mark(&'static str, NoCopy),
    /// Reading or drawing failed.
    #[error("{0}: {1}")]
    Draw(&'static str, String),
}

/// The page, as HTML that needs nothing from elsewhere.
///
/// # Errors
/// A kind of image cannot carry the mark.
pub fn page(region: &Region, pool: &Pool) -> Result<String, SheetError> {
    let cases = cases();
    let shown: Result<Vec<(&Case, Vec<Shown>)>, SheetError> =
        cases.iter().map(|case| show(case, region, pool).map(|shown| (case, shown))).collect();
    let mark = &region.mark;
    let look = format!(
        "{} %，边距 margin {} %，{:?}，{:?}，{}",
        mark.look.size_percent,
        mark.look.margin_percent,
        mark.corner,
        mark.look.backdrop,
        mark.look.font.as_deref().unwrap_or("Noto Sans CJK SC Bold (OFL 1.1)")
    );
    let markup = html! {
        (DOCTYPE)
        html lang="zh" {
            head { meta charset="utf-8"; title { "互通 标识样张 Mark sheet" } style { (super::page::STYLE) } }
            body {
                h1 { "互认标识样张 Mark sheet" }
                table {
                    tr { th { "区域 Region" } td { (region.name) " " (region.code) "-" (region.edition) } }
                    tr { th { "依据 Source" } td { (region.source) } }
                    tr { th { "标识 Mark" } td { (mark.text()) } }
                    tr { th { "字号及位置 Size and place" } td { (look) } }
                    tr { th { "程序 Program" } td { "Hutong " (env!("CARGO_PKG_VERSION")) } }
                }
                @for (case, pictures) in &shown? {
                    h2 { (case.name) }
                    @for one in pictures {
                        figure {
                            img src=(one.whole) alt=(case.name);
                            img src=(one.corner) alt="右上角 top right";
                            figcaption { (one.window) }
                        }
                    }
                }
                table {
                    tr { th { "质控中心 Quality centre" } th { "结论 Conclusion" } th { "签名 Signature" } th { "日期 Date" } }
                    tr { td { br; br; } td {} td {} td {} }
                }
            }
        }
    };
    Ok(markup.into_string())
}

fn show(case: &Case, region: &Region, pool: &Pool) -> Result<Vec<Shown>, SheetError> {
    let draw = |e: &dyn std::fmt::Display| SheetError::Draw(case.name, e.to_string());
    let mut bytes = Vec::new();
    case.data_set.write_explicit(&mut bytes);
    let native = uids::EXPLICIT_VR_LITTLE_ENDIAN;
    let object = Object::of_bytes(bytes, native, 1 << 20).map_err(|e| draw(&e))?;
    let (sop_instance, series) = (Uid::derived(&["mark sheet", case.name]), Uid::derived(&["mark sheet series", case.name]));
    let source = Source { sop_class: "", sop_instance: &sop_instance, named: true, series: &series, sha256: "", lost: None };
    let copy = marked(object, source, &region.mark, Form::Burnt, native, pool);
    let mut copied = Vec::new();
    copy.map_err(|e| SheetError::Mark(case.name, e))?.read_to_end(&mut copied).map_err(|e| draw(&e))?;
    let object = Object::of_bytes(copied, native, 1 << 20).map_err(|e| draw(&e))?;
    let mut shown = Vec::new();
    for (window, voi) in &case.windows {
        let whole = picture(&object, 0, voi.clone(), pool).map_err(|e| draw(&e))?;
        let (width, height) = ((whole.width() * 2 / 5).max(64), (whole.height() / 6).max(32));
        let corner = whole.crop_imm(whole.width().saturating_sub(width), 0, width, height);
        let large = width > CORNER;
        let corner = if large { corner.resize(CORNER, CORNER, image::imageops::FilterType::Triangle) } else { corner };
        let small = whole.resize(256, 256, image::imageops::FilterType::Triangle);
        let uri = |picture| {
            let png = encode(picture, Format::Png).map_err(|e| draw(&e))?;
            Ok(format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png)))
        };
        shown.push(Shown { window, whole: uri(&small)?, corner: uri(&corner)? });
    }
    Ok(shown)
}

/// Widest picture of a corner, pixels.
const CORNER: u32 = 400;

const CT: &[(&str, f64, f64)] = &[
    ("脑窗 brain 40/80", 40.0, 80.0),
    ("软组织窗 soft tissue 40/400", 40.0, 400.0),
    ("肺窗 lung -600/1600", -600.0, 1600.0),
    ("骨窗 bone 500/2000", 500.0, 2000.0),
];

fn cases() -> Vec<Case> {
    let studies = phantom::all();
    let image = |wanted: Phantom| {
        let study = studies.iter().find(|s| s.phantom == wanted)?;
        let image = study.images.get(study.images.len() / 2)?;
        let mut data_set = image.data_set.clone();
        let bytes = (image.pixels)().into_iter().flat_map(u16::to_le_bytes).collect();
        data_set.put(tags::PIXEL_DATA, VR::OW, Value::Bytes(bytes));
        Some(data_set)
    };
    let ct: Vec<_> = CT.iter().map(|(name, c, w)| (*name, Some(Voi::Linear(*c, *w)))).collect();
    let own = || vec![("默认窗 default", None)];
    let wide = || {
        vec![
            ("默认窗 default", None),
            ("宽窗 wide", Some(Voi::Linear(2048.0, 8192.0))),
            ("窄窗 narrow", Some(Voi::Linear(1500.0, 500.0))),
        ]
    };
    let of_phantoms = [
        ("CT 头部 head", Phantom::CtHead, ct.clone()),
        ("CT 胸部 chest", Phantom::CtChest, ct),
        ("DR 胸部 chest, 2500 × 3000", Phantom::Chest, wide()),
        ("MR 腰椎 lumbar spine", Phantom::MrLumbar, wide()),
    ];
    let mut cases: Vec<Case> = of_phantoms
        .into_iter()
        .filter_map(|(name, phantom, windows)| Some(Case { name, data_set: image(phantom)?, windows }))
        .collect();
    let patterns: [(&'static str, &str, u32, u32); 7] = [
        ("灰阶 grey steps, MONOCHROME2, 8 bit", "MONOCHROME2", 512, 8),
        ("灰阶 grey steps, MONOCHROME1, 12 bit", "MONOCHROME1", 512, 12),
        ("最小矩阵 smallest matrix, 64 × 64", "MONOCHROME2", 64, 12),
        ("大矩阵 large matrix, 4000 × 4000", "MONOCHROME2", 4000, 14),
        ("彩色 colour, RGB", "RGB", 512, 8),
        ("彩色 colour, YBR_FULL", "YBR_FULL", 512, 8),
        ("调色板 palette", "PALETTE COLOR", 512, 8),
    ];
    cases.extend(patterns.map(|(name, photometric, side, bits)| Case {
        name,
        data_set: steps(photometric, side, bits),
        windows: own(),
    }));
    cases
}

/// Bars from black to white, so that the mark crosses black, grey and white.
fn steps(photometric: &str, side: u32, bits: u32) -> DataSet {
    let mut ds = DataSet::default();
    let short = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    let colours = if matches!(photometric, "RGB" | "YBR_FULL") { 3 } else { 1 };
    ds.put_text(tags::SOP_CLASS_UID, VR::UI, uids::SECONDARY_CAPTURE_IMAGE_STORAGE);
    ds.put_text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY");
    ds.put_u16(tags::SAMPLES_PER_PIXEL, colours);
    ds.put_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric);
    if colours == 3 {
        ds.put_u16(tags::PLANAR_CONFIGURATION, 0);
    }
    ds.put_u16(tags::ROWS, short(side));
    ds.put_u16(tags::COLUMNS, short(side));
    ds.put_u16(tags::BITS_ALLOCATED, if bits > 8 { 16 } else { 8 });
    ds.put_u16(tags::BITS_STORED, short(bits));
    ds.put_u16(tags::HIGH_BIT, short(bits - 1));
    ds.put_u16(tags::PIXEL_REPRESENTATION, 0);
    let highest = (1u32 << bits) - 1;
    let bar = |x: u32| (x * 24 / side) % 6 * highest / 5;
    let mut bytes = Vec::new();
    for x in (0..side).flat_map(|_| 0..side) {
        let value = short(bar(x)).to_le_bytes();
        match photometric {
            "RGB" => bytes.extend([value[0], value[0], value[0] / 2]),
            "YBR_FULL" => bytes.extend([value[0], 100, 150]),
            _ => bytes.extend_from_slice(value.get(..if bits > 8 { 2 } else { 1 }).unwrap_or_default()),
        }
    }
    if photometric == "PALETTE COLOR" {
        palette(&mut ds);
    }
    ds.put(tags::PIXEL_DATA, if bits > 8 { VR::OW } else { VR::OB }, Value::Bytes(bytes));
    ds
}

/// From blue over green to yellow, with black and white at the ends.
fn palette(ds: &mut DataSet) {
    let words = |f: &dyn Fn(u16) -> u16| Value::Bytes((0..256u16).flat_map(|i| (f(i) * 257).to_le_bytes()).collect());
    let descriptor = || Value::Bytes([256u16, 0, 16].iter().flat_map(|w| w.to_le_bytes()).collect());
    let ends = |i: u16, middle: u16| {
        if i == 0 {
            0
        } else if i == 255 {
            255
        } else {
            middle
        }
    };
    for (d, t, f) in [
        (
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            (|i| i / 2) as fn(u16) -> u16,
        ),
        (tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA, |i| i),
        (tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA, |i| 255 - i),
    ] {
        ds.put(d, VR::US, descriptor());
        ds.put(t, VR::OW, words(&|i| ends(i, f(i))));
    }
}
