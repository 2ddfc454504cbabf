//! One spelling for all: width, case, accents, script variants, hyphens and the glue between words.
//!
//! Never changes what is stored: it makes the form that terms are looked up in, and terms are folded the same way.

use std::collections::{BTreeMap, BTreeSet};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A folded text: its letters, and before which of them a word begins although letters run on (`HeadSeq`, `CSPINEAP`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folded {
    /// The letters.
    pub letters: Vec<char>,
    /// Whether a word border stands before the letter of the same index.
    pub borders: Vec<bool>,
}

/// What the folding of letters and words goes by; built from the vocabulary's `spelling.toml` and all its words.
#[derive(Debug, Clone, Default)]
pub struct Spelling {
    /// Variant to the character that the vocabulary uses (traditional, Japanese to simplified).
    pub(super) alike: BTreeMap<char, char>,
    /// Short words that may be glued to others (`T2`, `FS`, `AP`).
    pub(super) glue: BTreeSet<Vec<char>>,
    /// Letters for a side that may be glued before a body part (`LKNEE`).
    pub(super) side_letters: BTreeSet<char>,
    /// Every single word of the vocabulary.
    pub(super) words: BTreeSet<Vec<char>>,
    /// Single words for parts of the body.
    pub(super) parts: BTreeSet<Vec<char>>,
    /// Words known only as a piece of a longer term (`fibula` of `tibia and fibula`): not unknown, and never taken apart.
    pub(super) pieces: BTreeSet<Vec<char>>,
}

/// The longest word that is taken apart, and the most pieces.
const LONGEST: usize = 28;
const MOST_PIECES: usize = 6;

impl Spelling {
    /// Folds a text.
    pub fn fold(&self, text: &str) -> Folded {
        let mut folded = self.characters(text);
        let mut from = 0;
        while from < folded.letters.len() {
            let length = folded.letters.iter().skip(from).take_while(|c| c.is_ascii_alphanumeric()).count();
            if length == 0 {
                from += 1;
                continue;
            }
            self.cut_token(&mut folded, from, from + length);
            from += length;
        }
        folded
    }

    /// The letters of a term or a coded value, uncut.
    pub(super) fn letters(&self, text: &str) -> Vec<char> {
        self.characters(text).letters
    }

    /// Takes the words of a term in; `part` says that they name a part of the body.
    pub(super) fn learn(&mut self, letters: &[char], part: bool) {
        let tokens: Vec<&[char]> = letters.split(|c| !c.is_alphanumeric()).filter(|t| !t.is_empty()).collect();
        match tokens.as_slice() {
            [one] if one.len() == letters.len() => {
                self.words.insert(one.to_vec());
                if part {
                    self.parts.insert(one.to_vec());
                }
            }
            several => self.pieces.extend(several.iter().filter(|t| t.len() > 1).map(|t| t.to_vec())),
        }
    }

    /// The body part that a word was meant to be: two neighbouring letters swapped, or one too many or too few. Substitutions are
    /// not repaired: an angle is no ankle.
    pub(super) fn meant(&self, word: &[char]) -> Option<&[char]> {
        let first = word.first()?;
        if word.len() < 5 {
            return None;
        }
        let near = self.parts.range(vec![*first]..).take_while(|p| p.first() == Some(first));
        near.map(Vec::as_slice).filter(|part| part.len() >= 5).find(|part| swapped(word, part) || one_off(word, part))
    }

    /// Whether the vocabulary knows a word, whole or as a piece of a term.
    pub(super) fn knows(&self, word: &[char]) -> bool {
        self.words.contains(word) || self.pieces.contains(word) || self.glue.contains(word)
    }

    /// Letters alone; borders are those of capitals inside a word.
    fn characters(&self, text: &str) -> Folded {
        let wide: Vec<char> = text
            .nfkd()
            .filter(|c| !is_combining_mark(*c))
            .map(|c| match c {
                '_' | '^' | '\\' | '\t' | '\r' | '\n' | '\u{A0}' => ' ',
                '‐'..='―' | '−' => '-',
                '【' | '［' => '[',
                '】' => ']',
                c => self.alike.get(&c).copied().unwrap_or(c),
            })
            .collect();
        let at = |i: Option<usize>| i.and_then(|i| wide.get(i)).copied().unwrap_or(' ');
        let mut folded = Folded::default();
        for (i, c) in wide.iter().copied().enumerate() {
            let (before, after) = (at(i.checked_sub(1)), at(Some(i + 1)));
            let joint = matches!(c, '-' | '.') && before.is_ascii_alphabetic() && after.is_ascii_alphabetic();
            let c = if joint { ' ' } else { c };
            if c == ' ' && folded.letters.last().is_none_or(|last| *last == ' ') {
                continue;
            }
            let capital = c.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && after.is_lowercase()));
            for lower in c.to_lowercase() {
                folded.letters.push(lower);
                folded.borders.push(capital);
            }
        }
        folded
    }

    /// Settles the borders inside one run of Latin letters and digits.
    fn cut_token(&self, folded: &mut Folded, from: usize, to: usize) {
        let token: Vec<char> = folded.letters.get(from..to).unwrap_or_default().to_vec();
        let whole = self.knows(&token);
        let camel: Vec<usize> = (from + 1..to).filter(|i| folded.borders.get(*i) == Some(&true)).collect();
        for border in folded.borders.get_mut(from + 1..to).unwrap_or_default() {
            *border = false;
        }
        if whole {
            return;
        }
        let mut cuts: Vec<usize> = self.pieces_of(&token).unwrap_or_default().iter().map(|at| from + at).collect();
        if cuts.is_empty() {
            // Capitals count only where every part of the word is long enough to be one.
            let edges: Vec<usize> = std::iter::once(from).chain(camel).chain(std::iter::once(to)).collect();
            for pair in edges.windows(2) {
                let &[start, end] = pair else { continue };
                if start > from {
                    cuts.push(start);
                }
                let part = folded.letters.get(start..end).unwrap_or_default().to_vec();
                if !self.knows(&part) {
                    cuts.extend(self.pieces_of(&part).unwrap_or_default().iter().map(|at| start + at));
                }
            }
        }
        for cut in cuts {
            if let Some(border) = folded.borders.get_mut(cut) {
                *border = true;
            }
        }
    }

    /// Where a word falls apart into known words, fewest first; none when it does not, letter for letter.
    fn pieces_of(&self, token: &[char]) -> Option<Vec<usize>> {
        if token.len() < 4 || token.len() > LONGEST {
            return None;
        }
        // best[i]: the cuts of the first i letters.
        let mut best: Vec<Option<Vec<usize>>> = vec![None; token.len() + 1];
        if let Some(first) = best.first_mut() {
            *first = Some(Vec::new());
        }
        for end in 1..=token.len() {
            let mut found: Option<Vec<usize>> = None;
            for start in 0..end {
                let Some(Some(cuts)) = best.get(start) else { continue };
                let piece = token.get(start..end).unwrap_or_default();
                let rest = token.get(end..).unwrap_or_default();
                if !self.is_piece(piece, start == 0, rest) {
                    continue;
                }
                let mut longer = cuts.clone();
                if start > 0 {
                    longer.push(start);
                }
                if longer.len() < MOST_PIECES && found.as_ref().is_none_or(|f| longer.len() < f.len()) {
                    found = Some(longer);
                }
            }
            if let Some(slot) = best.get_mut(end) {
                *slot = found;
            }
        }
        best.pop().flatten().filter(|cuts| !cuts.is_empty())
    }

    fn is_piece(&self, piece: &[char], first: bool, rest: &[char]) -> bool {
        let number = piece.iter().all(char::is_ascii_digit);
        match piece {
            [letter] if first && self.side_letters.contains(letter) => {
                (4..).contains(&rest.len()) && self.parts.iter().any(|p| p.len() >= 3 && rest.starts_with(p))
            }
            // A number is a piece of its own only at the end (`AX3D2`), lest it be torn from its word (`SAGT2FS`).
            _ if number => !first && rest.is_empty(),
            _ if self.glue.contains(piece) => true,
            _ => piece.len() >= 3 && self.words.contains(piece),
        }
    }
}

fn swapped(a: &[char], b: &[char]) -> bool {
    let differ: Vec<usize> = a.iter().zip(b).enumerate().filter(|(_, (x, y))| x != y).map(|(i, _)| i).collect();
    let &[i, j] = differ.as_slice() else { return false };
    a.len() == b.len() && j == i + 1 && a.get(i) == b.get(j) && a.get(j) == b.get(i)
}

fn one_off(a: &[char], b: &[char]) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    if short.len() < 5 || long.len() != short.len() + 1 || long.len() < 7 {
        return false;
    }
    let same = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    short.get(same..) == long.get(same + 1..)
}

/// Latin letters and digits run on; Chinese ones do not.
pub(super) fn runs_on(c: char) -> bool {
    c.is_alphanumeric() && !is_han(c)
}

/// Whether a character is Chinese, Japanese or their punctuation.
pub(super) fn is_han(c: char) -> bool {
    ('\u{2E80}'..='\u{9FFF}').contains(&c) || ('\u{F900}'..='\u{FAFF}').contains(&c) || ('\u{20000}'..).contains(&c)
}

impl Folded {
    /// Whether a word may begin at a letter (or end before it). Figures and letters part for terms of three letters and more.
    pub(super) fn border(&self, at: usize, length: usize) -> bool {
        let letter = |i: Option<usize>| i.and_then(|i| self.letters.get(i)).copied();
        let (Some(before), Some(after)) = (letter(at.checked_sub(1)), letter(Some(at))) else { return true };
        if !runs_on(before) || !runs_on(after) || self.borders.get(at) == Some(&true) {
            return true;
        }
        length >= 3 && before.is_ascii_digit() != after.is_ascii_digit()
    }
}
