//! Dependencies point the way docs/architecture.md says; pure modules touch no disk, clock, network or thread.

use std::collections::BTreeMap;
use std::path::Path;

/// What each module may use. A test of a module may use what it likes.
const MAY_USE: &[(&str, &[&str])] = &[
    ("dicom", &[]),
    ("dimse", &["dicom"]),
    ("procedure", &["dicom"]),
    ("exam", &["dicom", "procedure"]),
    ("phantom", &["dicom", "exam"]),
    ("codec", &["dicom"]),
    ("mark", &["dicom", "codec", "procedure"]),
    ("store", &["dicom"]),
    ("index", &["dicom", "exam"]),
    ("journal", &[]),
    ("peers", &["dimse"]),
    ("outbox", &["store"]),
    ("ingest", &["dicom", "store", "index"]),
    ("retrieve", &["dicom", "dimse", "codec", "mark", "procedure", "store", "index"]),
    ("report", &["dicom", "codec", "procedure", "exam", "mark", "phantom", "store", "index", "retrieve"]),
    ("exchange", &["dicom", "exam", "index", "journal", "procedure"]),
    ("federation", &["dicom", "dimse", "procedure", "exam", "store", "exchange"]),
    ("audit", &["dimse", "journal", "store"]),
    ("access", &["dimse", "exchange"]),
    ("config", &["peers", "outbox", "federation", "access", "audit"]),
    (
        "work",
        &[
            "dicom",
            "dimse",
            "codec",
            "procedure",
            "exam",
            "mark",
            "store",
            "index",
            "journal",
            "peers",
            "outbox",
            "ingest",
            "retrieve",
            "report",
            "exchange",
            "federation",
        ],
    ),
    (
        "scp",
        &[
            "config", "peers", "dicom", "dimse", "exam", "index", "ingest", "journal", "outbox", "retrieve", "store", "codec",
            "exchange",
        ],
    ),
    (
        "web",
        &[
            "config",
            "access",
            "audit",
            "dimse",
            "exchange",
            "federation",
            "peers",
            "outbox",
            "dicom",
            "codec",
            "procedure",
            "exam",
            "store",
            "index",
            "journal",
            "ingest",
            "retrieve",
            "report",
        ],
    ),
    (
        "node",
        &[
            "config",
            "access",
            "audit",
            "codec",
            "dicom",
            "exchange",
            "federation",
            "index",
            "ingest",
            "journal",
            "mark",
            "dimse",
            "peers",
            "outbox",
            "procedure",
            "retrieve",
            "scp",
            "store",
            "web",
            "work",
        ],
    ),
];

/// No file, socket, clock, thread, process or environment in these.
const PURE: &[&str] = &["dicom", "procedure", "exam", "phantom"];
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::time",
    "std::thread",
    "std::process",
    "std::env",
    "File::open",
    "tokio",
    "SystemTime",
    "Instant::now",
    "now_utc",
];

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = hutong::store::walk(root.clone()).map(Result::unwrap).filter(|p| p.extension().is_some_and(|e| e == "rs"));
    files
        .map(|p| (p.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&p).unwrap()))
        .collect()
}

/// The text without its tests.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

fn module(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

#[test]
fn dependencies_point_downwards_only() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let name = module(&path);
        if matches!(name, "main" | "lib" | "cli") || path.ends_with("tests.rs") {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(m, _)| *m == name).unwrap_or_else(|| panic!("{name} is not in the table")).1;
        for piece in production(&text).split("crate::").skip(1) {
            let used: String = piece.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if used != name && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{path} uses crate::{used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_has_no_cycle_and_names_every_module() {
    let mut known: Vec<&str> = Vec::new();
    for (name, uses) in MAY_USE {
        // Order in the table is the proof: each module uses only what stands before it (config and journal use nothing).
        for used in *uses {
            assert!(known.contains(used) || matches!(*used, "config" | "journal"), "{name} uses {used}, which stands after it");
        }
        known.push(name);
    }
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let declared: Vec<&str> = lib.lines().filter_map(|l| l.strip_prefix("pub mod ")).map(|l| l.trim_end_matches(';')).collect();
    for name in &declared {
        assert!(known.contains(name), "{name} is not in the table");
    }
    assert_eq!(declared.len(), known.len());
}

#[test]
fn pure_modules_touch_nothing_outside() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if !PURE.contains(&module(&path)) || path.ends_with("tests.rs") {
            continue;
        }
        for word in IMPURE {
            if production(&text).contains(word) {
                wrong.push(format!("{path} uses {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_open_with_what_they_are_and_stay_readable() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 500, "{path} has {lines} lines");
        assert!(text.starts_with("//!") || path.ends_with("tests.rs"), "{path} does not open with //!");
    }
}
