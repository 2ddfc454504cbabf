//! A study with its texts read once: what they say on each axis, and what they say about one region of several.

use super::Evidence;
use super::said::Said;
use crate::dicom::charset::repair_mojibake;
use crate::exam::facts::{Code, SeriesFacts, StudyFacts, rule_modality};
use crate::procedure::vocabulary::{Hit, Words, code_name};
use crate::procedure::{Axis, Contrast, Procedures, Region, Side, Vocabulary};
use std::collections::BTreeSet;

/// The series of one modality, read.
pub(super) struct Study<'a> {
    pub region: &'a Region,
    pub procedures: &'a Procedures,
    pub words: &'a Vocabulary,
    pub facts: &'a StudyFacts,
    /// The modality as rules name it.
    pub modality: &'a str,
    /// The study's own texts.
    texts: Vec<(&'static str, Words)>,
    /// What its procedure codes say.
    codes: Vec<(Axis, Said)>,
    /// Its series of this modality.
    pub series: Vec<Series<'a>>,
}

/// A series, read.
pub(super) struct Series<'a> {
    pub facts: &'a SeriesFacts,
    description: Words,
    protocol: Words,
}

/// The name under which evidence of procedure codes stands.
const PROCEDURE_CODE: &str = "Procedure Code Sequence";

/// Attributes that a person fills in the same step count as one kind of source.
pub(super) fn kind_of_source(from: &str) -> &str {
    match from {
        "Study Description" | "Requested Procedure Description" => "order",
        "Series Description" | "Protocol Name" => "protocol",
        _ => "code",
    }
}

fn read_text(words: &Vocabulary, text: &str, modality: &str) -> Words {
    words.read(repair_mojibake(text).as_deref().unwrap_or(text), modality)
}

impl<'a> Study<'a> {
    pub fn read(
        region: &'a Region,
        procedures: &'a Procedures,
        facts: &'a StudyFacts,
        images: &[&'a SeriesFacts],
        modality: &'a str,
    ) -> Study<'a> {
        let words = &procedures.vocabulary;
        let own = images.iter().copied().filter(|s| rule_modality(&s.modality) == modality);
        let series = own.map(|facts| Series {
            facts,
            description: read_text(words, &facts.description, modality),
            protocol: read_text(words, &facts.protocol, modality),
        });
        Study {
            region,
            procedures,
            words,
            facts,
            modality,
            texts: facts.texts.iter().map(|t| (t.from, read_text(words, &t.text, modality))).collect(),
            codes: facts.codes.iter().flat_map(|code| said_by_code(region, words, code, modality)).collect(),
            series: series.collect(),
        }
    }

    /// What the study's texts and codes say on an axis, all of it.
    pub fn whole(&self, axis: Axis) -> Said {
        let texts = self.texts.iter().map(|(from, text)| Said::of(from, text.on(axis)));
        texts.chain(self.by_codes(axis)).fold(Said::default(), Said::and)
    }

    /// The regions that the study's texts and codes name. Within one text, each clause names examinations of its own (头颅+鼻骨); between
    /// texts that say the same, the specific one wins.
    pub fn regions(&self) -> Said {
        let texts = self.texts.iter().map(|(from, text)| {
            let all = Said::of(from, text.on(Axis::Anatomy));
            Said { concepts: Regions::of(self, text).by_clause.into_iter().flatten().collect(), evidence: all.evidence }
        });
        let said: Vec<Said> = texts.chain(self.by_codes(Axis::Anatomy)).collect();
        let mut regions = Said::default();
        for (i, one) in said.iter().enumerate() {
            let others = said.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, s)| s);
            let hidden = |c: &String| {
                others.clone().any(|s| !s.has(c) && s.concepts.iter().any(|inner| self.words.lies_within(inner, c)))
                    || (self.words.is_umbrella(c)
                        && said.iter().any(|s| s.concepts.iter().any(|i| self.words.lies_within(i, c))))
            };
            regions.concepts.extend(one.concepts.iter().filter(|c| !hidden(c)).cloned());
            regions.evidence.extend(one.evidence.clone());
        }
        regions
    }

    fn by_codes(&self, axis: Axis) -> impl Iterator<Item = Said> {
        self.codes.iter().filter(move |(a, _)| *a == axis).map(|(_, said)| said.clone())
    }

    /// What they say on an axis about one region: where an order names several examinations, only the clause of this one counts.
    pub fn about(&self, axis: Axis, concept: &str) -> Said {
        let texts = self.texts.iter().map(|(from, text)| Said::of(from, self.bound(text, axis, concept)));
        texts.chain(self.by_codes(axis)).fold(Said::default(), Said::and)
    }

    fn bound<'w>(&self, text: &'w Words, axis: Axis, concept: &str) -> Vec<&'w Hit> {
        let regions = Regions::of(self, text);
        let mine = regions.clauses_of(self, concept);
        let all: Vec<&Hit> = text.on(axis).collect();
        if axis == Axis::Special {
            return special_of(self, text, all, &regions, &mine);
        }
        if regions.distinct < 2 || mine.is_empty() {
            return all;
        }
        if axis == Axis::Side {
            return side_of_region(self, text, all, &mine, concept);
        }
        let own: Vec<&Hit> = all.iter().copied().filter(|h| mine.contains(&h.clause)).collect();
        if !own.is_empty() {
            return own;
        }
        // "胸部+上腹部CT平扫": what is said once at the end holds for all before it; what stands in front, for all after it.
        // What is said of another region holds for this one only where words are shared so: contrast.
        let last = mine.last().copied().unwrap_or(0);
        let shared = |c: &usize| axis == Axis::Contrast || regions.by_clause.get(*c).is_none_or(BTreeSet::is_empty);
        let after = all.iter().map(|h| h.clause).filter(|c| *c > last).min().filter(shared);
        let before = all.iter().map(|h| h.clause).filter(|c| regions.first().is_some_and(|first| *c < first)).max();
        let Some(from) = after.or(before) else { return Vec::new() };
        // "普扫及增强" at the end is two clauses of one kind.
        let homeless = |c: usize| regions.by_clause.get(c).is_none_or(BTreeSet::is_empty);
        let runs_on = |c: usize| axis == Axis::Contrast && after.is_some() && (from..=c).all(homeless);
        all.into_iter().filter(|h| h.clause == from || (h.clause > from && runs_on(h.clause))).collect()
    }

    /// What the protocols of the series say: technologists choose them by examination, so they count where the order is silent.
    fn protocols(&self, axis: Axis) -> Said {
        self.series.iter().map(|s| s.protocol(axis)).fold(Said::default(), Said::and)
    }

    /// What every single protocol says.
    fn all_protocols(&self, axis: Axis) -> Said {
        let mut said = self.protocols(axis);
        said.concepts.retain(|c| self.series.iter().all(|s| s.protocol(axis).has(c)));
        said
    }

    /// What the order, else the protocols, say about contrast for one region.
    pub fn contrast(&self, concept: &str) -> Said {
        self.about(Axis::Contrast, concept).or(|| self.protocols(Axis::Contrast))
    }

    /// The special protocols of one region: in the order, or in all of the series' protocols where those count.
    pub fn special(&self, concept: &str) -> Said {
        let by_protocol = || if self.trusts_protocols(concept) { self.all_protocols(Axis::Special) } else { Said::default() };
        self.about(Axis::Special, concept).or(by_protocol)
    }

    /// Whether a series is said to be made by a special protocol of a region: angiography, perfusion, high resolution …
    pub fn is_special(&self, series: &Series<'_>, concept: &str) -> bool {
        let mut said = series.description(Axis::Special);
        if said.is_empty() && self.trusts_protocols(concept) {
            said = series.protocol(Axis::Special);
        }
        said.concepts.iter().any(|s| self.words.is_special_in(s, concept))
    }

    /// Whether protocol names count: an order that says plain or enhanced has named the examination itself.
    fn trusts_protocols(&self, concept: &str) -> bool {
        self.about(Axis::Contrast, concept).is_empty()
    }

    /// Whether a text of the study names a region but for one misspelt character.
    pub fn almost_says(&self, concept: &str) -> bool {
        self.texts.iter().any(|(_, text)| self.words.almost_says(text, concept))
    }

    /// Unknown words that may name another part of the body than a region, so that it cannot be trusted; none where they are the
    /// region's own name, misspelt.
    pub fn doubts(&self, concept: &str) -> Vec<Evidence> {
        if self.almost_says(concept) { vec![] } else { self.unknown(true) }
    }

    /// Words in the study's texts that nobody knows; `anatomical` keeps those that name a part of the body.
    pub fn unknown(&self, anatomical: bool) -> Vec<Evidence> {
        let all = self.texts.iter().flat_map(|(from, text)| text.unknown.iter().map(move |u| (from, u)));
        all.filter(|(_, u)| u.anatomical || !anatomical).map(|(from, u)| Evidence::new(from, &u.text, "unknown")).collect()
    }
}

impl Series<'_> {
    /// What the series' description says on an axis, else its protocol.
    pub fn says(&self, axis: Axis) -> Said {
        Said::of("Series Description", self.description.on(axis)).or(|| Said::of("Protocol Name", self.protocol.on(axis)))
    }

    /// What the description says, else, where there is none, the protocol: for words that differ from series to series.
    pub fn itself(&self, axis: Axis) -> Said {
        let said = Said::of("Series Description", self.description.on(axis));
        if self.facts.description.trim().is_empty() { Said::of("Protocol Name", self.protocol.on(axis)) } else { said }
    }

    /// What the protocol alone says.
    pub fn protocol(&self, axis: Axis) -> Said {
        Said::of("Protocol Name", self.protocol.on(axis))
    }

    /// What the description alone says.
    pub fn description(&self, axis: Axis) -> Said {
        Said::of("Series Description", self.description.on(axis))
    }

    /// Whether the description names a region but for one misspelt character.
    pub fn almost_says(&self, words: &Vocabulary, concept: &str) -> bool {
        words.almost_says(&self.description, concept)
    }

    /// Whether the description holds Latin words that nobody knows.
    pub fn has_unknown_words(&self) -> bool {
        self.description.unknown.iter().any(|u| u.text.is_ascii())
    }

    /// Whether the description names a projection (位) that no file knows.
    pub fn has_unknown_view(&self) -> bool {
        self.description.unknown.iter().any(|u| u.text.ends_with('位'))
    }

    /// Letters of the description that may name a part of the spine.
    pub fn spine_letters(&self) -> Said {
        Said::of("Series Description", self.description.spine_letters())
    }
}

/// What a procedure code says: the vocabulary's codes, and those that items bear themselves.
fn said_by_code(region: &Region, words: &Vocabulary, code: &Code, modality: &str) -> Vec<(Axis, Said)> {
    let mut found: Vec<(Axis, String)> = words.code(&code.scheme, &code.value).to_vec();
    let key = code_name(&code.scheme, &code.value);
    let bears = |item: &&crate::procedure::Item| item.codes.contains(&key) && item.modality.iter().any(|m| m == modality);
    let items: Vec<_> = region.items.iter().filter(bears).collect();
    if let Some(first) = items.first() {
        found.extend(first.region.first().map(|r| (Axis::Anatomy, r.clone())));
        found.extend(first.contrast.map(|_| (Axis::Contrast, "plain".to_string())));
        found.extend((first.contrast == Some(Contrast::PlainAndEnhanced)).then(|| (Axis::Contrast, "enhanced".to_string())));
        let side = match (items.len(), first.side) {
            (1, Some(Side::Left)) => Some("left"),
            (1, Some(Side::Right)) => Some("right"),
            (1, Some(Side::Both)) => Some("both"),
            _ => None,
        };
        found.extend(side.map(|s| (Axis::Side, s.to_string())));
    }
    let said = found.into_iter().map(|(axis, concept)| {
        let mut said = Said::default();
        said.add(PROCEDURE_CODE, &key, &[concept]);
        (axis, said)
    });
    said.collect()
}

/// The regions of a text, clause by clause.
struct Regions {
    by_clause: Vec<BTreeSet<String>>,
    distinct: usize,
}

impl Regions {
    fn of(study: &Study<'_>, text: &Words) -> Regions {
        let clause = |n| {
            let said = Said::of("", text.on(Axis::Anatomy).filter(|h| h.clause == n));
            said.most_specific(study.words).concepts
        };
        let by_clause: Vec<BTreeSet<String>> = (0..text.clauses).map(clause).collect();
        Regions { distinct: by_clause.iter().flatten().collect::<BTreeSet<_>>().len(), by_clause }
    }

    fn first(&self) -> Option<usize> {
        self.by_clause.iter().position(|r| !r.is_empty())
    }

    fn clauses_of(&self, study: &Study<'_>, concept: &str) -> Vec<usize> {
        let related = |r: &String| r == concept || study.words.lies_within(r, concept) || study.words.lies_within(concept, r);
        let named = |exactly: bool| -> Vec<usize> {
            let fits = |set: &BTreeSet<String>| if exactly { set.contains(concept) } else { set.iter().any(related) };
            self.by_clause.iter().enumerate().filter(|(_, set)| fits(set)).map(|(i, _)| i).collect()
        };
        let exact = named(true);
        if exact.is_empty() { named(false) } else { exact }
    }
}

/// A special protocol belongs to its own clause; one that stands in a clause without a region belongs to the examination too. Not so
/// where the order names the examination apart from it: in MR by a clause of its own ("BRAIN + MRA"), in CT by one that says plain or
/// enhanced ("头颅CT平扫+灌注").
fn special_of<'w>(study: &Study<'_>, text: &Words, all: Vec<&'w Hit>, regions: &Regions, mine: &[usize]) -> Vec<&'w Hit> {
    if mine.is_empty() {
        return all;
    }
    let whole = |h: &&Hit| h.means.iter().any(|m| study.words.is_of_the_whole_order(m));
    let stated = |clause: usize| study.modality == "MR" || text.on(Axis::Contrast).any(|h| h.clause == clause);
    let free = |clause: &usize| all.iter().all(|h| h.clause != *clause) && stated(*clause);
    if mine.iter().any(free) {
        return all.into_iter().filter(whole).collect();
    }
    let homeless = |clause: usize| regions.by_clause.get(clause).is_none_or(BTreeSet::is_empty);
    all.into_iter().filter(|h| mine.contains(&h.clause) || homeless(h.clause) || whole(h)).collect()
}

/// The side words of one region's clause; the nearest one where a clause names two ("左膝右踝正侧位").
fn side_of_region<'w>(study: &Study<'_>, text: &'w Words, all: Vec<&'w Hit>, mine: &[usize], concept: &str) -> Vec<&'w Hit> {
    let sides = |hits: &[&Hit]| hits.iter().flat_map(|h| h.means.clone()).filter(|m| m != "no-side").collect::<BTreeSet<_>>();
    if sides(&all).len() < 2 {
        return all;
    }
    let own: Vec<&Hit> = all.into_iter().filter(|h| mine.contains(&h.clause)).collect();
    if sides(&own).len() < 2 {
        return own;
    }
    let related = |m: &String| m == concept || study.words.lies_within(concept, m) || study.words.lies_within(m, concept);
    let regions: Vec<&Hit> = text.on(Axis::Anatomy).filter(|h| mine.contains(&h.clause)).collect();
    if regions.iter().all(|h| h.means.iter().any(related)) {
        return own;
    }
    let here: Vec<&&Hit> = regions.iter().filter(|h| h.means.iter().any(related)).collect();
    let nearest = here.iter().filter_map(|region| own.iter().min_by_key(|side| side.distance(region)).copied());
    nearest.collect()
}
