//! Who may associate for what.

use crate::config::Dimse;
use crate::dicom::{syntax, uids};
use crate::dimse::{Decision, Policy, Rejection};
use dicom_core::dictionary::{UidDictionary, UidType};
use dicom_dictionary_std::StandardSopClassDictionary;

/// The configured policy.
pub struct Configured<'a>(pub &'a Dimse);

impl Policy for Configured<'_> {
    fn caller(&self, calling: &str, called: &str) -> Result<(), Rejection> {
        if self.0.check_called_aet && called != self.0.aet {
            return Err(Rejection::CalledNotRecognised);
        }
        if !self.0.callers.is_empty() && !self.0.callers.iter().any(|c| c == calling) {
            return Err(Rejection::CallingNotRecognised);
        }
        Ok(())
    }

    fn abstract_syntax(&self, calling: &str, uid: &str) -> Decision {
        match class_of(uid) {
            Class::Verification | Class::Storage | Class::PerformedStep => Decision::Accept,
            Class::Find if self.0.may_ask(calling) => Decision::Accept,
            Class::Find => Decision::Refused,
            Class::Unknown if self.0.accept_unknown_classes => Decision::Accept,
            Class::Unknown | Class::Other => Decision::NotSupported,
        }
    }

    fn transfer_syntax(&self, abstract_syntax: &str, uid: &str) -> bool {
        let little = matches!(uid, uids::IMPLICIT_VR_LITTLE_ENDIAN | uids::EXPLICIT_VR_LITTLE_ENDIAN);
        match class_of(abstract_syntax) {
            // Answers are not written big endian.
            Class::Find => little,
            Class::Verification | Class::PerformedStep => little || uid == syntax::EXPLICIT_VR_BIG_ENDIAN,
            Class::Storage | Class::Other | Class::Unknown => syntax::known(uid).is_some() || self.0.accept_unknown_syntaxes,
        }
    }
}

/// What kind of service a SOP class belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// C-ECHO.
    Verification,
    /// C-STORE.
    Storage,
    /// Modality Performed Procedure Step.
    PerformedStep,
    /// C-FIND, patient or study root.
    Find,
    /// In the dictionary, and something else.
    Other,
    /// In no dictionary.
    Unknown,
}

/// The kind of a SOP class, from the dictionary.
pub fn class_of(uid: &str) -> Class {
    if uid == uids::VERIFICATION {
        return Class::Verification;
    }
    if uid == uids::MODALITY_PERFORMED_PROCEDURE_STEP {
        return Class::PerformedStep;
    }
    const FIND: &[&str] =
        &[uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND];
    if FIND.contains(&uid) {
        return Class::Find;
    }
    match StandardSopClassDictionary.by_uid(uid) {
        None => Class::Unknown,
        Some(entry) if entry.r#type != UidType::SopClass => Class::Other,
        Some(entry) => {
            let name = entry.name;
            let storage = name.contains("Storage") && !name.contains("Commitment") && !name.contains("Directory");
            if storage { Class::Storage } else { Class::Other }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_classes_are_told_from_services() {
        for uid in
            [uids::CT_IMAGE_STORAGE, uids::ENHANCED_MR_IMAGE_STORAGE, uids::BASIC_TEXT_SR_STORAGE, uids::RAW_DATA_STORAGE]
        {
            assert_eq!(class_of(uid), Class::Storage, "{uid}");
        }
        for uid in [
            uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
            uids::STORAGE_COMMITMENT_PUSH_MODEL,
            uids::MEDIA_STORAGE_DIRECTORY_STORAGE,
        ] {
            assert_eq!(class_of(uid), Class::Other, "{uid}");
        }
        assert_eq!(class_of("1.2.826.0.1.3680043.2.1143"), Class::Unknown);
    }

    #[test]
    fn every_storage_class_of_the_dictionary_is_accepted() {
        let config = Dimse::default();
        let mut count = 0;
        for entry in uids_of_dictionary() {
            if class_of(entry) == Class::Storage {
                count += 1;
                assert_eq!(Configured(&config).abstract_syntax("X", entry), Decision::Accept);
            }
        }
        assert!(count > 100, "{count}");
    }

    /// The storage root of PS3.6 and its children; the dictionary cannot be listed.
    fn uids_of_dictionary() -> Vec<&'static str> {
        let root = "1.2.840.10008.5.1.4.1.1.";
        let mut found: Vec<&'static str> = Vec::new();
        let mut tails: Vec<String> = (1..700).map(|n| n.to_string()).collect();
        tails.extend((1..700).flat_map(|n| (1..12).map(move |m| format!("{n}.{m}"))));
        tails.extend((1..13).flat_map(|n| (1..8).flat_map(move |m| (1..8).map(move |k| format!("{n}.{m}.{k}")))));
        tails.extend((1..80).map(|n| format!("88.{n}")));
        for tail in tails {
            if let Some(entry) = StandardSopClassDictionary.by_uid(&format!("{root}{tail}")) {
                found.push(entry.uid);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
