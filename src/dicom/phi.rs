//! A wrapper for what identifies a patient. Its `Debug` and `Display` never show the value, so that no log line can.

use std::fmt;

/// A value that identifies a patient (name, identifier, birth date …).
#[derive(Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Phi<T>(T);

impl<T> Phi<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Phi<T> {
        Phi(value)
    }

    /// The value itself, for an answer to somebody who may see it. Never for a log.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

impl<T> fmt::Display for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

#[cfg(test)]
mod tests {
    use super::Phi;

    #[test]
    fn a_wrapped_name_never_reaches_a_format_string() {
        let name = Phi::new("Wang^XiaoDong");
        assert_eq!(format!("{name:?} {name}"), "[patient data] [patient data]");
        assert_eq!(*name.reveal(), "Wang^XiaoDong");
    }
}
