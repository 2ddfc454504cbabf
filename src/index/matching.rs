//! Attribute matching (PS3.4 C.2.2.2): single value, list of UIDs, wildcard, range, names by component group. PURE.

use crate::dicom::{Attributes, Tag, VR, dataset::dictionary_vr};

/// Whether one of the attribute's values matches. An empty pattern and `*` match everything, absent values included.
pub fn matches(attributes: &Attributes, tag: Tag, pattern: &str) -> bool {
    let pattern = pattern.trim();
    if pattern.is_empty() || pattern == "*" {
        return true;
    }
    attributes.texts(tag).iter().any(|value| value_matches(dictionary_vr(tag), value, pattern))
}

/// Whether one value matches.
pub fn value_matches(vr: VR, value: &str, pattern: &str) -> bool {
    match vr {
        VR::UI => pattern.split(['\\', ',']).any(|uid| uid.trim() == value),
        VR::DA | VR::TM | VR::DT if pattern.contains('-') => in_range(vr, value, pattern),
        VR::DA | VR::TM | VR::DT => moment(vr, value) == moment(vr, pattern),
        VR::PN => name_matches(value, pattern),
        VR::IS | VR::DS | VR::US | VR::UL | VR::SS | VR::SL | VR::FL | VR::FD => {
            matches!((value.parse::<f64>(), pattern.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
        }
        VR::CS if pattern.contains('\\') => pattern.split('\\').any(|p| wildcard(p, value)),
        _ => wildcard(pattern, value),
    }
}

/// Digits of a date or time; a time is cut to whole seconds, so that 101500 finds 101500.00.
fn moment(vr: VR, text: &str) -> String {
    let text = if vr == VR::TM { text.split('.').next().unwrap_or(text) } else { text };
    text.chars().filter(char::is_ascii_digit).collect()
}

fn in_range(vr: VR, value: &str, pattern: &str) -> bool {
    let (from, to) = pattern.split_once('-').unwrap_or((pattern, pattern));
    let value = moment(vr, value);
    let (from, to) = (moment(vr, from), moment(vr, to));
    // A shorter bound covers everything that starts with it: -1015 includes 101559.
    !value.is_empty() && (from.is_empty() || value >= from) && (to.is_empty() || value <= to || value.starts_with(&to))
}

/// Each component group is matched by itself, without regard to case, so that `王*` finds `Wang^XiaoDong=王^小东`.
fn name_matches(value: &str, pattern: &str) -> bool {
    let fold = |text: &str| text.trim_end_matches(['^', ' ', '=']).to_lowercase();
    if pattern.contains('=') {
        return wildcard(&fold(pattern), &fold(value));
    }
    let pattern = fold(pattern);
    value.split('=').any(|group| wildcard(&pattern, &fold(group)))
}

/// `*` for any characters, `?` for one.
pub fn wildcard(pattern: &str, value: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let value: Vec<char> = value.chars().collect();
    let (mut p, mut v) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while v < value.len() {
        match pattern.get(p) {
            Some('*') => {
                back = Some((p, v));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == value.get(v) => {
                p += 1;
                v += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    p = star + 1;
                    v = from + 1;
                    back = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

/// The literal text a pattern starts with, for looking it up by prefix.
pub fn literal_prefix(pattern: &str) -> &str {
    pattern.split(['*', '?']).next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::tags;

    #[test]
    fn names_match_by_group_and_without_case() {
        let name = "Wang^XiaoDong=王^小东";
        for pattern in ["王*", "wang*", "WANG^XIAODONG", "*小东", "Wang^XiaoDong=王^小东", "wang^?iaodong"] {
            assert!(value_matches(VR::PN, name, pattern), "{pattern}");
        }
        for pattern in ["小*", "Li*", "王", "wang"] {
            assert!(!value_matches(VR::PN, name, pattern), "{pattern}");
        }
    }

    #[test]
    fn ranges_are_inclusive_and_open_at_either_end() {
        for (pattern, expected) in
            [("20260101-20261231", true), ("20260310-", true), ("-20260310", true), ("-20260309", false), ("20260310", true)]
        {
            assert_eq!(value_matches(VR::DA, "20260310", pattern), expected, "{pattern}");
        }
        assert!(value_matches(VR::TM, "101559.5", "1000-1015"));
        assert!(!value_matches(VR::TM, "101600", "1000-1015"));
    }

    #[test]
    fn many_stars_cost_little_and_absent_values_match_only_everything() {
        assert!(!wildcard(&"*a".repeat(40), &"b".repeat(2000)));
        let none = Attributes::default();
        assert!(matches(&none, tags::PATIENT_ID, "*") && !matches(&none, tags::PATIENT_ID, "7*"));
    }
}
