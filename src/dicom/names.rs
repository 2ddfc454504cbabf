//! People's names as they are looked for (fuzzy semantic matching, PS3.4 C.2.2.2.1): by words, without case and diacritics, Chinese by
//! character and by pinyin with every reading of a character (单 is read Shan in a name, Dan elsewhere). PURE.
//!
//! Never decides that two people are one: it only finds names that somebody may have meant.

use pinyin::ToPinyinMulti;
use std::collections::BTreeSet;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Spellings in pinyin that are kept of one word.
const READINGS: usize = 12;

/// Lower case, without diacritics, full width letters as plain ones.
pub fn folded(text: &str) -> String {
    text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).nfc().collect()
}

/// The words of one component group, folded; then all of them joined.
fn split(group: &str) -> Vec<String> {
    let words = group.split(['^', ' ', ',', '\u{3000}', '=', '*', '?', '.', '\'', '-']);
    let mut words: Vec<String> = words.map(folded).filter(|w| !w.is_empty()).collect();
    if words.len() > 1 {
        words.push(words.concat());
    }
    words
}

fn is_han(text: &str) -> bool {
    text.chars().any(|c| matches!(c, '\u{3400}'..='\u{9FFF}' | '\u{20000}'..='\u{3FFFF}'))
}

/// How a word of Chinese characters is spelt, and its initials; other characters stay as they are.
fn readings(word: &str) -> BTreeSet<String> {
    spellings(word).into_iter().flat_map(|(whole, initials)| [whole, initials]).collect()
}

/// Each spelling with its initials.
fn spellings(word: &str) -> Vec<(String, String)> {
    let mut spelt: Vec<(String, String)> = vec![Default::default()];
    for c in word.chars() {
        let syllables: BTreeSet<String> = match c.to_pinyin_multi() {
            // ü is typed as v, and as u in passports.
            Some(multi) => multi.into_iter().flat_map(|p| [folded(p.plain()), p.plain().replace('ü', "v")]).collect(),
            None => BTreeSet::from([c.to_string()]),
        };
        let longer = |(whole, initials): &(String, String)| {
            let (whole, initials) = (whole.clone(), initials.clone());
            syllables
                .iter()
                .map(move |s| (format!("{whole}{s}"), initials.chars().chain(s.chars().take(1)).collect::<String>()))
                .collect::<Vec<_>>()
        };
        spelt = spelt.iter().flat_map(longer).take(READINGS).collect();
    }
    spelt
}

/// Every word that a person name (all component groups) can be found by.
pub fn words(name: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for word in name.split('=').flat_map(split) {
        if is_han(&word) {
            all.extend(readings(&word));
        }
        all.insert(word);
    }
    all
}

/// Words by whose beginnings every name can be looked up that [`fits`] a pattern.
pub fn lookups(pattern: &str) -> BTreeSet<String> {
    let words = split(pattern);
    let joined = words.last().cloned().into_iter();
    let longest = words.iter().take(words.len().saturating_sub(1).max(1)).max_by_key(|w| w.len()).cloned();
    let spelt = |word: String| {
        let sounds = if is_han(&word) { readings(&word) } else { BTreeSet::new() };
        sounds.into_iter().filter(|r| r.len() > 1).chain([word]).collect::<Vec<_>>()
    };
    joined.chain(longest).flat_map(spelt).collect()
}

/// Whether each word of the pattern, or all of them joined, begins a word of the name.
pub fn fits(name: &str, pattern: &str) -> bool {
    let (known, wanted) = (words(name), split(pattern));
    let begins = |word: &str| known.iter().any(|k| k.starts_with(word));
    // Characters are compared with characters where the name has any: 王 is not 汪, although both are Wang.
    let by_sound = !known.iter().any(|k| is_han(k));
    let one =
        |word: &String| begins(word) || (by_sound && is_han(word) && readings(word).iter().any(|r| r.len() > 1 && begins(r)));
    match wanted.split_last() {
        None => true,
        Some((only, [])) => one(only),
        Some((joined, words)) => words.iter().all(one) || one(joined),
    }
}

/// Whether the pattern is the whole name: family and given name in any order, in characters or by their sound. What is enough to find
/// somebody's name (`王`, `W`, `wxd`) is not enough to be told whose examinations there are.
pub fn is_whole(name: &str, pattern: &str) -> bool {
    let by_sound = !is_han(name);
    let wanted: BTreeSet<String> = pattern.split('=').flat_map(orders).collect();
    let same = |own: &String| {
        let sounds = || spellings(own).into_iter().map(|(whole, _)| whole);
        wanted.contains(own)
            || (is_han(own) && sounds().any(|s| wanted.contains(&s)))
            || (by_sound && wanted.iter().filter(|w| is_han(w)).flat_map(|w| spellings(w)).any(|(whole, _)| whole == *own))
    };
    name.split('=').any(|group| {
        // Family and given name of one with more: middle names are seldom told.
        let shorter: Vec<&str> = group.split('^').take(2).collect();
        [group.to_string(), shorter.join("^")].iter().flat_map(|part| own(part)).any(|own| same(&own))
    })
}

/// All words of a group joined; none for a group of one letter.
fn own(group: &str) -> Option<String> {
    split(group).pop().filter(|all| all.chars().count() > 1)
}

/// The words of a pattern joined, whichever comes first.
fn orders(group: &str) -> Vec<String> {
    let mut words = split(group);
    if words.len() > 1 {
        words.pop();
    }
    words.truncate(6);
    let turned = |first: usize| words.iter().cycle().skip(first).take(words.len()).map(String::as_str).collect::<String>();
    (0..words.len()).map(turned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_is_told_from_a_part_of_one() {
        let both = "Wang^XiaoDong=王^小东";
        for pattern in [
            "王小东",
            "Wang^XiaoDong",
            "xiaodong wang",
            "Wang Xiao Dong",
            "wáng xiǎodōng",
            "王^小东",
            "Wang^XiaoDong=王^小东",
            "WANG, Xiaodong",
        ] {
            assert!(is_whole(both, pattern), "{pattern}");
        }
        for pattern in
            ["", "^", "=", "王", "W", "wang", "xiao", "小东", "wxd", "w*", "wang^xiaoping", "wangxiaodongs", "汪小东", "x"]
        {
            assert!(!is_whole(both, pattern), "{pattern}");
        }
        assert!(is_whole("=单^雄信", "shan xiongxin") && is_whole("Wang^XiaoDong", "王小东") && !is_whole("Li^Si", "王小东"));
        assert!(is_whole("Müller^Jürgen^Karl^Dr.", "Jurgen Muller") && !is_whole("Müller^Jürgen", "Muller"));
        assert!(!is_whole("W", "w") && !is_whole("", ""));
    }

    #[test]
    fn names_are_found_by_word_sound_and_character() {
        let both = "Wang^XiaoDong=王^小东";
        for pattern in ["wang", "Xiaodong Wang", "wáng^xiǎodōng", "王小东", "小东", "wang xiao dong", "wxd", "WANG*", "王"]
        {
            assert!(fits(both, pattern), "{pattern}");
        }
        for pattern in ["汪", "li", "wang^xiaoping", "ong"] {
            assert!(!fits(both, pattern), "{pattern}");
        }
        assert!(fits("=单^雄信", "shan") && fits("=单^雄信", "dan") && fits("=吕^布", "lv") && fits("=吕^布", "lü bu"));
        // A name without characters is found by their sound.
        assert!(fits("Wang^XiaoDong", "王小东") && !fits("Li^XiaoDong", "王小东"));
        assert!(fits("Müller^Jürgen", "muller") && fits("MULLER^JURGEN", "Müller, Jürgen") && fits("Ｗａｎｇ^Li", "wang"));
    }

    #[test]
    fn what_fits_can_be_looked_up() {
        for (name, pattern) in [
            ("Wang^XiaoDong=王^小东", "xiaodong wang"),
            ("Wang^XiaoDong", "王小东"),
            ("=单^雄信", "shanxiongxin"),
            ("Wang^XiaoDong=王^小东", "小东"),
            ("Wang^XiaoDong=王^小东", "wang xiao dong"),
        ] {
            assert!(fits(name, pattern));
            assert!(lookups(pattern).iter().all(|l| l.len() > 1), "a single letter begins too many names");
            assert!(lookups(pattern).iter().any(|l| words(name).iter().any(|w| w.starts_with(l))), "{name} {pattern}");
        }
    }
}
