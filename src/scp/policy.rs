//! Who may associate for what.

use super::silent::One;
use crate::config::Dimse;
use crate::dicom::{syntax, uids};
use crate::dimse::{Decision, Identity, Policy, Rejection, Roles, fingerprint};
use crate::peers::{Denied, Origin, Peers, Principal, Right};
use dicom_core::dictionary::{UidDictionary, UidType};
use dicom_dictionary_std::StandardSopClassDictionary;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The policy for one caller.
pub struct Configured<'a> {
    /// Settings of the port.
    pub config: &'a Dimse,
    /// Who is known.
    pub peers: &'a Peers,
    /// Where the call comes from.
    pub origin: &'a Origin,
    /// Associations under way, by caller.
    pub active: &'a Active,
    /// Why the caller was not let in, for the log.
    pub denied: &'a Cell<Option<Denied>>,
    /// Its place among the callers that have said nothing yet; given back before it is answered.
    pub silent: &'a Cell<Option<One>>,
}

/// A caller that was let in, and its place among those that are.
pub struct Admitted {
    /// Who it is.
    pub principal: Principal,
    /// Given back when the association ends.
    _place: Place,
}

impl Policy for Configured<'_> {
    type Caller = Admitted;

    fn caller(&self, calling: &str, called: &str, identity: Option<&Identity>) -> Result<Admitted, Rejection> {
        drop(self.silent.take());
        if self.config.check_called_aet && called != self.config.aet {
            return Err(Rejection::CalledNotRecognised);
        }
        let principal = self.peers.admit(calling, self.origin).map_err(|why| {
            self.denied.set(Some(why));
            Rejection::CallingNotRecognised
        })?;
        let given = |digest: &String| identity.is_some_and(|i| fingerprint(&i.secondary).eq_ignore_ascii_case(digest));
        if !principal.passcode_sha256.as_ref().is_none_or(given) {
            return Err(Rejection::Identity);
        }
        // Nobody has said how many an unknown caller needs: a quarter of all places stays for others.
        let most = self.config.max_associations;
        let principal = match self.peers.get(calling) {
            None if principal.max_associations == 0 => Principal { max_associations: most - most / 4, ..principal },
            _ => principal,
        };
        let place = self.active.take(&principal, most).ok_or(Rejection::Limit)?;
        Ok(Admitted { principal, _place: place })
    }

    fn abstract_syntax(&self, caller: &Admitted, uid: &str, roles: Roles) -> Decision {
        let may = |right| if caller.principal.may(right) { Decision::Accept(Roles::USUAL) } else { Decision::Refused };
        match class_of(uid) {
            Class::Verification => may(Right::Echo),
            Class::PerformedStep => may(Right::Store),
            Class::Find => may(Right::Find),
            Class::Retrieve => may(Right::Retrieve),
            // A peer that we asked to commit reports on an association of its own, in the other role (PS3.4 J.3.3).
            Class::Commitment if roles.scp => {
                Decision::Accept(Roles { scu: roles.scu && caller.principal.may(Right::Commit), scp: true })
            }
            Class::Commitment => may(Right::Commit),
            Class::Storage => storage(&caller.principal, roles),
            Class::Unknown if self.config.accept_unknown_classes => storage(&caller.principal, roles),
            Class::Unknown | Class::Other => Decision::NotSupported,
        }
    }

    fn transfer_syntax<'a>(&self, abstract_syntax: &str, roles: Roles, offered: &'a [String]) -> Option<&'a String> {
        let little = |uid: &str| matches!(uid, uids::IMPLICIT_VR_LITTLE_ENDIAN | uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let taken = |uid: &&String| match class_of(abstract_syntax) {
            Class::Find | Class::Retrieve | Class::Commitment | Class::Verification | Class::PerformedStep => {
                little(uid) || *uid == syntax::EXPLICIT_VR_BIG_ENDIAN
            }
            Class::Storage | Class::Other | Class::Unknown => {
                syntax::known(uid).is_some() || self.config.accept_unknown_syntaxes
            }
        };
        // Who receives by C-GET and leaves the choice to us gets what every object can be turned into.
        let sure = offered.iter().find(|uid| roles.scp && little(uid));
        sure.or_else(|| offered.iter().find(taken))
    }

    fn extended(&self, abstract_syntax: &str, information: &[u8]) -> Option<Vec<u8>> {
        // PS3.4 C.5.1.1: relational queries, combined dates and times, fuzzy names, time zone; C.5.2.1, C.5.3.1: relational
        // retrieval. Multi-frame conversion is not done.
        let served: &[u8] = match class_of(abstract_syntax) {
            Class::Find => &[1, 1, 1, 1, 0],
            Class::Retrieve => &[1, 0],
            _ => return None,
        };
        Some(information.iter().zip(served).map(|(asked, served)| u8::from(*asked == 1) & served).collect())
    }
}

/// Receiving takes the right to retrieve, sending the right to store.
fn storage(principal: &Principal, roles: Roles) -> Decision {
    let scu = roles.scu && principal.may(Right::Store);
    let scp = roles.scp && principal.may(Right::Retrieve);
    if scu || scp { Decision::Accept(Roles { scu, scp }) } else { Decision::Refused }
}

/// Associations under way, by AE title of the caller.
#[derive(Default)]
pub struct Active(Arc<Mutex<HashMap<String, usize>>>);

/// A place among them; given back when it is dropped.
pub struct Place {
    aet: String,
    all: Arc<Mutex<HashMap<String, usize>>>,
}

impl Active {
    /// A place for a caller, unless it or all together have as many as they may.
    fn take(&self, principal: &Principal, most: usize) -> Option<Place> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.get(&principal.aet).copied().unwrap_or(0);
        let full = principal.max_associations > 0 && own >= principal.max_associations;
        if full || all.values().sum::<usize>() >= most {
            return None;
        }
        *all.entry(principal.aet.clone()).or_default() += 1;
        Some(Place { aet: principal.aet.clone(), all: self.0.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.aet) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.aet);
            }
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
    /// C-MOVE and C-GET, patient or study root.
    Retrieve,
    /// Storage Commitment Push Model.
    Commitment,
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
    const RETRIEVE: &[&str] = &[
        uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
        uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
        uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
        uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
    ];
    if RETRIEVE.contains(&uid) {
        return Class::Retrieve;
    }
    if uid == uids::STORAGE_COMMITMENT_PUSH_MODEL {
        return Class::Commitment;
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
        for uid in [uids::MODALITY_WORKLIST_INFORMATION_MODEL_FIND, uids::MEDIA_STORAGE_DIRECTORY_STORAGE] {
            assert_eq!(class_of(uid), Class::Other, "{uid}");
        }
        assert_eq!(class_of(uids::STORAGE_COMMITMENT_PUSH_MODEL), Class::Commitment);
        assert_eq!(class_of("1.2.826.0.1.3680043.2.1143"), Class::Unknown);
    }

    fn principal(aet: &str, rights: &[Right]) -> Principal {
        let rights = rights.iter().copied().collect();
        Principal { aet: aet.into(), rights, exchange: false, max_associations: 2, passcode_sha256: None }
    }

    #[test]
    fn who_may_only_store_receives_nothing() {
        let both = Roles { scu: true, scp: true };
        assert_eq!(storage(&principal("CT", &[Right::Store]), both), Decision::Accept(Roles::USUAL));
        assert_eq!(storage(&principal("WS", &[Right::Retrieve]), both), Decision::Accept(Roles { scu: false, scp: true }));
        assert_eq!(storage(&principal("WS", &[Right::Retrieve]), Roles::USUAL), Decision::Refused);
        assert_eq!(storage(&principal("X", &[Right::Echo]), both), Decision::Refused);
    }

    #[test]
    fn places_are_bounded_by_caller_and_in_all_and_come_back() {
        let active = Active::default();
        let (a, b) = (principal("A", &[]), principal("B", &[]));
        let held = [active.take(&a, 3), active.take(&a, 3), active.take(&b, 3)];
        assert!(held.iter().all(Option::is_some) && active.take(&a, 9).is_none() && active.take(&b, 3).is_none());
        drop(held);
        assert!(active.take(&b, 1).is_some());
    }

    #[test]
    fn every_storage_class_of_the_dictionary_is_accepted() {
        let mut count = 0;
        let all = principal("X", &Right::ALL);
        for entry in uids_of_dictionary() {
            if class_of(entry) == Class::Storage {
                count += 1;
                assert_eq!(storage(&all, Roles::USUAL), Decision::Accept(Roles::USUAL));
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
