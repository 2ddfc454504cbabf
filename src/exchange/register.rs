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
    /// Whether it takes part; a hospital that does not is kept for the record (FJ 六(三)). Where nothing is said: public hospitals do, but those
    /// that Liangjiang New Area runs itself do not; private ones opt in (YB 二).
    #[serde(default)]
    member: Option<bool>,
    /// Run by Liangjiang New Area itself (两江新区直管), which is not part of Yubei's exchange (YB 二).
    #[serde(default)]
    pub liangjiang_direct: bool,
    /// Codes of the hospitals that it recognises although one of the two is private (YB 二); `*`: all.
    #[serde(default)]
    pub recognises: BTreeSet<String>,
    /// SHA-256 of its client certificates, hexadecimal.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// Its DICOMweb clients, as they stand in the journal (`key NAME`, `token SUBJECT HOSPITAL ISSUER`, with `*` at the end for any that begin
    /// so): the only ones that speak for it by key or token. Empty: whoever the keys and issuers say.
    #[serde(default)]
    pub clients: BTreeSet<String>,
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
    /// Device Serial Numbers (0018,1000) that it covers; empty: all of the hospital's.
    #[serde(default)]
    pub devices: BTreeSet<String>,
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
        self.hospital(code).is_some_and(Hospital::is_member)
    }

    /// The hospital that has a client certificate (SHA-256, hexadecimal).
    pub fn hospital_of_certificate(&self, fingerprint: &str) -> Option<&Hospital> {
        self.hospitals.iter().find(|h| h.certificates.iter().any(|c| c.eq_ignore_ascii_case(fingerprint)))
    }

    /// The hospital that calls under an AE title.
    pub fn hospital_of_aet(&self, aet: &str) -> Option<&Hospital> {
        self.hospitals.iter().find(|h| h.ae_titles.iter().any(|a| a == aet))
    }

    /// Hospitals that take part with fewer than two rounds in the year before a day (`YYYYMMDD`) for a category that they were ever assessed
    /// for, or for none: “每年至少组织 2 次质量评价”. Code, category (empty: none at all), rounds.
    pub fn too_few_rounds(&self, today: &str) -> Vec<(&str, &'static str, usize)> {
        let year_ago = today.get(..4).and_then(|y| y.parse::<u32>().ok()).map(|y| y.saturating_sub(1)).unwrap_or(0);
        let since = format!("{year_ago:04}{}", today.get(4..).unwrap_or(""));
        let recent = |a: &Assessment| {
            let held = day(if a.date.is_empty() { &a.valid_from } else { &a.date });
            since < held && held.as_str() <= today
        };
        let mut few = Vec::new();
        for hospital in self.hospitals.iter().filter(|h| h.is_member()) {
            if hospital.assessments.is_empty() {
                few.push((hospital.code.as_str(), "", 0));
            }
            for category in CATEGORIES {
                let of = |a: &&Assessment| a.categories.is_empty() || a.categories.iter().any(|c| c == category);
                let all = || hospital.assessments.iter().filter(of);
                let rounds = all().filter(|a| recent(a)).map(|a| &a.round).collect::<BTreeSet<_>>().len();
                if rounds < 2 && all().next().is_some() {
                    few.push((hospital.code.as_str(), category, rounds));
                }
            }
        }
        few
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

/// What an assessment is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Exam<'a> {
    /// Category of the item (`DR`, `CT`, `MR`).
    pub category: &'a str,
    /// Item number.
    pub item: u32,
    /// Device Serial Numbers of the series that carry it; none where nobody has seen them yet (a listing of another node).
    pub devices: Option<&'a BTreeSet<String>>,
}

/// Categories of an assessment.
const CATEGORIES: [&str; 3] = ["DR", "CT", "MR"];

/// Whether a text is a day, YYYY-MM-DD.
fn is_day(text: &str) -> bool {
    time::Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).is_ok()
}

impl Assessment {
    fn is_about(&self, exam: Exam<'_>) -> bool {
        (self.categories.is_empty() || self.categories.iter().any(|c| c == exam.category))
            && (self.items.is_empty() || self.items.contains(&exam.item))
            && self.covers(exam.devices)
    }

    fn speaks_for(&self, date: &str) -> bool {
        day(&self.valid_from).as_str() <= date && date <= day(&self.valid_to).as_str()
    }

    /// Which of two rounds is the later one: by the day from which it speaks, then by the day it was held. Of two at once the failed one counts,
    /// in whatever order the file has them.
    fn order(&self) -> (String, String, bool) {
        (day(&self.valid_from), day(&self.date), !self.passed)
    }

    /// Whether another one's scope lies in its own.
    fn includes(&self, other: &Assessment) -> bool {
        fn within<T: PartialEq>(inner: &[T], outer: &[T]) -> bool {
            outer.is_empty() || (!inner.is_empty() && inner.iter().all(|one| outer.contains(one)))
        }
        let devices = self.devices.is_empty() || (!other.devices.is_empty() && other.devices.is_subset(&self.devices));
        within(&other.categories, &self.categories) && within(&other.items, &self.items) && devices
    }

    /// Whether it speaks for all of these devices. One that does not say which it is, is none of those that were assessed.
    fn covers(&self, devices: Option<&BTreeSet<String>>) -> bool {
        let listed = |devices: &BTreeSet<String>| !devices.is_empty() && devices.is_subset(&self.devices);
        self.devices.is_empty() || devices.is_none_or(listed)
    }

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
        let all: Vec<&Assessment> = self.assessments.iter().filter(|a| a.speaks_for(date)).collect();
        // A round of the same scope, or of one that it lies in, takes its place.
        let replaced = |a: &Assessment, b: &Assessment| b.includes(a) && b.order() > a.order();
        all.iter().any(|a| a.passed && !all.iter().any(|b| replaced(a, b)))
    }

    /// Whether it takes part.
    pub fn is_member(&self) -> bool {
        self.member.unwrap_or(self.ownership == Ownership::Public && !self.liangjiang_direct)
    }

    /// Whether it was named as a member, wherever it stands (YB 二: 重医大附三院).
    pub fn is_named_member(&self) -> bool {
        self.member == Some(true)
    }

    /// Whether a client speaks for it.
    pub fn is_client(&self, name: &str) -> bool {
        let is = |client: &String| client.strip_suffix('*').map_or(client == name, |start| name.starts_with(start));
        self.clients.is_empty() || self.clients.iter().any(is)
    }

    /// Whether some of its assessments speak for some of its devices only.
    pub fn is_assessed_by_device(&self) -> bool {
        self.assessments.iter().any(|a| !a.devices.is_empty())
    }

    /// Whether an item may be marked for an exam of this day (`YYYYMMDD`).
    ///
    /// # Errors
    /// It took no part in an assessment that speaks for the day, or failed it.
    pub fn accredited(&self, exam: Exam<'_>, date: &str) -> Result<(), NotAccredited> {
        match self.latest(exam, |a| a.speaks_for(date)) {
            None => Err(NotAccredited::NotAssessed),
            Some(a) if a.passed => Ok(()),
            Some(_) => Err(NotAccredited::Failed),
        }
    }

    /// Whether the latest round that began by a day (`YYYYMMDD`) was failed, however long it speaks: who failed and was not assessed since has
    /// not passed.
    pub fn has_failed(&self, exam: Exam<'_>, by: &str) -> bool {
        self.latest(exam, |a| day(&a.valid_from).as_str() <= by).is_some_and(|a| !a.passed)
    }

    fn latest(&self, exam: Exam<'_>, when: impl Fn(&Assessment) -> bool) -> Option<&Assessment> {
        self.assessments.iter().filter(|a| a.is_about(exam) && when(a)).max_by_key(|a| a.order())
    }
}

/// A day's digits.
fn day(text: &str) -> String {
    text.replace('-', "")
}

#[cfg(test)]
mod tests;
