//! One text, read on every axis at once: the terms in it, the clauses they stand in, and what no term accounts for.

use super::fold::{Folded, is_han, runs_on};
use super::{Axis, Place, Term, Vocabulary};
use std::collections::BTreeSet;

/// A term that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What it is about.
    pub axis: Axis,
    /// The concepts it means.
    pub means: Vec<String>,
    /// The term, as in the vocabulary.
    pub term: String,
    /// The clause it stands in, from 0.
    pub clause: usize,
    /// A single letter that names a part of the spine, and may not count.
    pub spine_letter: bool,
    /// A part that the image only happens to include, or that stands with the question to be answered: no subject.
    pub aside: bool,
    at: usize,
    length: usize,
}

impl Hit {
    /// How many letters lie between two terms of one text.
    pub fn distance(&self, other: &Hit) -> usize {
        let (first, second) = if self.at <= other.at { (self, other) } else { (other, self) };
        second.at.saturating_sub(first.at + first.length)
    }
}

/// Letters that no term accounts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The letters.
    pub text: String,
    /// They hold a character that names a part of the body.
    pub anatomical: bool,
}

/// A text as read.
#[derive(Debug, Clone, Default)]
pub struct Words {
    hits: Vec<Hit>,
    /// Number of clauses, at least 1 for a text that says anything.
    pub clauses: usize,
    /// What was not understood.
    pub unknown: Vec<Unknown>,
    letters: Vec<char>,
    covered: Vec<bool>,
}

impl Words {
    /// The terms of an axis, left to right.
    pub fn on(&self, axis: Axis) -> impl Iterator<Item = &Hit> {
        self.hits.iter().filter(move |h| {
            h.axis == axis && !h.spine_letter && !h.aside && h.means.iter().any(|m| !matches!(m.as_str(), NOTHING | NEGATES))
        })
    }

    /// The letters that may name a part of the spine ("C", "T", "L").
    pub fn spine_letters(&self) -> impl Iterator<Item = &Hit> {
        self.hits.iter().filter(|h| h.spine_letter)
    }

    /// Whether the text holds a term with exactly one character wrong, and that one unknown. Of two characters, the right one must name
    /// a part of the body: 大孔 is no 大脑.
    pub(super) fn holds_misspelt(&self, term: &[char], anatomical: &BTreeSet<char>) -> bool {
        self.letters.windows(term.len()).zip(self.covered.windows(term.len())).any(|(here, covered)| {
            let wrong: Vec<bool> = here.iter().zip(term).zip(covered).filter(|((a, b), _)| a != b).map(|(_, c)| *c).collect();
            let told = here.iter().zip(term).any(|(a, b)| a == b && anatomical.contains(a));
            wrong == [false] && (told || term.len() > 2)
        })
    }
}

/// What a term means that only looks like another one (体检中心 is no heart).
const NOTHING: &str = "nothing";
/// What a term means that takes the next one back (`without` contrast).
const NEGATES: &str = "negates";

/// What a term means that counts only beside a plain one (the `w` of "w&w/o"; alone it may be the water image).
const BESIDE_PLAIN: &str = "beside-plain";

/// Words of this length and more are reported when nobody knows them.
const UNKNOWN_LATIN: usize = 4;

/// Letters of a text that are read: descriptions have 64 by the standard; what comes after a thousand is no description.
const LONGEST_TEXT: usize = 1024;

pub(super) fn read(vocabulary: &Vocabulary, text: &str, modality: &str) -> Words {
    let end = text.char_indices().nth(LONGEST_TEXT).map_or(text.len(), |(at, _)| at);
    let mut folded = vocabulary.spelling.fold(text.get(..end).unwrap_or(text));
    let mut hits = scan(vocabulary, &folded, modality);
    if repair_spelling(vocabulary, &mut folded, &hits) {
        hits = scan(vocabulary, &folded, modality);
    }
    negate(&folded, &mut hits);
    keep_company(&mut hits);
    let clauses = cut_clauses(&mut hits);
    set_asides(vocabulary, &folded, &mut hits);
    drop_stumps(&folded, &mut hits);
    let covered = covered(&folded, &hits);
    let unknown = unaccounted(vocabulary, &folded, &covered);
    hits.retain(|h| !matches!(h.axis, Axis::Separator | Axis::Silent));
    Words { hits, clauses, unknown, letters: folded.letters, covered }
}

fn scan(vocabulary: &Vocabulary, text: &Folded, modality: &str) -> Vec<Hit> {
    let mut hits: Vec<Hit> = Vec::new();
    // Up to where each axis has used the letters up.
    let mut used = [0usize; 16];
    for (at, first) in text.letters.iter().enumerate() {
        let Some(terms) = vocabulary.terms.get(first) else { continue };
        let mut spine = false;
        for term in terms {
            let slot = term.axis as usize;
            let letter = term.place == Place::SpineLetter;
            let free = if letter { !spine } else { used.get(slot).is_some_and(|end| *end <= at) };
            if !free || !applies(term, modality) || !stands(text, at, term) {
                continue;
            }
            let length = term.letters.len();
            if letter {
                spine = true;
            } else if let Some(end) = used.get_mut(slot) {
                *end = at + length;
            }
            hits.push(Hit {
                axis: term.axis,
                means: term.means.clone(),
                term: term.letters.iter().collect(),
                clause: 0,
                spine_letter: letter,
                aside: false,
                at,
                length,
            });
        }
    }
    hits
}

fn applies(term: &Term, modality: &str) -> bool {
    term.modality.is_empty() || term.modality.iter().any(|m| m == modality)
}

fn stands(text: &Folded, at: usize, term: &Term) -> bool {
    let here = text.letters.get(at..).is_some_and(|rest| rest.starts_with(&term.letters));
    let length = term.letters.len();
    let edge = |inside: Option<&char>, at: usize| inside.is_none_or(|c| !runs_on(*c)) || text.border(at, length);
    here && (term.place == Place::Anywhere || (edge(term.letters.first(), at) && edge(term.letters.last(), at + length)))
}

/// Numbers the clauses: a separator counts unless it is part of a term (平扫+增强).
fn cut_clauses(hits: &mut [Hit]) -> usize {
    let inside =
        |at: usize| hits.iter().any(|h| h.axis != Axis::Separator && h.at <= at && at < h.at + h.length && h.length > 1);
    let next = |h: &&Hit| h.axis == Axis::Separator && h.means.iter().any(|m| m == "next");
    let cuts: Vec<usize> = hits.iter().filter(next).map(|h| h.at).filter(|at| !inside(*at)).collect();
    for hit in hits.iter_mut() {
        hit.clause = cuts.iter().filter(|cut| **cut <= hit.at).count();
    }
    cuts.len() + 1
}

/// A negating word takes back the term that follows it directly: "sans gado" is plain.
fn negate(text: &Folded, hits: &mut Vec<Hit>) {
    let ends: Vec<(Axis, usize)> =
        hits.iter().filter(|h| h.means.iter().any(|m| m == NEGATES)).map(|h| (h.axis, h.at + h.length)).collect();
    let blank = |at: usize| text.letters.get(at) == Some(&' ');
    hits.retain(|h| {
        let follows = |end: usize| h.at == end || (h.at == end + 1 && blank(end));
        !ends.iter().any(|(axis, end)| *axis == h.axis && follows(*end))
    });
}

/// Takes out terms that count only beside a plain one.
fn keep_company(hits: &mut Vec<Hit>) {
    let plain: Vec<Hit> =
        hits.iter().filter(|h| h.axis == Axis::Contrast && h.means.iter().any(|m| m == "plain")).cloned().collect();
    let alone = |h: &Hit| !plain.iter().any(|p| p.distance(h) <= 5);
    hits.retain(|h| !(h.means.iter().any(|m| m == BESIDE_PLAIN) && alone(h)));
}

/// Regions that are no subject: those after 含 or "including", after "R/O" or "?fracture", those in a phrase that says why the patient
/// came (脊髓占位), and those that are part of the name of a disease (肠梗阻). When nothing else is left, they are the subject.
fn set_asides(vocabulary: &Vocabulary, text: &Folded, hits: &mut [Hit]) {
    let regions = |hits: &[Hit]| {
        hits.iter()
            .filter(|h| h.axis == Axis::Anatomy && h.means.iter().all(|m| m != NOTHING))
            .map(|h| h.at)
            .collect::<Vec<_>>()
    };
    let all = regions(hits);
    let Some(first) = all.first().copied() else { return };
    let (mut spans, mut included) = (Vec::new(), Vec::new());
    for hit in hits.iter().filter(|h| h.axis == Axis::Separator && h.at > first) {
        let clause_end = hits.iter().filter(|h| h.clause > hit.clause).map(|h| h.at).min().unwrap_or(text.letters.len());
        match hit.means.first().map(String::as_str) {
            Some("included") => included.push((hit.at, closing(text, hit.at).min(clause_end))),
            Some("question") => spans.push((hit.at, text.letters.len())),
            _ => {}
        }
    }
    for (at, pair) in text.letters.windows(2).enumerate() {
        if matches!(pair, ['?' | '#', c] if c.is_ascii_alphabetic() || *c == '#') && at > first {
            spans.push((at, closing(text, at)));
        }
    }
    let says = |h: &Hit, what: &str| h.axis == Axis::Silent && h.means.iter().any(|m| m == what);
    let why = |h: &Hit| says(h, "indication");
    for (from, to, bracketed) in phrases(text) {
        let aside = |h: &Hit| why(h) || (bracketed && says(h, "history"));
        let organ = |h: &Hit| h.axis == Axis::Anatomy && h.means.iter().all(|m| vocabulary.is_aside_in_brackets(m));
        let inside = |h: &&Hit| from <= h.at && h.at < to;
        let looked_for = bracketed && from > first && hits.iter().filter(inside).any(organ);
        if looked_for || hits.iter().any(|h| aside(h) && from <= h.at && h.at < to) {
            spans.push((from, to));
        }
    }
    spans.extend(hits.iter().filter(|h| why(h)).map(|h| (h.at, h.at + h.length)));
    let within = |spans: &[(usize, usize)], at: usize| spans.iter().any(|(from, to)| *from <= at && at < *to);
    for hit in hits.iter_mut().filter(|h| h.axis == Axis::Special) {
        hit.aside = within(&included, hit.at);
    }
    spans.append(&mut included);
    let beside = |at: usize| within(&spans, at);
    if all.iter().all(|at| beside(*at)) {
        return;
    }
    // So is a side there, if the subject has one of its own: "右肩CT 左肩外伤史".
    let sided = hits.iter().any(|h| h.axis == Axis::Side && !beside(h.at));
    for hit in hits.iter_mut().filter(|h| h.axis == Axis::Anatomy || (sided && h.axis == Axis::Side)) {
        hit.aside = beside(hit.at);
    }
}

/// Where the bracket closes that is open at a letter, else where the text ends.
fn closing(text: &Folded, from: usize) -> usize {
    let end = text.letters.iter().skip(from).position(|c| matches!(c, ')' | ']'));
    end.map_or(text.letters.len(), |n| from + n)
}

/// Phrases: what stands in brackets (true), and Chinese between blanks.
fn phrases(text: &Folded) -> Vec<(usize, usize, bool)> {
    let mut found = Vec::new();
    let mut from = 0;
    let mut bracket = false;
    for at in 0..=text.letters.len() {
        let c = text.letters.get(at).copied().unwrap_or(')');
        if !matches!(c, ' ' | '(' | ')' | '[' | ']' | ',' | ';' | '。') || (bracket && c == ' ') {
            continue;
        }
        let han = text.letters.get(from..at).unwrap_or_default().iter().any(|c| is_han(*c));
        if from < at && (han || bracket) {
            found.push((from, at, bracket));
        }
        bracket = matches!(c, '(' | '[');
        from = at + 1;
    }
    found
}

/// Takes misspelt body parts as what they were meant to be; true when it changed anything.
fn repair_spelling(vocabulary: &Vocabulary, text: &mut Folded, hits: &[Hit]) -> bool {
    let mut changes: Vec<(usize, usize, Vec<char>)> = Vec::new();
    for (from, to) in latin_words(text) {
        let word = text.letters.get(from..to).unwrap_or_default();
        let covered = hits.iter().any(|h| h.at < to && from < h.at + h.length);
        if !covered
            && !vocabulary.spelling.knows(word)
            && let Some(meant) = vocabulary.spelling.meant(word)
        {
            changes.push((from, to, meant.to_vec()));
        }
    }
    for (from, to, meant) in changes.iter().rev() {
        let borders = vec![false; meant.len()];
        text.letters.splice(from..to, meant.iter().copied());
        text.borders.splice(from..to, borders);
    }
    !changes.is_empty()
}

/// Runs of Latin letters, cut at word borders.
fn latin_words(text: &Folded) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    for at in 0..=text.letters.len() {
        let inside = text.letters.get(at).is_some_and(|c| c.is_alphabetic() && !is_han(*c));
        let cut = text.borders.get(at) == Some(&true);
        if let Some(from) = start.filter(|_| !inside || cut) {
            words.push((from, at));
            start = None;
        }
        if inside && start.is_none() {
            start = Some(at);
        }
    }
    words
}

/// A single Chinese character that names a region does so no more when the one behind it is unknown, and nothing else names one: 胸惟
/// may be a misspelt 胸椎.
fn drop_stumps(text: &Folded, hits: &mut Vec<Hit>) {
    let covered = covered(text, hits);
    let unknown = |at: usize| covered.get(at) == Some(&false) && text.letters.get(at).is_some_and(|c| is_han(*c));
    let is_region = |h: &Hit| h.axis == Axis::Anatomy && !h.spine_letter && h.means.iter().any(|m| m != NOTHING);
    let is_stump = |h: &Hit| is_region(h) && h.length == 1 && unknown(h.at + 1);
    if hits.iter().filter(|h| is_region(h)).all(is_stump) {
        hits.retain(|h| !is_stump(h));
    }
}

fn covered(text: &Folded, hits: &[Hit]) -> Vec<bool> {
    let mut covered = vec![false; text.letters.len()];
    for hit in hits {
        covered.get_mut(hit.at..hit.at + hit.length).unwrap_or_default().fill(true);
    }
    covered
}

/// What no term covers: Chinese letters, and Latin words long enough to mean something.
fn unaccounted(vocabulary: &Vocabulary, text: &Folded, covered: &[bool]) -> Vec<Unknown> {
    let mut unknown = Vec::new();
    let mut run = String::new();
    for (c, covered) in text.letters.iter().zip(covered).chain(std::iter::once((&' ', &true))) {
        if !covered && is_han(*c) && c.is_alphanumeric() {
            run.push(*c);
        } else if !run.is_empty() {
            let anatomical = run.chars().any(|c| vocabulary.anatomical.contains(&c));
            unknown.push(Unknown { text: std::mem::take(&mut run), anatomical });
        }
    }
    for (from, to) in latin_words(text) {
        let word = text.letters.get(from..to).unwrap_or_default();
        let covered = covered.get(from..to).unwrap_or_default().iter().any(|c| *c);
        // Without a vowel it is an abbreviation or a code, not a word.
        let spoken = word.iter().any(|c| matches!(c, 'a' | 'e' | 'i' | 'o' | 'u'));
        if word.len() >= UNKNOWN_LATIN && spoken && !covered && !vocabulary.spelling.knows(word) {
            unknown.push(Unknown { text: word.iter().collect(), anatomical: false });
        }
    }
    unknown
}
