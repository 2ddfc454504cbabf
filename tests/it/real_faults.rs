//! Faults put into real series, byte by byte: `hutong check` must name each, and no fault of images in the clean ones.

use crate::faults::{check_files, said};

/// A file of a real series: its bytes as they are.
type Raw = Vec<u8>;

fn real(series: &str) -> Option<Vec<Raw>> {
    let folder = crate::support::shared()?.join("data/series").join(series);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    Some(files.into_iter().map(|f| std::fs::read(f).unwrap()).collect())
}

/// Where the value of a short element of Little Endian lies: after its first occurrence, with the length stated there.
fn value(file: &Raw, tag: [u8; 4]) -> std::ops::Range<usize> {
    let at = file.windows(4).skip(132).position(|w| w == tag).unwrap() + 132;
    let explicit = file[at + 4].is_ascii_uppercase() && file[at + 5].is_ascii_uppercase();
    let length = if explicit {
        u16::from_le_bytes([file[at + 6], file[at + 7]])
    } else {
        u16::from_le_bytes([file[at + 4], file[at + 5]])
    };
    at + 8..at + 8 + usize::from(length)
}

/// Writes another value over one of an element, padded with blanks; it must not be longer.
fn overwrite(file: &mut Raw, tag: [u8; 4], text: &str) {
    let range = value(file, tag);
    let width = range.len();
    assert!(text.len() <= width, "{text} is longer than {width}");
    file[range].copy_from_slice(format!("{text:<width$}").as_bytes());
}

const POSITION: [u8; 4] = [0x20, 0x00, 0x32, 0x00];
const PATIENT_ID: [u8; 4] = [0x10, 0x00, 0x20, 0x00];

type RealFault = (&'static str, &'static str, fn(&mut Vec<Raw>), &'static str);

/// Faults put into real series, and the check that must name each.
const REAL_FAULTS: &[RealFault] = &[
    ("a slice dropped", "CT_ibsi_chest_60", |f| drop(f.remove(30)), "C-02"),
    ("a slice dropped", "MR_knee_Siemens_SAGT1_24_jpegll", |f| drop(f.remove(10)), "C-02"),
    ("a slice dropped", "MR_lspine_Hitachi_T2SAG_11_ja", |f| drop(f.remove(5)), "C-02"),
    (
        "the last bytes lost",
        "CT_ibsi_chest_60",
        |f| {
            let n = f[20].len() - 5001;
            f[20].truncate(n)
        },
        "G-02",
    ),
    (
        "the last bytes lost",
        "MR_knee_Siemens_SAGT1_24_jpegll",
        |f| {
            let n = f[7].len() / 2;
            f[7].truncate(n)
        },
        "G-02",
    ),
    (
        "one identifier for two images",
        "CT_ibsi_chest_60",
        |f| {
            let uid = f[3][value(&f[3], [8, 0, 0x18, 0])].to_vec();
            let other = String::from_utf8(uid).unwrap();
            overwrite(&mut f[4], [8, 0, 0x18, 0], other.trim_end_matches('\0'));
        },
        "G-05",
    ),
    (
        "a slice at another's place",
        "CT_ibsi_chest_60",
        |f| {
            let other = String::from_utf8(f[8][value(&f[8], POSITION)].to_vec()).unwrap();
            overwrite(&mut f[9], POSITION, other.trim());
        },
        "C-04",
    ),
    (
        "nine tenths zeroed",
        "CT_ibsi_chest_60",
        |f| {
            let n = f[25].len();
            f[25][n - 204 * 201 * 2..n - 204 * 20 * 2].fill(0);
        },
        "C-18",
    ),
    ("another patient", "CT_ibsi_chest_60", |f| overwrite(&mut f[2], PATIENT_ID, "X"), "G-07"),
];

#[test]
fn faults_in_real_series_are_named_and_clean_ones_have_no_fault_of_images() {
    let mut missed = Vec::new();
    for series in [
        "CT_ibsi_chest_60",
        "CT_head_GE_tilt_28",
        "CT_abdomen_Philips_5",
        "MR_knee_Siemens_SAGT1_24_jpegll",
        "MR_lspine_Hitachi_T2SAG_11_ja",
    ] {
        let Some(files) = real(series) else { return };
        let (checks, _) = said(&check_files(&files), &["reject"]);
        // Cut down to 204 by 201 pixels by whoever published it: that is a fault (C-10), and no other is wanted.
        let small = |c: &str| c == "C-10" && *series == *"CT_ibsi_chest_60";
        let of_images: Vec<&String> = checks.iter().filter(|c| c.len() < 6 && !c.starts_with('G') && !small(c)).collect();
        if !of_images.is_empty() {
            missed.push(format!("{series}, clean: {of_images:?}"));
        }
    }
    for (what, series, spoil, expected) in REAL_FAULTS {
        let Some(mut files) = real(series) else { return };
        spoil(&mut files);
        let (checks, outcome) = said(&check_files(&files), &["warn", "review", "reject"]);
        if !checks.iter().any(|c| c == expected) || outcome == "accept" {
            missed.push(format!("{series}, {what}: {expected} not among {checks:?}, {outcome}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
