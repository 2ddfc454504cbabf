//! From credentials to a principal, with lock-out after failures and a bound on requests.

use super::refresh;
use super::token::Keys;
use super::{Credentials, Denied, Principal, Role, Settings, digest};
use crate::exchange::live::LiveRegister;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses and principals that are counted at a time.
const COUNTED: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

/// See the module.
pub struct Guard {
    settings: Settings,
    /// Nothing is configured, and only this machine can ask.
    open: bool,
    register: Arc<LiveRegister>,
    keys: Keys,
    /// A token named a key that nobody knows.
    unknown_key: Arc<AtomicBool>,
    failures: Mutex<HashMap<IpAddr, (Instant, u32)>>,
    requests: Mutex<HashMap<String, (Instant, u32)>>,
}

impl Guard {
    /// `open`: whoever asks is the owner.
    pub fn new(settings: Settings, open: bool, register: Arc<LiveRegister>) -> Guard {
        let (failures, requests) = (Mutex::default(), Mutex::default());
        Guard { settings, open, register, keys: Keys::default(), unknown_key: Arc::default(), failures, requests }
    }

    /// The work of keeping the issuers' key sets new.
    pub fn key_sets(&self) -> impl FnOnce(&AtomicBool) + Send + 'static {
        let (issuers, unknown_key) = (self.settings.issuer.clone(), self.unknown_key.clone());
        move |stopping| refresh::follow(&issuers, &unknown_key, stopping)
    }

    /// Whether another hospital's query may leave the patient out.
    pub fn may_browse(&self) -> bool {
        self.settings.browse
    }

    /// Who asks.
    ///
    /// # Errors
    /// Why nobody: for the journal, not for the client.
    pub fn principal(&self, credentials: &Credentials<'_>, from: IpAddr) -> Result<Principal, Denied> {
        let principal = match self.recognise(credentials) {
            Ok(principal) => principal,
            // A browser asks first without: that is no attempt.
            Err(Denied::Nothing) => return Err(Denied::Nothing),
            // Others behind the same proxy are not to suffer for it: who is recognised gets in.
            Err(why) => {
                if refresh::may_be_new(why) {
                    self.unknown_key.store(true, Ordering::Relaxed);
                }
                self.is_locked_out(from)?;
                self.failed(from);
                return Err(why);
            }
        };
        if principal.role == Role::Exchange {
            self.count(&principal)?;
        }
        Ok(principal)
    }

    fn recognise(&self, credentials: &Credentials<'_>) -> Result<Principal, Denied> {
        let bearer = match credentials.authorization.map(|a| a.split_once(' ').unwrap_or((a, ""))) {
            None => None,
            Some((kind, token)) if kind.eq_ignore_ascii_case("bearer") => Some(token.trim()),
            Some(_) if self.open => None,
            Some(_) => return Err(Denied::Kind),
        };
        let principal = match (credentials.api_key.or(bearer), credentials.certificate) {
            (Some(secret), _) => self.secret(secret)?,
            (None, Some(certificate)) => self.certificate(certificate)?,
            (None, None) if self.open => return Ok(Principal::open()),
            (None, None) => return Err(Denied::Nothing),
        };
        // Revoked is revoked: the register is asked each time.
        match &principal.hospital {
            Some(code) if !self.register.current().takes_part(code) => Err(Denied::Hospital),
            // A certificate is the hospital's by the register itself.
            Some(code) if credentials.api_key.or(bearer).is_some() && !self.is_client(code, &principal.name) => {
                Err(Denied::Client)
            }
            _ => Ok(principal),
        }
    }

    fn is_client(&self, hospital: &str, name: &str) -> bool {
        self.register.current().hospital(hospital).is_some_and(|h| h.is_client(name))
    }

    fn secret(&self, secret: &str) -> Result<Principal, Denied> {
        let digest = digest(secret);
        // Digests are compared, so that the time it takes says nothing of the key.
        if let Some(key) = self.settings.key.iter().find(|k| k.sha256.eq_ignore_ascii_case(&digest)) {
            let (name, hospital) = (format!("key {}", key.name), key.hospital.clone());
            return Ok(Principal { name, role: key.role, hospital, says: BTreeMap::new() });
        }
        if secret.matches('.').count() == 2 && !self.settings.issuer.is_empty() {
            return self.keys.principal(secret, &self.settings.issuer);
        }
        Err(Denied::Key)
    }

    fn certificate(&self, fingerprint: &str) -> Result<Principal, Denied> {
        let register = self.register.current();
        let hospital = register.hospital_of_certificate(fingerprint).ok_or(Denied::Certificate)?;
        let (name, hospital) = (format!("certificate {}", hospital.code), Some(hospital.code.clone()));
        Ok(Principal { name, role: Role::Exchange, hospital, says: BTreeMap::new() })
    }

    fn is_locked_out(&self, from: IpAddr) -> Result<(), Denied> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let lockout = Duration::from_secs(u64::from(self.settings.lockout_seconds));
        let Some((last, n)) = failures.get_mut(&from) else { return Ok(()) };
        if *n < self.settings.failures || last.elapsed() >= lockout {
            return Ok(());
        }
        // Counted on without the clock: the time of the lock-out runs from the last guess that was looked at.
        *n = n.saturating_add(1);
        Err(Denied::LockedOut)
    }

    /// Guesses of an address since it was locked out.
    pub fn guesses(&self, from: IpAddr) -> u32 {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&from).map_or(0, |(_, n)| n.saturating_sub(self.settings.failures))
    }

    fn failed(&self, from: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= COUNTED {
            failures.retain(|_, (last, _)| last.elapsed() < MINUTE);
        }
        let entry = failures.entry(from).or_insert((Instant::now(), 0));
        if entry.0.elapsed() > MINUTE {
            entry.1 = 0;
        }
        *entry = (Instant::now(), entry.1.saturating_add(1));
    }

    fn count(&self, principal: &Principal) -> Result<(), Denied> {
        let most = self.settings.requests_per_minute;
        if most == 0 {
            return Ok(());
        }
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() >= COUNTED {
            requests.retain(|_, (begun, _)| begun.elapsed() < MINUTE);
        }
        let entry = requests.entry(principal.name.clone()).or_insert((Instant::now(), 0));
        if entry.0.elapsed() > MINUTE {
            *entry = (Instant::now(), 0);
        }
        entry.1 = entry.1.saturating_add(1);
        match entry.1 {
            n if n <= most => Ok(()),
            n if n == most.saturating_add(1) => Err(Denied::Exceeded),
            _ => Err(Denied::TooMany),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::register::Register;

    fn register() -> Register {
        let hospital = |code: &str, member: bool, digit: &str| {
            format!(
                "[[hospital]]\ncode = \"{code}\"\nname = \"{code}\"\nmember = {member}\ncertificates = [\"{}\"]\n",
                digit.repeat(64)
            )
        };
        Register::parse(&(hospital("H2", true, "a") + &hospital("H3", false, "b"))).unwrap()
    }

    fn guard(toml: &str, open: bool) -> Guard {
        let settings: Settings = toml::from_str(toml).unwrap();
        settings.check().unwrap();
        Guard::new(settings, open, Arc::new(LiveRegister::fixed(register())))
    }

    fn key(name: &str, secret: &str, role: &str, hospital: &str) -> String {
        let hospital = if hospital.is_empty() { String::new() } else { format!("hospital = \"{hospital}\"\n") };
        format!("[[key]]\nname = \"{name}\"\nsha256 = \"{}\"\nrole = \"{role}\"\n{hospital}", digest(secret))
    }

    #[test]
    fn keys_and_certificates_name_a_principal_and_nothing_else_does() {
        let toml = key("ris", "s1", "house", "") + &key("b", "s2", "exchange", "H2") + &key("c", "s3", "exchange", "H3");
        let guard = guard(&toml, false);
        let from: IpAddr = "10.0.0.1".parse().unwrap();
        let ask = |credentials| guard.principal(&credentials, from).map(|p| (p.role, p.hospital));
        let bearer = |authorization| Credentials { authorization: Some(authorization), ..Credentials::default() };
        let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(64));
        let certificate = |c| Credentials { certificate: Some(c), ..Credentials::default() };
        assert_eq!(ask(bearer("Bearer s1")), Ok((Role::House, None)));
        assert_eq!(ask(Credentials { api_key: Some("s2"), ..Credentials::default() }), Ok((Role::Exchange, Some("H2".into()))));
        assert_eq!(ask(certificate(&a)), Ok((Role::Exchange, Some("H2".into()))));
        assert_eq!(ask(bearer("bearer s3")), Err(Denied::Hospital));
        assert_eq!(ask(certificate(&b)), Err(Denied::Hospital));
        assert_eq!(ask(certificate(&c)), Err(Denied::Certificate));
        assert_eq!(ask(bearer("Bearer nothing")), Err(Denied::Key));
        assert_eq!(ask(bearer("Basic czE=")), Err(Denied::Kind));
        assert_eq!(ask(bearer("Bearer a.b.c")), Err(Denied::Key));
        assert_eq!(ask(Credentials::default()), Err(Denied::Nothing));
        // A certificate does not help a wrong key.
        let both = Credentials { api_key: Some("x"), certificate: Some(&a), ..Credentials::default() };
        assert_eq!(ask(both), Err(Denied::Key));
    }

    #[test]
    fn an_address_that_fails_too_often_is_locked_out_and_others_are_not() {
        let guard = guard(&("failures = 3\nrequests_per_minute = 2\n".to_string() + &key("b", "s2", "exchange", "H2")), false);
        let (one, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let with = |secret| Credentials { api_key: Some(secret), ..Credentials::default() };
        for _ in 0..3 {
            assert_eq!(guard.principal(&with("guess"), one), Err(Denied::Key));
        }
        assert_eq!(guard.principal(&with("guess"), one), Err(Denied::LockedOut));
        assert_eq!((guard.guesses(one), guard.guesses(other)), (1, 0));
        assert_eq!(guard.principal(&with("guess"), other), Err(Denied::Key));
        assert!(guard.principal(&with("s2"), one).is_ok() && guard.principal(&with("s2"), other).is_ok());
        // The first one over the bound is told the journal.
        assert_eq!(guard.principal(&with("s2"), other), Err(Denied::Exceeded));
        assert_eq!(guard.principal(&with("s2"), other), Err(Denied::TooMany));
    }
}
