//! What the checks cost: slices a second of each pixel check, header checks of 1,000 slices, and all of them as a share of decoding.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use hutong::codec::{Frame, Limits, Pool, samples};
use hutong::dicom::part10::read_meta;
use hutong::dicom::{Attributes, Uid, VR, levels, tags};
use hutong::exam::complete;
use hutong::exam::facts::{InstanceInput, SeriesInput, study_facts};
use hutong::exam::finding::Place;
use hutong::exam::geometry::Stack;
use hutong::exam::quality::field::{Field, Kind};
use hutong::exam::quality::hounsfield::c11_gross;
use hutong::exam::quality::pixels::{band, c16_neighbours, c18_blank, g03_bits_used, g06_twice, hole, x12_dead_lines};
use hutong::exam::quality::{Exam, Image, Series, checks, hounsfield, perception, pixels};
use hutong::phantom::{self, Phantom};
use hutong::procedure::{Quality, embedded::FILES, load};
use hutong::retrieve::{Object, compression};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs something for a second: seconds for one.
fn each<T>(name: &str, mut work: impl FnMut() -> T) -> f64 {
    let begun = Instant::now();
    let mut done = 0u32;
    while begun.elapsed() < Duration::from_secs(1) {
        std::hint::black_box(work());
        done += 1;
    }
    let one = begun.elapsed().as_secs_f64() / f64::from(done);
    println!("{name:<44} {:>9.0} a second  {:>8.3} ms", 1.0 / one, one * 1000.0);
    one
}

fn main() {
    let quality = load(FILES).map_err(|e| format!("{e:?}")).unwrap().quality;
    let studies = phantom::all();
    let image = |which: Phantom| {
        let study = studies.iter().find(|s| s.phantom == which).unwrap();
        (study.images[study.images.len() / 2].pixels)().into_iter().map(i32::from).collect::<Vec<_>>()
    };
    let radiograph = image(Phantom::Chest);
    let name = "radiograph 2500 × 3000";
    each(&format!("{name}: X-06 to X-08"), || {
        let field = Field::of(&radiograph, 2500, false, Kind::Projection);
        let statistics = pixels::FrameStatistics::of(&radiograph, (0, 4095)).unwrap();
        pixels::judge(&statistics, field.as_ref(), false, &quality.pixels)
    });
    let frame = || perception::Frame { samples: &radiograph, columns: 2500, background: None, of_detector: true }.perceive();
    each(&format!("{name}: perceptual measures"), frame);
    headers(&quality);
    decoding(&quality);
}

/// What every check of pixels costs of one slice of a series of 1,000, in seconds.
fn checks_of(frame: &Frame, quality: &Quality) -> f64 {
    let name = "CT slice 512 × 512";
    let (samples, columns) = (samples::read(frame), frame.layout.columns as usize);
    let none = Attributes::default();
    let every = each(&format!("{name}: G-03"), || {
        g03_bits_used::check(&frame.bytes, &frame.layout, &none, quality.pixels.beyond_share)
    }) + each(&format!("{name}: G-06"), || g06_twice::digest(&samples))
        + each(&format!("{name}: C-16"), || c16_neighbours::sampling(&samples, columns))
        + each(&format!("{name}: C-18, squares"), || c18_blank::uniform_share(&samples, columns))
        + each(&format!("{name}: C-18, bands"), || {
            band::fault(
                &samples,
                columns,
                band::Limits { edge_share: quality.pixels.band_share, inner_rows: quality.pixels.band_rows },
            )
        })
        + each(&format!("{name}: C-18, rectangles"), || {
            let limits = hole::Limits { share: quality.pixels.hole_share, edge_share: quality.pixels.hole_edge_share };
            hole::fault(&samples, columns, limits)
        })
        + each(&format!("{name}: C-11, every slice"), || {
            c11_gross::of(&samples, columns, (1.0, -1024.0), None, &quality.hounsfield)
        })
        + each(&format!("{name}: C-18, X-07"), || Field::of(&samples, columns, false, Kind::Slice));
    let slice =
        || hounsfield::Slice { samples: &samples, columns, slope: 1.0, intercept: -1024.0 }.measure(&quality.hounsfield);
    let perceived = || perception::Frame { samples: &samples, columns, background: Some(724), of_detector: false }.perceive();
    let some =
        each(&format!("{name}: C-11, C-14, C-15, C-17"), slice) + each(&format!("{name}: perceptual measures"), perceived);
    // Of a series of 1,000 only so many frames are measured.
    let measured = quality.perception.frames_a_series;
    every + some * measured as f64 / 1000.0 + together(&samples, columns, quality) / 1000.0
}

/// What the checks cost that look at the 1,000 slices of a series together, in seconds.
fn together(samples: &[i32], columns: usize, quality: &Quality) -> f64 {
    let name = "1,000 slices together";
    let slices: Vec<Uid> = (0..1000).map(|n| Uid::derived(&[&n.to_string()])).collect();
    let field = Field::of(samples, columns, false, Kind::Slice).unwrap();
    let content = c18_blank::Content {
        uniform: c18_blank::uniform_share(samples, columns),
        deviation: field.deviation,
        air: false,
        noise: false,
    };
    let contents: Vec<(Place, c18_blank::Content)> = slices.iter().map(|uid| (Place::from(uid), content)).collect();
    let all: Vec<c18_blank::Content> = contents.iter().map(|(_, c)| *c).collect();
    let sampling = c16_neighbours::sampling(samples, columns).unwrap();
    let coarse: HashMap<(Uid, u32), Vec<f32>> = slices.iter().map(|uid| ((uid.clone(), 0), sampling.clone())).collect();
    let stack = Stack {
        frames: vec![0; slices.len()],
        along: (0..1000).map(f64::from).collect(),
        step_mm: 1.0,
        slices,
        ..Stack::default()
    };
    let perceived = perception::Frame { samples, columns, background: Some(724), of_detector: false }.perceive();
    let frames = vec![perceived; quality.perception.frames_a_series];
    each(&format!("{name}: C-18"), || {
        (c18_blank::emptied(&contents, (true, true), &quality.pixels), c18_blank::mostly_blank(&all, &quality.pixels))
    }) + each(&format!("{name}: C-16"), || c16_neighbours::misfits(&stack, &coarse, &quality.perception))
        + each(&format!("{name}: X-12"), || x12_dead_lines::check("DX", &frames))
}

/// The checks of headers over a CT of 1,000 slices.
fn headers(quality: &Quality) {
    let base = &phantom::ct_head(2, None, "头颅CT平扫", "HEAD")[0].data_set;
    let decoded = Attributes::decode(base, |tag| levels::level_of(tag).is_some());
    let all: Vec<(Uid, Attributes)> = (0..1000)
        .map(|n| {
            let mut own = decoded.clone();
            own.set(tags::IMAGE_POSITION_PATIENT, VR::DS, vec!["0".into(), "0".into(), format!("{}", f64::from(n) * 0.5)]);
            own.set(tags::INSTANCE_NUMBER, VR::IS, vec![(n + 1).to_string()]);
            (Uid::derived(&[&n.to_string()]), own)
        })
        .collect();
    let uid = Uid::derived(&["series"]);
    let instances = || all.iter().map(|(uid, attributes)| InstanceInput { uid, frame: 0, attributes }).collect();
    let input = [SeriesInput { uid: &uid, attributes: &decoded, instances: instances() }];
    each("1,000 slices: facts and stacks", || study_facts(&decoded, &input));
    let facts = study_facts(&decoded, &input);
    each("1,000 slices: C-01 to C-09", || complete::check(&facts, &[], None, &quality.completeness));
    let images =
        || all.iter().map(|(uid, attributes)| Image { uid, attributes, transfer_syntax: "1.2.840.10008.1.2.1" }).collect();
    let series = vec![Series { uid: &uid, facts: &facts.series[0], images: images() }];
    let exam = Exam { recognised: &[], region: None, series, limits: quality, everything: true };
    for (number, check) in checks::ALL {
        each(&format!("1,000 slices: {number}"), || check(&exam));
    }
    each("1,000 slices: all of these", || checks::run(&exam));
}

/// Decoding a real CT slice of 512 × 512, and what the checks add to it.
fn decoding(quality: &Quality) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/ts/mister_ct_chest");
    let limits = Limits { workers: 1, memory_mib: 1024, time: Duration::from_secs(60) };
    let pool = Pool::new(env!("CARGO_BIN_EXE_hutong").into(), limits);
    let known =
        [("JPEG lossless", ".4.70.dcm"), ("JPEG 2000 lossless", ".4.90.dcm"), ("RLE", ".1.2.5.dcm"), ("native", "Explicit")];
    for (name, ending) in known {
        let Ok(files) = std::fs::read_dir(&folder) else { return println!("../shared is absent: decoding is not measured") };
        let fits = |p: &std::path::PathBuf| {
            let name = p.to_string_lossy().into_owned();
            name.ends_with(ending) || (ending == "Explicit" && name.contains("LittleEndianExplicit"))
        };
        let Some(path) = files.map(|f| f.unwrap().path()).find(fits) else { continue };
        let one = each(&format!("decoding a CT slice, {name}"), || {
            let mut file = std::fs::File::open(&path).unwrap();
            let meta = read_meta(&mut file).unwrap();
            let object = Object::read(file, &meta, 1 << 20).unwrap();
            let layout = object.layout().unwrap();
            samples::read(&object.frame(0, &layout, &pool).unwrap())
        });
        let mut file = std::fs::File::open(&path).unwrap();
        let meta = read_meta(&mut file).unwrap();
        let object = Object::read(file, &meta, 1 << 20).unwrap();
        let frame = object.frame(0, &object.layout().unwrap(), &pool).unwrap();
        let layout = object.layout().unwrap();
        let stream = each("CT slice: G-16, what the stream says", || compression(&object, &layout));
        let checks = checks_of(&frame, quality) + stream;
        println!("    the checks of its pixels add {:.0} %", checks / one * 100.0);
    }
}
