//! The variables that the configuration names: whether they are set, and never what they hold. Models look at theirs
//! themselves.

use super::Finding;
use crate::config::Entry;

/// Looks at those of all keys that name one.
pub fn look(entries: &[Entry]) -> Vec<Finding> {
    let names_one = |key: &str| key.rsplit('.').next().is_some_and(|last| last == "env" || last.ends_with("_env"));
    let named = entries.iter().filter(|entry| names_one(&entry.key) && !entry.key.starts_with("models."));
    named.filter_map(|entry| one(&entry.key, entry.value.as_str()?)).collect()
}

fn one(key: &str, shown: &str) -> Option<Finding> {
    // `moonlog config` shows beside the name whether it is set.
    let variable = shown.split(' ').next().filter(|variable| !variable.is_empty())?;
    let is_set = std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    Some(if is_set {
        Finding::ok(key, format!("{variable} is set"))
    } else {
        Finding::wrong(key, format!("{variable} is not set")).hint("set it in the server's environment")
    })
}
