//! The variables of the environment that are moonlog's: keys of the configuration in the form `MOONLOG_A__B`, and those
//! that stand here. Any other that begins like them is a mistake.

use super::load::PREFIX;

/// What a variable that is no key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Another name of this key.
    Key(&'static str),
    /// It is read where it is needed.
    ReadElsewhere,
}

/// All of them; a `*` stands for any end.
const VARIABLES: &[(&str, Purpose)] = &[
    ("MOONLOG_DATA", Purpose::Key("log.folder")),
    ("MOONLOG_TOKEN", Purpose::ReadElsewhere),  // what clients must send
    ("MOONLOG_SERVER", Purpose::ReadElsewhere), // as --server
    ("MOONLOG_LOG", Purpose::ReadElsewhere),    // what is logged on standard error
    // Of moonlog's own tests, which start servers.
    ("MOONLOG_SEED", Purpose::ReadElsewhere),
    ("MOONLOG_KILLS", Purpose::ReadElsewhere),
    ("MOONLOG_LONG", Purpose::ReadElsewhere),
    ("MOONLOG_TINY_DIR", Purpose::ReadElsewhere),
    ("MOONLOG_TEST_*", Purpose::ReadElsewhere),
];

/// What a variable is for that is no key.
pub(super) fn purpose(variable: &str) -> Option<Purpose> {
    let is_it = |known: &str| match known.strip_suffix('*') {
        Some(beginning) => variable.starts_with(beginning),
        None => variable == known,
    };
    VARIABLES.iter().find(|(known, _)| is_it(known)).map(|(_, purpose)| *purpose)
}

/// The variable that an unknown one was meant to be: one that is known, or that of a key.
pub(super) fn nearest(variable: &str, keys: impl Iterator<Item = String>) -> Option<String> {
    let of_keys = keys.map(|key| format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase()));
    let known = VARIABLES.iter().map(|(known, _)| (*known).to_owned()).filter(|known| !known.ends_with('*'));
    // With one `_` for a dot, a key is only that far from what was meant.
    let distance = |known: &str| strsim::damerau_levenshtein(variable, known);
    known
        .chain(of_keys)
        .map(|known| (distance(&known), known))
        .filter(|(distance, _)| *distance <= (variable.len() / 4).max(2))
        .min()
        .map(|(_, known)| known)
}
