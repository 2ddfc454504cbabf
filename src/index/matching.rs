//! Attribute matching (PS3.4 C.2.2.2): single value, list of UIDs, wildcard, range, names by component group. PURE.

use super::{Key, Matching};
use crate::dicom::{Attributes, Tag, VR, dataset::dictionary_vr, names, tags};
use time::macros::format_description;
use time::{Date, Duration, PrimitiveDateTime};

/// Dates with the times that go with them: two ranges of them are one range of moments (PS3.4 C.2.2.2.5.1).
const MOMENTS: &[(Tag, Tag)] = &[
    (tags::STUDY_DATE, tags::STUDY_TIME),
    (tags::SERIES_DATE, tags::SERIES_TIME),
    (tags::ACQUISITION_DATE, tags::ACQUISITION_TIME),
    (tags::CONTENT_DATE, tags::CONTENT_TIME),
    (tags::PERFORMED_PROCEDURE_STEP_START_DATE, tags::PERFORMED_PROCEDURE_STEP_START_TIME),
];

/// Offset from UTC of objects that state none, minutes: China has one time zone.
const CHINA: i32 = 480;

/// Whether the attributes of one level fit all keys of that level.
pub fn all_fit(attributes: &Attributes, keys: &[&Key], how: &Matching) -> bool {
    let pattern = |tag: Tag| keys.iter().find(|k| k.path == [tag]).map(|k| k.pattern.trim()).filter(|p| !p.is_empty());
    let together = |(date, time): &&(Tag, Tag)| {
        let ranges = |tag| pattern(tag).is_some_and(|p| p.contains('-'));
        (how.combined && ranges(*date) && ranges(*time)) || (how.zone.is_some() && pattern(*date).is_some())
    };
    let pairs: Vec<&(Tag, Tag)> = MOMENTS.iter().filter(together).collect();
    let paired = |key: &Key| pairs.iter().any(|(d, t)| key.path == [*d] || key.path == [*t]);
    pairs.iter().all(|(d, t)| moments_fit(attributes, (*d, *t), pattern(*d).unwrap_or(""), pattern(*t).unwrap_or(""), how))
        && keys.iter().filter(|k| !paired(k)).all(|key| fits(attributes, &key.path, &key.pattern, how))
}

/// Whether one of the values at a path fits. An empty pattern and `*` fit everything, absent values included.
pub fn fits(attributes: &Attributes, path: &[Tag], pattern: &str, how: &Matching) -> bool {
    let pattern = pattern.trim();
    let Some((tag, rest)) = path.split_first() else { return true };
    if pattern.is_empty() || pattern == "*" {
        return true;
    }
    if !rest.is_empty() {
        let items = attributes.items(*tag);
        let absent = items.is_empty() && how.empty && pattern == "\"\"";
        return absent || items.iter().any(|item| fits(item, rest, pattern, how));
    }
    if how.empty && pattern == "\"\"" {
        return attributes.texts(*tag).iter().all(String::is_empty) && attributes.items(*tag).is_empty();
    }
    let vr = dictionary_vr(*tag);
    let whole = how.whole_name && *tag == tags::PATIENT_NAME;
    let one = |pattern: &str, value: &str| match vr {
        VR::PN if whole && !names::is_whole(value, pattern) => false,
        // Fuzzy matching finds more, never less.
        VR::PN if how.fuzzy => names::fits(value, pattern) || name_matches(value, pattern),
        _ => value_matches(vr, value, pattern),
    };
    let values = attributes.texts(*tag);
    if how.multiple
        && let Some(wanted) = several(vr, pattern)
    {
        // Each of them must be there, in whatever order, and others may be there too.
        return wanted.iter().all(|p| values.iter().any(|value| one(p, value)));
    }
    values.iter().any(|value| one(pattern, value))
}

/// The values of a list, for the representations that can have several (PS3.4 C.2.2.2.8); code strings also with commas between, as in
/// URLs. None when it is no list.
pub fn several(vr: VR, pattern: &str) -> Option<Vec<&str>> {
    let separators: &[char] = match vr {
        VR::AE | VR::AS | VR::AT | VR::CS => &['\\', ','],
        VR::LO | VR::PN | VR::SH | VR::UC => &['\\'],
        _ => return None,
    };
    let values: Vec<&str> = pattern.split(separators).map(str::trim).collect();
    (values.len() > 1).then_some(values)
}

/// Whether date and time lie between the beginnings and the ends of both ranges, as one range.
fn moments_fit(attributes: &Attributes, (date, time): (Tag, Tag), dates: &str, times: &str, how: &Matching) -> bool {
    let digits = |text: &str| text.split('.').next().unwrap_or("").chars().filter(char::is_ascii_digit).collect::<String>();
    let Some(day) = attributes.text(date).map(digits).filter(|d| d.len() == 8) else { return false };
    let stated = attributes.text(time).map(digits);
    let mut value = format!("{day}{:0<6}", stated.as_deref().unwrap_or(""));
    if let Some(zone) = how.zone {
        let own = attributes.text(tags::TIMEZONE_OFFSET_FROM_UTC).and_then(offset_of).unwrap_or(CHINA);
        // Without a time of day nobody knows on which side of midnight it was.
        if stated.is_some() {
            value = shifted(&value, zone - own).unwrap_or(value);
        }
    }
    let (from_day, to_day) = dates.split_once('-').unwrap_or((dates, dates));
    let (from_time, to_time) = if times.is_empty() { ("", "") } else { times.split_once('-').unwrap_or((times, times)) };
    let from = format!("{}{:0<6}", digits(from_day), digits(from_time));
    let to = format!("{}{:9<6}", digits(to_day), digits(to_time));
    (from_day.trim().is_empty() || value >= from) && (to_day.trim().is_empty() || value <= to)
}

/// Minutes of an offset such as `+0800`.
pub fn offset_of(text: &str) -> Option<i32> {
    let (sign, digits) = match text.trim().split_at_checked(1)? {
        ("+" | " ", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (digits.len() == 4 && hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

fn shifted(moment: &str, minutes: i32) -> Option<String> {
    let format = format_description!("[year][month][day][hour][minute][second]");
    let there = PrimitiveDateTime::parse(moment, format).ok()?;
    there.checked_add(Duration::minutes(i64::from(minutes)))?.format(format).ok()
}

/// Writes the dates and times of what was found in another zone, offset in minutes, where both are known (PS3.4 C.4.1.1.3.1).
pub fn put_in_zone(found: &mut Attributes, zone: i32) {
    let own = found.text(tags::TIMEZONE_OFFSET_FROM_UTC).and_then(offset_of).unwrap_or(CHINA);
    for (date, time) in MOMENTS {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let (Some(day), Some(clock)) = (found.text(*date).map(digits), found.text(*time)) else { continue };
        let (whole, fraction) = clock.split_once('.').map_or((clock, None), |(whole, fraction)| (whole, Some(fraction)));
        let Some(there) = shifted(&format!("{day}{:0<6}", digits(whole)), zone - own) else { continue };
        let Some((day, clock)) = there.split_at_checked(8) else { continue };
        let clock = fraction.map_or(clock.to_string(), |fraction| format!("{clock}.{fraction}"));
        found.set(*date, VR::DA, vec![day.to_string()]);
        found.set(*time, VR::TM, vec![clock]);
    }
    let (sign, minutes) = (if zone < 0 { '-' } else { '+' }, zone.unsigned_abs());
    found.set(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, vec![format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)]);
}

/// The days around a date, `YYYYMMDD`.
pub fn day_before_and_after(day: &str) -> Option<(String, String)> {
    let format = format_description!("[year][month][day]");
    let day = Date::parse(day, format).ok()?;
    Some((day.previous_day()?.format(format).ok()?, day.next_day()?.format(format).ok()?))
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

/// Whether a value can be matched with at all; a typing mistake must not look like "no examinations".
///
/// # Errors
/// How such a value is written.
pub fn legal(vr: VR, pattern: &str) -> Result<(), &'static str> {
    let pattern = pattern.trim().trim_end_matches('\0');
    let of = |allowed: &str| pattern.chars().all(|c| c.is_ascii_digit() || allowed.contains(c));
    let wild = pattern.contains(['*', '?', ',', '\\']);
    match vr {
        VR::DA if !of("-.*?,\\ ") || !(wild || pattern.split('-').all(is_day)) => {
            Err("a date is YYYYMMDD, a range has a hyphen between two or before or behind one")
        }
        VR::TM if !of("-.:*?,\\ ") => Err("a time is HHMMSS, a range has a hyphen"),
        VR::IS | VR::US | VR::SS | VR::UL | VR::SL if !of("+-*?,\\ ") => Err("a whole number has digits and a sign"),
        VR::DS if !of("+-.eE*?,\\ ") => Err("a number has digits, a sign, a point and an exponent"),
        VR::UI if !of(".*?,\\ ") => Err("a UID has digits and dots, a list of them commas"),
        _ => Ok(()),
    }
}

/// A year, month or day, with dots or without (PS3.5 6.2, DA and its form before 1993); or nothing.
fn is_day(text: &str) -> bool {
    let text = text.trim();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let part = |from: usize, to: usize| digits.get(from..to).and_then(|d| d.parse::<u32>().ok());
    let month = part(4, 6).is_none_or(|m| (1..=12).contains(&m));
    let day = part(6, 8).is_none_or(|d| (1..=31).contains(&d));
    text.is_empty() || (matches!(digits.len(), 4 | 6 | 8) && month && day)
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
    let fold = |text: &str| text.trim().trim_end_matches(['^', ' ', '=']).to_lowercase();
    if !pattern.contains('=') {
        let pattern = fold(pattern);
        return value.split('=').any(|group| wildcard(&pattern, &fold(group)));
    }
    // A group that the pattern leaves out matches any.
    let mut known = value.split('=').map(fold);
    pattern.split('=').map(fold).all(|wanted| {
        let own = known.next().unwrap_or_default();
        wanted.is_empty() || wildcard(&wanted, &own)
    })
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
        // Group by group: what the pattern leaves out matches any.
        for (name, pattern, fits) in [
            ("Wang^XiaoDong=王^小东", "=王*", true),
            ("Wang^XiaoDong=王^小东", "=李*", false),
            ("Wang^XiaoDong=王^小东", "王*=", false),
            ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Tarou=山田^太郎", true),
            ("Yamada^Tarou=山田^太郎=やまだ^たろう", "==やまだ*", true),
            ("Li^Si^^=李^四^^", "Li^Si=李^四", true),
            ("Li^Si", "Li^Si=李^四", false),
        ] {
            assert_eq!(value_matches(VR::PN, name, pattern), fits, "{name} {pattern}");
        }
        let fuzzy = Matching { fuzzy: true, ..Matching::default() };
        let mut person = Attributes::default();
        person.set(tags::PATIENT_NAME, VR::PN, vec![name.into()]);
        for pattern in ["*东", "*dong", "W*Dong", "?ang^XiaoDong", "wang xiaodong", "小东"] {
            assert!(fits(&person, &[tags::PATIENT_NAME], pattern, &fuzzy), "{pattern}");
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
        let (none, how) = (Attributes::default(), Matching::default());
        let matches = |pattern| fits(&none, &[tags::PATIENT_ID], pattern, &how);
        assert!(matches("*") && !matches("7*"));
        assert!(!matches("\"\"") && fits(&none, &[tags::PATIENT_ID], "\"\"", &Matching { empty: true, ..how.clone() }));
    }

    fn study(date: &str, time: &str, zone: Option<&str>) -> Attributes {
        let mut a = Attributes::default();
        a.set(tags::STUDY_DATE, VR::DA, vec![date.into()]);
        a.set(tags::STUDY_TIME, VR::TM, vec![time.into()]);
        if let Some(zone) = zone {
            a.set(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, vec![zone.into()]);
        }
        a
    }

    #[test]
    fn a_range_of_dates_and_one_of_times_are_one_range_of_moments() {
        let keys = [Key::of(tags::STUDY_DATE, "20260301-20260303"), Key::of(tags::STUDY_TIME, "1000-1800")];
        let keys: Vec<&Key> = keys.iter().collect();
        let combined = Matching { combined: true, ..Matching::default() };
        let fit = |date, time| all_fit(&study(date, time, None), &keys, &combined);
        assert!(fit("20260302", "0800") && fit("20260301", "100000") && fit("20260303", "180059.9"));
        assert!(!fit("20260301", "0959") && !fit("20260303", "1801") && !fit("20260304", "1200"));
        // Not agreed on, each is a range of its own: 08:00 lies in none of the days' hours.
        let apart = |date, time| all_fit(&study(date, time, None), &keys, &Matching::default());
        assert!(!apart("20260302", "0800") && apart("20260302", "1200") && !apart("20260304", "1200"));
    }

    #[test]
    fn dates_are_those_of_the_zone_that_the_query_states() {
        let keys = [Key::of(tags::STUDY_DATE, "20260302")];
        let keys: Vec<&Key> = keys.iter().collect();
        let utc = Matching { zone: offset_of("+0000"), ..Matching::default() };
        // Half past seven in the morning in China is still the day before in UTC.
        assert!(
            !all_fit(&study("20260302", "0730", None), &keys, &utc) && all_fit(&study("20260303", "0730", None), &keys, &utc)
        );
        assert!(all_fit(&study("20260302", "0730", Some("+0000")), &keys, &utc));
        let mut found = study("20260302", "073015.25", None);
        put_in_zone(&mut found, 0);
        let texts =
            [tags::STUDY_DATE, tags::STUDY_TIME, tags::TIMEZONE_OFFSET_FROM_UTC].map(|t| found.text(t).unwrap().to_string());
        assert_eq!(texts, ["20260301", "233015.25", "+0000"]);
        assert_eq!((offset_of("-0330"), offset_of("800"), offset_of("+9900")), (Some(-210), None, None));
    }

    #[test]
    fn values_in_sequences_and_lists_of_patterns_match() {
        let mut item = Attributes::default();
        item.set(tags::SCHEDULED_PROCEDURE_STEP_ID, VR::SH, vec!["S7".into()]);
        let mut a = Attributes::default();
        a.set_items(tags::REQUEST_ATTRIBUTES_SEQUENCE, vec![item]);
        a.set(tags::IMAGE_TYPE, VR::CS, vec!["ORIGINAL".into(), "PRIMARY".into(), "AXIAL".into()]);
        let path = [tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::SCHEDULED_PROCEDURE_STEP_ID];
        let how = Matching::default();
        assert!(fits(&a, &path, "S*", &how) && !fits(&a, &path, "T*", &how));
        let several = Matching { multiple: true, ..how };
        let image_type = |pattern| fits(&a, &[tags::IMAGE_TYPE], pattern, &several);
        assert!(image_type("AXIAL\\ORIGINAL") && image_type("PRIMARY,AXIAL") && !image_type("AXIAL\\DERIVED"));
    }
}
