//! Application entity titles (PS3.5 6.2, value representation AE). PURE.

/// Whether a text can be one.
///
/// # Errors
/// Why not.
pub fn check_title(aet: &str) -> Result<(), String> {
    let legal = |c: char| (c.is_ascii_graphic() || c == ' ') && c != '\\';
    let fits = !aet.is_empty() && aet.len() <= 16 && aet.chars().all(legal) && aet.trim() == aet;
    if fits { Ok(()) } else { Err(format!("an AE title is 1 to 16 ASCII characters without a backslash, not {aet:?}")) }
}
