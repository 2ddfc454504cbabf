//! The register of hospitals (机构登记) and their quality assessments (质量评价): YB 六(二), “每年至少组织 2 次质量评价，
//! 将评价合格作为医疗机构参与互认的准入条件”. A study is judged by the assessment valid on its exam date.

use crate::dicom::check_title;
use crate::exam::verdict::NotAccredited;
use serde::Deserialize;
use std::collections::BTreeSet;

/// All hospitals.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The hospitals.
    #[serde(default, rename = "hospital")]
    pub hospitals: Vec<Hospital>,
}

/// A hospital.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hospital {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Values of Institution Name (0008,0080) that mean it.
    #[serde(default)]
    pub institution_names: Vec<String>,
    /// AE titles of its modalities and archives.
    #[serde(default)]
    pub ae_titles: Vec<String>,
    /// Who owns it.
    #[serde(default)]
    pub ownership: Ownership,
    /// Level (医院等级): 1 to 3; 0 is not known.
    #[serde(default)]
    pub level: u8,
    /// District.
    #[serde(default)]
    pub district: String,
    /// Consortia (医联体、医共体) that it belongs to.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// Whether it takes part; a hospital that does not is kept for the record (FJ 六(三)).
    #[serde(default = "yes")]
    pub member: bool,
    /// Codes of the hospitals that it recognises although one of the two is private (YB 二); `*`: all.
    #[serde(default)]
    pub recognises: BTreeSet<String>,
    /// SHA-256 of its client certificates, hexadecimal.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// Whom to ask.
    #[serde(default)]
    pub contact: String,
    /// Address of its DICOMweb exchange root, for federation.
    #[serde(default)]
    pub dicomweb: Option<String>,
    /// Its departments.
    #[serde(default)]
    pub departments: Vec<String>,
    /// Its assessments.
    #[serde(default, rename = "assessment")]
    pub assessments: Vec<Assessment>,
}

fn yes() -> bool {
    true
}

/// Who owns a hospital.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ownership {
    /// 公立.
    #[default]
    Public,
    /// 民营: takes part by pairs that opt in.
    Private,
}

/// What senders of fetched studies begin with.
pub const EXTERNAL: &str = "external:";

/// One round of quality assessment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessment {
    /// Round, e.g. `2026-1`.
    pub round: String,
    /// Whether it was passed.
    pub passed: bool,
    /// First day it speaks for, YYYY-MM-DD.
    pub valid_from: String,
    /// Last day.
    pub valid_to: String,
    /// Categories it covers (`DR`, `CT`, `MR`); empty: all.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Items it covers; empty: all of its categories.
    #[serde(default)]
    pub items: Vec<u32>,
    /// Who held it.
    #[serde(default)]
    pub organiser: String,
    /// The day it was held, YYYY-MM-DD.
    #[serde(default)]
    pub date: String,
    /// Where its papers are.
    #[serde(default)]
    pub evidence: String,
}

impl Register {
    /// Reads the register's TOML.
    ///
    /// # Errors
    /// Line and key that are wrong.
    pub fn parse(text: &str) -> Result<Register, String> {
        let mut register: Register = toml::from_str(text).map_err(|e| {
            let line = e.span().map(|s| text.get(..s.start).unwrap_or("").matches('\n').count() + 1);
            format!("line {}: {}", line.unwrap_or(0), e.message())
        })?;
        for certificate in register.hospitals.iter_mut().flat_map(|h| &mut h.certificates) {
            // As OpenSSL prints it, with colons.
            *certificate = certificate.replace([':', ' '], "").to_lowercase();
        }
        register.check()?;
        Ok(register)
    }

    /// Nothing may mean two hospitals, and everything means something: a day that is none would make an assessment that never ends.
    fn check(&self) -> Result<(), String> {
        let mut seen: BTreeSet<(&str, String)> = BTreeSet::new();
        for hospital in &self.hospitals {
            hospital.check().map_err(|why| format!("hospital {}: {why}", hospital.code))?;
            let certificates = hospital.certificates.iter().map(|c| ("certificate", c.to_lowercase()));
            let titles = hospital.ae_titles.iter().map(|a| ("AE title", a.clone()));
            let names: BTreeSet<&String> = std::iter::once(&hospital.name).chain(&hospital.institution_names).collect();
            let names = names.into_iter().map(|n| ("name", n.clone()));
            for known in certificates.chain(titles).chain(names).chain([("code", hospital.code.clone())]) {
                if !seen.insert(known.clone()) {
                    return Err(format!("hospital {}: {} {} stands twice", hospital.code, known.0, known.1));
                }
            }
        }
        Ok(())
    }

    /// A hospital by its code.
    pub fn hospital(&self, code: &str) -> Option<&Hospital> {
        self.hospitals.iter().find(|h| h.code == code)
    }

    /// Whether a hospital takes part.
    pub fn takes_part(&self, code: &str) -> bool {
        self.hospital(code).is_some_and(|h| h.member)
    }

    /// The hospital that has a client certificate (SHA-256, hexadecimal).
    pub fn hospital_of_certificate(&self, fingerprint: &str) -> Option<&Hospital> {
        self.hospitals.iter().find(|h| h.certificates.iter().any(|c| c.eq_ignore_ascii_case(fingerprint)))
    }

    /// The hospital that calls under an AE title.
    pub fn hospital_of_aet(&self, aet: &str) -> Option<&Hospital> {
        self.hospitals.iter().find(|h| h.ae_titles.iter().any(|a| a == aet))
    }

    /// Hospitals that take part with fewer than two rounds in the year before a day (`YYYYMMDD`): “每年至少组织 2 次质量评价”.
    pub fn too_few_rounds(&self, today: &str) -> Vec<(&str, usize)> {
        let year_ago = today.get(..4).and_then(|y| y.parse::<u32>().ok()).map(|y| y.saturating_sub(1)).unwrap_or(0);
        let since = format!("{year_ago:04}{}", today.get(4..).unwrap_or(""));
        let recent = |a: &&Assessment| {
            let held = if a.date.is_empty() { &a.valid_from } else { &a.date }.replace('-', "");
            since < held && held.as_str() <= today
        };
        let rounds = |h: &Hospital| h.assessments.iter().filter(recent).map(|a| &a.round).collect::<BTreeSet<_>>().len();
        let members = self.hospitals.iter().filter(|h| h.member);
        members.map(|h| (h.code.as_str(), rounds(h))).filter(|(_, rounds)| *rounds < 2).collect()
    }

    /// The hospital that produced an image: by the sender's AE title, else by Institution Name.
    ///
    /// # Errors
    /// Neither is in the register, or they name different hospitals.
    pub fn producer(&self, sender: &str, institution: &str) -> Result<&Hospital, NotAccredited> {
        // What was fetched from another hospital is marked there or nowhere.
        if sender.starts_with(EXTERNAL) {
            return Err(NotAccredited::UnknownHospital);
        }
        let institution = institution.trim();
        let named = |h: &&Hospital| h.name == institution || h.institution_names.iter().any(|n| n == institution);
        let by_aet = self.hospitals.iter().find(|h| h.ae_titles.iter().any(|a| a == sender));
        let by_name = self.hospitals.iter().find(named).filter(|_| !institution.is_empty());
        match (by_aet, by_name) {
            (Some(a), Some(b)) if a.code != b.code => Err(NotAccredited::HospitalsDiffer),
            (Some(found), _) | (None, Some(found)) => Ok(found),
            (None, None) => Err(NotAccredited::UnknownHospital),
        }
    }

    /// The one hospital that produced all images of a study, by their senders and institution names.
    ///
    /// # Errors
    /// One of them is not in the register, or there is more than one.
    pub fn producer_of_all(&self, sources: &BTreeSet<(String, String)>) -> Result<&Hospital, NotAccredited> {
        let mut found: Option<&Hospital> = None;
        for (sender, institution) in sources {
            let hospital = self.producer(sender, institution)?;
            if found.is_some_and(|f| f.code != hospital.code) {
                return Err(NotAccredited::HospitalsDiffer);
            }
            found = Some(hospital);
        }
        found.ok_or(NotAccredited::UnknownHospital)
    }
}

/// Categories of an assessment.
const CATEGORIES: [&str; 3] = ["DR", "CT", "MR"];

/// Whether a text is a day, YYYY-MM-DD.
fn is_day(text: &str) -> bool {
    time::Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).is_ok()
}

impl Assessment {
    fn check(&self) -> Result<(), String> {
        let dated = [("valid_from", &self.valid_from), ("valid_to", &self.valid_to)];
        let held = [("date", &self.date)].into_iter().filter(|(_, day)| !day.is_empty());
        if let Some((key, day)) = dated.into_iter().chain(held).find(|(_, day)| !is_day(day)) {
            return Err(format!("assessment {}: {key} = \"{day}\" is no day, YYYY-MM-DD", self.round));
        }
        if self.valid_from > self.valid_to {
            return Err(format!("assessment {}: valid_to lies before valid_from", self.round));
        }
        match self.categories.iter().find(|c| !CATEGORIES.contains(&c.as_str())) {
            Some(other) => Err(format!("assessment {}: the category \"{other}\" is none of DR, CT, MR", self.round)),
            None => Ok(()),
        }
    }
}

impl Hospital {
    fn check(&self) -> Result<(), String> {
        if self.code.trim().is_empty() || self.name.trim().is_empty() {
            return Err("code and name are needed".into());
        }
        if self.level > 3 {
            return Err(format!("level = {} is none of 1 to 3 (0: not known)", self.level));
        }
        let is_digest = |c: &String| c.len() == 64 && c.bytes().all(|b| b.is_ascii_hexdigit());
        if !self.certificates.iter().all(is_digest) {
            return Err("a certificate is its SHA-256, 64 hexadecimal digits".into());
        }
        self.ae_titles.iter().try_for_each(|title| check_title(title))?;
        self.assessments.iter().try_for_each(Assessment::check)
    }

    /// Whether it has passed an assessment that speaks for a day, of any scope, and not failed the latest of that scope.
    pub fn is_admitted(&self, date: &str) -> bool {
        let digits = |text: &str| text.replace('-', "");
        let speaks = |a: &&Assessment| digits(&a.valid_from).as_str() <= date && date <= digits(&a.valid_to).as_str();
        let all: Vec<&Assessment> = self.assessments.iter().filter(speaks).collect();
        let later = |a: &Assessment, b: &Assessment| {
            (&b.categories, &b.items) == (&a.categories, &a.items) && digits(&b.valid_from) > digits(&a.valid_from)
        };
        all.iter().any(|a| a.passed && !all.iter().any(|b| later(a, b)))
    }

    /// Whether an item of a category may be marked for an exam of this day (`YYYYMMDD`).
    ///
    /// # Errors
    /// It took no part in an assessment that speaks for the day, or failed it.
    pub fn accredited(&self, category: &str, item: u32, date: &str) -> Result<(), NotAccredited> {
        let digits = |text: &str| text.replace('-', "");
        let speaks = |a: &&Assessment| {
            digits(&a.valid_from).as_str() <= date
                && date <= digits(&a.valid_to).as_str()
                && (a.categories.is_empty() || a.categories.iter().any(|c| c == category))
                && (a.items.is_empty() || a.items.contains(&item))
        };
        // The latest round decides.
        let latest = self.assessments.iter().filter(speaks).max_by_key(|a| digits(&a.valid_from));
        match latest {
            None => Err(NotAccredited::NotAssessed),
            Some(a) if a.passed => Ok(()),
            Some(_) => Err(NotAccredited::Failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_round_that_speaks_for_the_day_decides() {
        let register = Register::parse(
            r#"
            [[hospital]]
            code = "H1"
            name = "渝北区人民医院"
            ae_titles = ["CT1"]
            [[hospital.assessment]]
            round = "2026-1"
            passed = true
            valid_from = "2026-01-01"
            valid_to = "2026-12-31"
            [[hospital.assessment]]
            round = "2026-2"
            passed = false
            valid_from = "2026-07-01"
            valid_to = "2026-12-31"
            categories = ["CT"]
            "#,
        )
        .unwrap();
        let hospital = register.producer("CT1", "").unwrap();
        assert_eq!(hospital.accredited("CT", 36, "20260310"), Ok(()));
        assert_eq!(hospital.accredited("CT", 36, "20260810"), Err(NotAccredited::Failed));
        assert_eq!(hospital.accredited("DR", 1, "20260810"), Ok(()));
        assert_eq!(hospital.accredited("DR", 1, "20250810"), Err(NotAccredited::NotAssessed));
        assert!(register.producer("X", "渝北区人民医院").is_ok());
        assert_eq!(register.producer("X", "").err(), Some(NotAccredited::UnknownHospital));
        let mixed = [("CT1", ""), ("X", "")].map(|(a, b)| (a.to_string(), b.to_string())).into();
        assert!(register.producer_of_all(&mixed).is_err());
        assert!(Register::parse("[[hospital]]\ncod = 1\n").unwrap_err().contains("line 2"));
        assert_eq!(register.too_few_rounds("20260810"), []);
        assert_eq!(register.too_few_rounds("20270301"), [("H1", 1)]);
        let refused = |line: &str| Register::parse(&format!("[[hospital]]\ncode = \"A\"\nname = \"a\"\n{line}\n")).unwrap_err();
        for (line, why) in [
            ("level = 4", "level"),
            ("certificates = [\"nothex\"]", "64 hexadecimal"),
            ("ae_titles = [\"\"]", "AE title"),
            (
                "[[hospital.assessment]]\nround = \"1\"\npassed = true\nvalid_from = \"2026-1-1\"\nvalid_to = \"2026-12-31\"",
                "valid_from",
            ),
            ("[[hospital.assessment]]\nround = \"1\"\npassed = true\nvalid_from = \"2026-01-01\"\nvalid_to = \"\"", "valid_to"),
            (
                "[[hospital.assessment]]\nround = \"1\"\npassed = true\nvalid_from = \"2026-02-30\"\nvalid_to = \"2026-12-31\"",
                "valid_from",
            ),
            (
                "[[hospital.assessment]]\nround = \"1\"\npassed = true\nvalid_from = \"2026-03-01\"\nvalid_to = \"2026-01-31\"",
                "before",
            ),
            (
                "[[hospital.assessment]]\nround = \"1\"\npassed = true\nvalid_from = \"2026-01-01\"\nvalid_to = \"2026-12-31\"\ncategories = [\"CTT\"]",
                "CTT",
            ),
        ] {
            assert!(refused(line).contains(why) && refused(line).contains("hospital A"), "{line}: {}", refused(line));
        }
        let colons = format!("[[hospital]]\ncode = \"A\"\nname = \"a\"\ncertificates = [\"{}\"]\n", ["Ab"; 32].join(":"));
        assert!(Register::parse(&colons).unwrap().hospital_of_certificate(&"ab".repeat(32)).is_some());
        let twice = "[[hospital]]\ncode = \"A\"\nname = \"a\"\nae_titles = [\"X\"]\n";
        assert!(Register::parse(&(twice.to_string() + &twice.replace("\"A\"", "\"B\""))).unwrap_err().contains("AE title X"));
    }
}
