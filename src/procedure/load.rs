//! From the texts of `procedures/` to checked values; an error names file, line and key.

use super::calibration::Calibration;
use super::catalogue::{Item, Procedures, Protocol, Quality, Region};
use super::vocabulary::{Axis, VocabularyBuilder, file::NamesFile, file::SpellingFile};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong in which file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("procedures/{file}{}: {message}", line.map(|l| format!(":{l}")).unwrap_or_default())]
pub struct LoadError {
    /// Path inside `procedures/`.
    pub file: String,
    /// Line, from 1.
    pub line: Option<usize>,
    /// What, and at which key.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemFile {
    item: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProtocolFile {
    protocol: Vec<Protocol>,
}

/// Reads all files (path inside `procedures/`, text).
///
/// # Errors
/// Every error that was found, not only the first.
pub fn load<P: AsRef<str>, T: AsRef<str>>(files: &[(P, T)]) -> Result<Procedures, Vec<LoadError>> {
    let files: BTreeMap<&str, &str> = files.iter().map(|(p, t)| (p.as_ref(), t.as_ref())).collect();
    let mut errors = Vec::new();
    let mut words = VocabularyBuilder::default();
    let mut regions = Vec::new();
    let mut items = BTreeMap::new();
    let mut quality = None;
    let mut protocols = Vec::new();
    let mut calibration = Calibration::default();
    for (path, text) in &files {
        match path.split_once('/') {
            None if *path == "quality.toml" => quality = keep(&mut errors, parse::<Quality>(path, text)),
            None if *path == "protocols.toml" => {
                protocols = keep(&mut errors, parse::<ProtocolFile>(path, text)).map(|f| f.protocol).unwrap_or_default();
            }
            None if *path == "calibration.toml" => {
                calibration = keep(&mut errors, parse::<Calibration>(path, text)).unwrap_or_default();
                errors.extend(calibration.faults().iter().map(|what| error(path, "", what)));
            }
            Some(("vocabulary", "spelling.toml")) => {
                if let Some(file) = keep(&mut errors, parse::<SpellingFile>(path, text)) {
                    words.spelling(file);
                }
            }
            Some(("vocabulary", "names.toml")) => {
                if let Some(file) = keep(&mut errors, parse::<NamesFile>(path, text)) {
                    words.names(file);
                }
            }
            Some(("vocabulary", name)) => match Axis::of_file(name) {
                Some(axis) => {
                    let wrong = keep(&mut errors, parse(path, text)).and_then(|file| words.add(axis, file).err());
                    errors.extend(wrong.map(|message| error(path, text, &message)));
                }
                None => errors.push(error(path, text, "no vocabulary has this name")),
            },
            Some((folder, "region.toml")) => {
                if let Some(region) = keep(&mut errors, parse::<Region>(path, text)) {
                    regions.push((folder.to_string(), region));
                }
            }
            Some((folder, "items.toml")) => {
                drop(items.insert(folder.to_string(), keep(&mut errors, parse::<ItemFile>(path, text))))
            }
            _ => errors.push(error(path, text, "this file is not expected here")),
        }
    }
    let (vocabulary, twice) = words.build();
    errors.extend(twice.iter().map(|what| error("vocabulary", "", what)));
    for concept in vocabulary.nameless() {
        errors.push(error("vocabulary/names.toml", "", &format!("`{concept}` has no Chinese name")));
    }
    for (folder, region) in &mut regions {
        let path = format!("{folder}/items.toml");
        let text = files.get(path.as_str()).copied().unwrap_or("");
        match items.remove(folder) {
            Some(Some(file)) => region.items = file.item,
            Some(None) => {}
            None if region.enabled => {
                errors.push(error(&format!("{folder}/region.toml"), "", "an enabled region needs items.toml beside it"))
            }
            None => {}
        }
        errors.extend(check_items(region, &vocabulary, &protocols).into_iter().map(|(number, message)| LoadError {
            file: path.clone(),
            line: line_of_item(text, number),
            message: format!("item {number}: {message}"),
        }));
    }
    errors.extend(overlapping(&regions));
    for (folder, region) in &regions {
        let path = format!("{folder}/region.toml");
        let text = files.get(path.as_str()).copied().unwrap_or("");
        errors.extend(region.mark.fault().map(|what| error(&path, text, what)));
    }
    let Some(quality) = quality else {
        errors.push(error("quality.toml", "", "the file is missing or damaged"));
        return Err(errors);
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    let regions = regions.into_iter().map(|(_, region)| region).collect();
    Ok(Procedures { regions, vocabulary, protocols, quality, calibration, digest: digest(&files) })
}

fn keep<T>(errors: &mut Vec<LoadError>, result: Result<T, LoadError>) -> Option<T> {
    result.map_err(|e| errors.push(e)).ok()
}

fn parse<T: for<'de> Deserialize<'de>>(path: &str, text: &str) -> Result<T, LoadError> {
    toml::from_str(text).map_err(|e| LoadError {
        file: path.to_string(),
        line: e.span().map(|span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1),
        message: e.message().to_string(),
    })
}

fn error(path: &str, text: &str, message: &str) -> LoadError {
    let quoted = message.split('`').nth(1).unwrap_or("");
    let line = (!quoted.is_empty()).then(|| text.lines().position(|l| l.contains(quoted)).map(|n| n + 1)).flatten();
    LoadError { file: path.to_string(), line, message: message.to_string() }
}

fn line_of_item(text: &str, number: u32) -> Option<usize> {
    let wanted = format!("number = {number}");
    text.lines().position(|line| line.trim() == wanted).map(|n| n + 1)
}

/// What no type can say: numbers once, words known, every CT and MR item with its contrast, every radiograph with its views.
fn check_items(region: &Region, vocabulary: &super::Vocabulary, protocols: &[Protocol]) -> Vec<(u32, String)> {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for item in &region.items {
        let mut say = |message: String| wrong.push((item.number, message));
        if !seen.insert(item.number) {
            say("`number` stands twice".into());
        }
        for concept in item.region.iter().filter(|r| !vocabulary.knows(Axis::Anatomy, r)) {
            say(format!("`region` names `{concept}`, which vocabulary/anatomy.toml does not know"));
        }
        for view in item.views.iter().flatten().filter(|v| !known_view(vocabulary, v)) {
            say(format!("`views` names `{view}`, which vocabulary/view.toml does not know"));
        }
        let projection = item.modality.iter().any(|m| m == "DX" || m == "CR");
        if projection == item.views.is_empty() {
            say("radiographs need `views`, others must not have them".into());
        }
        if projection == item.contrast.is_some() {
            say("CT and MR items need `contrast`, radiographs must not have it".into());
        }
        if item.modality.iter().any(|m| m == "MR") != item.protocol.is_some() {
            say("MR items need `protocol`, others must not have it".into());
        }
        if let Some(unknown) = item.protocol.as_ref().filter(|id| !protocols.iter().any(|p| p.id == **id)) {
            say(format!("`protocol` names `{unknown}`, which protocols.toml does not know"));
        }
        for covered in item.covers.iter().filter(|c| region.item(**c).is_none()) {
            say(format!("`covers` names item {covered}, which does not exist"));
        }
    }
    wrong
}

/// Two enabled editions in force on the same day: a study of that day would have two lists to be judged by.
fn overlapping(regions: &[(String, Region)]) -> Vec<LoadError> {
    let enabled: Vec<_> = regions.iter().filter(|(_, r)| r.enabled).collect();
    let end = |r: &Region| r.valid_to.clone().unwrap_or_else(|| "9999-12-31".into());
    let mut errors = Vec::new();
    for (i, (folder, one)) in enabled.iter().enumerate() {
        for (other, two) in enabled.iter().skip(i + 1) {
            if one.valid_from <= end(two) && two.valid_from <= end(one) {
                let message =
                    format!("`valid_from`, `valid_to`: this edition and that of {other} are in force on the same day");
                errors.push(LoadError { file: format!("{folder}/region.toml"), line: None, message });
            }
        }
    }
    errors
}

fn known_view(vocabulary: &super::Vocabulary, view: &str) -> bool {
    let view = view.trim_start_matches('=');
    vocabulary.knows(Axis::View, view) || vocabulary.knows(Axis::Position, view)
}

fn digest(files: &BTreeMap<&str, &str>) -> String {
    let mut hash = Sha256::new();
    for (path, text) in files {
        for part in [path, text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procedure::embedded::FILES;

    fn with(path: &str, change: impl Fn(&str) -> String) -> Vec<LoadError> {
        let files: Vec<(String, String)> =
            FILES.iter().map(|(p, t)| (p.to_string(), if *p == path { change(t) } else { t.to_string() })).collect();
        load(&files).err().unwrap_or_default()
    }

    #[test]
    fn what_ships_loads_with_67_items_in_yubei_and_none_in_fujian() {
        let procedures = load(FILES).map_err(|e| format!("{e:?}")).unwrap();
        let yubei = procedures.region_for("20260310").unwrap();
        assert_eq!((yubei.code.as_str(), yubei.items.len()), ("yubei", 67));
        let count = |m: &str| yubei.items.iter().filter(|i| i.category == m).count();
        assert_eq!((count("DR"), count("CT"), count("MR")), (33, 20, 14));
        assert_eq!(yubei.mark.text(), "渝北 HR");
        assert_eq!(
            yubei.item(30).map(|i| (i.definition.as_str(), i.side)),
            Some(("左胫腓骨正侧位", Some(super::super::Side::Right)))
        );
        assert!(procedures.region_for("20231019").is_none());
        assert!(procedures.regions.iter().any(|r| r.code == "fujian" && !r.enabled && r.items.is_empty()));
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        let errors = with("yubei-2023/items.toml", |t| t.replacen("region = [\"chest\"]", "region = [\"chset\"]", 1));
        let text = errors.iter().map(ToString::to_string).collect::<String>();
        assert!(text.starts_with("procedures/yubei-2023/items.toml:6: item 1: `region` names `chset`"), "{text}");
        let errors = with("yubei-2023/region.toml", |t| t.replace("enabled = true", "enabeld = true"));
        assert!(errors.iter().any(|e| e.line.is_some() && e.message.contains("enabeld")), "{errors:?}");
    }
}
