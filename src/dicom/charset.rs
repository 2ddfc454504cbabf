//! Text in the character sets of Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 6.1), decoded from raw bytes.
//!
//! Never splits values before decoding: the trail byte of a GBK or GB18030 character may be 0x5C, the backslash.

use encoding_rs::{EUC_JP, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS, UTF_8, WINDOWS_1252};

/// The character repertoire of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Charset {
    first: Set,
    /// Escape sequences may switch (more than one term, or an `ISO 2022` term).
    extensions: bool,
    /// No term was given.
    unstated: bool,
    /// A set of two bytes a character that an escape sequence switches to; the first one named.
    escaped: Option<Set>,
}

/// One coded character set. `Single` decodes 0xA0–0xFF through an 8-bit page; the others say themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Set {
    Ascii,
    Single(&'static Encoding),
    Latin1,
    Whole(&'static Encoding),
    Katakana,
    Korean,
    Chinese,
    JisX0208,
    JisX0212,
}

impl Charset {
    /// From the value of (0008,0005), backslashes and all. Unknown terms are taken as absent.
    pub fn from_terms(value: &str) -> Charset {
        let terms: Vec<String> =
            value.split('\\').map(|t| t.trim_matches([' ', '\0']).to_uppercase().replace('_', " ")).collect();
        let first = terms.first().map_or(Set::Ascii, |t| set_of_term(t));
        let extensions = terms.len() > 1 || terms.iter().any(|t| t.starts_with("ISO 2022"));
        let unstated = terms.iter().all(String::is_empty);
        // PS3.3 C.12.1.1.2: these replace code extension altogether.
        let extensions = extensions && !matches!(first, Set::Whole(_));
        let escaped = terms.iter().map(|t| set_of_term(t)).find(|s| matches!(s, Set::Chinese | Set::Korean | Set::JisX0208));
        Charset { first, extensions, unstated, escaped: escaped.filter(|_| extensions) }
    }

    /// The default repertoire.
    pub fn unstated() -> Charset {
        Charset::from_terms("")
    }

    /// Decodes a value. Bytes that cannot be decoded become U+FFFD.
    ///
    /// Without a stated character set, bytes over 0x7F are against the standard but daily practice: they are read as UTF-8 if
    /// they are UTF-8, else as GB18030 if they are that.
    pub fn decode(&self, bytes: &[u8]) -> String {
        if bytes.is_ascii() && !bytes.contains(&0x1B) {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        if self.unstated && !bytes.contains(&0x1B) {
            return guess(bytes);
        }
        match self.first {
            Set::Whole(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
            _ if self.extensions || bytes.contains(&0x1B) => decode_iso2022(bytes, self.first),
            first => decode_run(bytes, Set::Ascii, first),
        }
    }
}

impl Charset {
    /// Encodes a text; none when the character set cannot express it.
    pub fn encode(&self, text: &str) -> Option<Vec<u8>> {
        if text.is_ascii() {
            return Some(text.as_bytes().to_vec());
        }
        match (self.first, self.escaped) {
            (Set::Whole(encoding), _) => whole(encoding, text),
            (_, Some(set)) => escaped(text, set),
            (Set::Single(encoding), _) => whole(encoding, text),
            (Set::Latin1, _) => text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect(),
            _ => None,
        }
    }
}

fn whole(encoding: &'static Encoding, text: &str) -> Option<Vec<u8>> {
    let (bytes, _, unmappable) = encoding.encode(text);
    (!unmappable).then(|| bytes.into_owned())
}

/// Each run of characters that are not ASCII behind its escape sequence: at every delimiter the initial state returns (PS3.5 6.1.2.5.3).
fn escaped(text: &str, set: Set) -> Option<Vec<u8>> {
    let (begin, end, encoding, high): (&[u8], &[u8], _, _) = match set {
        Set::Chinese => (b"\x1B$)A", b"", GB18030, true),
        Set::Korean => (b"\x1B$)C", b"", EUC_KR, true),
        Set::JisX0208 => (b"\x1B$B", b"\x1B(B", EUC_JP, false),
        _ => return None,
    };
    let mut bytes = Vec::new();
    let mut foreign = false;
    for c in text.chars() {
        if foreign && c.is_ascii() {
            bytes.extend_from_slice(end);
        }
        if !foreign && !c.is_ascii() {
            bytes.extend_from_slice(begin);
        }
        foreign = !c.is_ascii();
        if !foreign {
            bytes.push(u8::try_from(c).ok()?);
            continue;
        }
        let coded = whole(encoding, c.encode_utf8(&mut [0; 4]))?;
        let [first, second] = *coded.as_slice() else { return None };
        if first < 0xA1 || second < 0xA1 {
            return None;
        }
        bytes.extend(if high { [first, second] } else { [first & 0x7F, second & 0x7F] });
    }
    if foreign {
        bytes.extend_from_slice(end);
    }
    Some(bytes)
}

fn guess(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_string();
    }
    match GB18030.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => text.into_owned(),
        None => decode_run(bytes, Set::Ascii, Set::Latin1),
    }
}

/// Chinese text that was decoded with the wrong character set, seen as it was meant; none if it is not that. Known mistakes: GBK or
/// UTF-8 bytes read as Latin-1 or Windows-1252, and UTF-8 bytes read as GBK.
pub fn repair_mojibake(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    gbk_as_latin(text)
        .or_else(|| utf8_as_latin(text))
        .or_else(|| utf8_as(text, WINDOWS_1252, 1))
        .or_else(|| utf8_as(text, GB18030, 2))
}

fn gbk_as_latin(text: &str) -> Option<String> {
    if text.chars().any(|c| u32::from(c) > 0xFF) {
        return None;
    }
    let bytes: Vec<u8> = text.chars().filter_map(|c| u8::try_from(u32::from(c)).ok()).collect();
    // In GB 2312 both bytes of a character are high; a lone accented letter before an ASCII one is European text.
    if bytes.split(u8::is_ascii).any(|run| run.len() % 2 == 1) {
        return None;
    }
    let meant = GB18030.decode_without_bom_handling_and_without_replacement(&bytes)?;
    let mut foreign = meant.chars().filter(|c| !c.is_ascii()).peekable();
    foreign.peek()?;
    foreign.all(is_han_or_wide).then(|| meant.into_owned())
}

/// UTF-8 whose bytes were each taken for a character.
fn utf8_as_latin(text: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    let meant = String::from_utf8(bytes?).ok()?;
    let mut foreign = meant.chars().filter(|c| !c.is_ascii()).peekable();
    foreign.peek()?;
    foreign.all(is_han_or_wide).then_some(meant)
}

/// UTF-8 that was read as another set. A character may have been lost at the end of a run: what is left must be mostly Chinese.
fn utf8_as(text: &str, seen_as: &'static Encoding, least: usize) -> Option<String> {
    let (bytes, _, unmappable) = seen_as.encode(text);
    if unmappable && seen_as != GB18030 {
        return None;
    }
    let meant = String::from_utf8_lossy(&bytes);
    let foreign: Vec<char> = meant.chars().filter(|c| !c.is_ascii()).collect();
    let han = foreign.iter().filter(|c| is_han_or_wide(**c)).count();
    let lost = foreign.iter().filter(|c| **c == '\u{FFFD}').count();
    (han >= least && han + lost == foreign.len() && lost * 3 <= han).then(|| meant.replace('\u{FFFD}', ""))
}

fn is_han_or_wide(c: char) -> bool {
    ('\u{4E00}'..='\u{9FFF}').contains(&c) || ('\u{3000}'..='\u{303F}').contains(&c) || ('\u{FF00}'..='\u{FFEF}').contains(&c)
}

fn set_of_term(term: &str) -> Set {
    let page = |label: &str| Encoding::for_label(label.as_bytes()).map_or(Set::Latin1, Set::Single);
    match term.trim_start_matches("ISO IR ").trim_start_matches("ISO 2022 IR ") {
        "" | "6" => Set::Ascii,
        "100" => Set::Latin1,
        "101" => page("iso-8859-2"),
        "109" => page("iso-8859-3"),
        "110" => page("iso-8859-4"),
        "144" => page("iso-8859-5"),
        "127" => page("iso-8859-6"),
        "126" => page("iso-8859-7"),
        "138" => page("iso-8859-8"),
        // encoding_rs maps this label to windows-1254, which agrees with ISO 8859-9 on 0xA0-0xFF.
        "148" => page("iso-8859-9"),
        "203" => page("iso-8859-15"),
        // encoding_rs maps TIS 620 to windows-874, a superset.
        "166" => page("tis-620"),
        "13" => Set::Katakana,
        "87" => Set::JisX0208,
        "159" => Set::JisX0212,
        "149" => Set::Korean,
        "58" => Set::Chinese,
        "192" => Set::Whole(UTF_8),
        "GB18030" => Set::Whole(GB18030),
        // Two bytes a character at most: what needs four is none of it.
        "GBK" => Set::Whole(GBK),
        _ => Set::Ascii,
    }
}

/// The set an escape sequence switches to, whether it is G0 (true) or G1, and the sequence's length (PS3.3 table C.12-3, -4).
fn escape(bytes: &[u8]) -> Option<(Set, bool, usize)> {
    let page = |label: &str| Encoding::for_label(label.as_bytes()).map_or(Set::Latin1, Set::Single);
    let found = match bytes {
        [0x1B, b'(', b'B' | b'J', ..] => (Set::Ascii, true, 3),
        [0x1B, b'-', b'A', ..] => (Set::Latin1, false, 3),
        [0x1B, b'-', b'B', ..] => (page("iso-8859-2"), false, 3),
        [0x1B, b'-', b'C', ..] => (page("iso-8859-3"), false, 3),
        [0x1B, b'-', b'D', ..] => (page("iso-8859-4"), false, 3),
        [0x1B, b'-', b'L', ..] => (page("iso-8859-5"), false, 3),
        [0x1B, b'-', b'G', ..] => (page("iso-8859-6"), false, 3),
        [0x1B, b'-', b'F', ..] => (page("iso-8859-7"), false, 3),
        [0x1B, b'-', b'H', ..] => (page("iso-8859-8"), false, 3),
        [0x1B, b'-', b'M', ..] => (page("iso-8859-9"), false, 3),
        [0x1B, b'-', b'b', ..] => (page("iso-8859-15"), false, 3),
        [0x1B, b'-', b'T', ..] => (page("tis-620"), false, 3),
        [0x1B, b')', b'I', ..] => (Set::Katakana, false, 3),
        [0x1B, b'$', b')', b'C', ..] => (Set::Korean, false, 4),
        [0x1B, b'$', b')', b'A', ..] => (Set::Chinese, false, 4),
        [0x1B, b'$', b'(', b'D', ..] => (Set::JisX0212, true, 4),
        [0x1B, b'$', b'B' | b'@', ..] => (Set::JisX0208, true, 3),
        _ => return None,
    };
    Some(found)
}

/// Sets that stand in G0 when they are the first value of the attribute.
fn initial(first: Set) -> (Set, Set) {
    match first {
        Set::JisX0208 | Set::JisX0212 | Set::Ascii => (Set::Ascii, Set::Ascii),
        other => (Set::Ascii, other),
    }
}

fn decode_iso2022(bytes: &[u8], first: Set) -> String {
    let (mut g0, mut g1) = initial(first);
    let mut text = String::new();
    let mut rest = bytes;
    while let Some(&byte) = rest.first() {
        if let Some((set, to_g0, length)) = escape(rest) {
            if to_g0 {
                g0 = set
            } else {
                g1 = set
            }
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        // PS3.5 6.1.2.5.3: the initial state returns at delimiters and line ends, which are single bytes only in ASCII.
        let two_byte = matches!(g0, Set::JisX0208 | Set::JisX0212);
        if matches!(byte, b'\r' | b'\n' | 0x0C | b'\t') || (!two_byte && matches!(byte, b'\\' | b'^' | b'=')) {
            (g0, g1) = initial(first);
            text.push(char::from(byte));
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let high = byte >= 0x80;
        let run = rest
            .iter()
            .position(|&b| {
                b == 0x1B
                    || (b >= 0x80) != high
                    || matches!(b, b'\r' | b'\n' | 0x0C | b'\t')
                    || (!high && !two_byte && matches!(b, b'\\' | b'^' | b'='))
            })
            .unwrap_or(rest.len())
            .max(1);
        let (now, later) = rest.split_at(run.min(rest.len()));
        text.push_str(&decode_run(now, g0, g1));
        rest = later;
    }
    text
}

fn decode_run(bytes: &[u8], g0: Set, g1: Set) -> String {
    let through = |encoding: &'static Encoding, bytes: &[u8]| encoding.decode_without_bom_handling(bytes).0.into_owned();
    let high = bytes.iter().any(|b| *b >= 0x80);
    let set = if high { g1 } else { g0 };
    match set {
        Set::Ascii => bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{FFFD}' }).collect(),
        Set::Latin1 => bytes.iter().map(|b| char::from(*b)).collect(),
        Set::Single(encoding) | Set::Whole(encoding) => through(encoding, bytes),
        Set::Katakana => through(SHIFT_JIS, bytes),
        Set::Korean => through(EUC_KR, bytes),
        Set::Chinese => through(GB18030, bytes),
        Set::JisX0208 => through(EUC_JP, &bytes.iter().map(|b| b | 0x80).collect::<Vec<_>>()),
        Set::JisX0212 => {
            let euc: Vec<u8> =
                bytes.chunks(2).flat_map(|pair| std::iter::once(0x8F).chain(pair.iter().map(|b| b | 0x80))).collect();
            through(EUC_JP, &euc)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of PS3.5 annexes H, I and K, by their bytes.
    #[test]
    fn the_examples_of_the_standard_decode() {
        let cases: [(&str, &[u8], &str); 9] = [
            ("ISO_IR 100", b"Buc^J\xE9r\xF4me", "Buc^Jérôme"),
            (
                "\\ISO 2022 IR 87",
                b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B",
                "Yamada^Tarou=山田^太郎=やまだ^たろう",
            ),
            (
                "ISO 2022 IR 13\\ISO 2022 IR 87",
                b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J",
                "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
            ),
            (
                "\\ISO 2022 IR 149",
                b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7=\x1B$)C\xC8\xAB^\x1B$)C\xB1\xE6\xB5\xBF",
                "Hong^Gildong=洪^吉洞=홍^길동",
            ),
            ("ISO_IR 192", "Wang^XiaoDong=王^小东".as_bytes(), "Wang^XiaoDong=王^小东"),
            ("GB18030", b"Wang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB", "Wang^XiaoDong=王^小东"),
            ("\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1B$)A\xD5\xC5^\x1B$)A\xD0\xA1\xB6\xAB", "Zhang^XiaoDong=张^小东"),
            ("ISO_IR 144", b"\xBB\xEEce\xDC\xD1yp\xD3", "Люceмбypг"),
            ("", b"\xD0\xD8\xB2\xBF\xD5\xFD\xCE\xBB", "胸部正位"),
        ];
        for (terms, bytes, expected) in cases {
            assert_eq!(Charset::from_terms(terms).decode(bytes), expected, "{terms}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again_and_what_cannot_be_is_said() {
        for (terms, text) in [
            ("GB18030", "Wang^XiaoDong=王^小东"),
            ("GBK", "Wang^XiaoDong=王^小东"),
            ("ISO_IR 192", "Wang^XiaoDong=王^小东=𠮷"),
            ("\\ISO 2022 IR 58", "Zhang^XiaoDong=张^小东"),
            ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
            ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
            ("ISO_IR 100", "Buc^Jérôme"),
            ("ISO_IR 144", "Люкceмбypг"),
            ("", "Smith^John"),
        ] {
            let set = Charset::from_terms(terms);
            assert_eq!(set.decode(&set.encode(text).unwrap()), text, "{terms}");
        }
        for (terms, text) in [("", "王"), ("ISO_IR 100", "王"), ("\\ISO 2022 IR 58", "𠮷"), ("ISO_IR 144", "é")] {
            assert_eq!(Charset::from_terms(terms).encode(text), None, "{terms}");
        }
    }

    #[test]
    fn a_gbk_trail_byte_that_is_a_backslash_stays_part_of_its_character() {
        assert_eq!(Charset::from_terms("GBK").encode("王^𠮷"), None, "a character of four bytes");
        assert!(Charset::from_terms("GB18030").encode("王^𠮷").is_some());
        // 0x81 0x5C is a GBK character; splitting at 0x5C first would break it.
        assert_eq!(Charset::from_terms("GBK").decode(&[0x81, 0x5C, b'\\', b'a']).matches('\\').count(), 1);
    }

    #[test]
    fn chinese_that_was_labelled_latin_is_recognised_and_french_is_left_alone() {
        assert_eq!(repair_mojibake("ÐØ²¿ÕýÎ»").as_deref(), Some("胸部正位"));
        assert_eq!(repair_mojibake("鑳搁儴骞虫壂 CT").as_deref(), Some("胸部平扫 CT"));
        assert_eq!(repair_mojibake("èƒ¸éƒ¨").as_deref(), Some("胸部"));
        for sound in ["Genou Épaule", "胸部正位", "头颅CT平扫+增强", "腰椎间盘", "Schädel", "Größe: 5 µm", "肩關節"]
        {
            assert_eq!(repair_mojibake(sound), None, "{sound}");
        }
    }
}
