//! Modules of the script library, which scripts get by `require(name)`.
//!
//! A job runs the script that it was submitted with, so what a script requires is made a part of its source before it is
//! stored: behind its last line, each module in a comment of its own, so that lines stay what they were. A script that
//! holds its modules already is left as it is, also where the library has changed since:
//!
//! ```text
//! --[=[moonlog module: findings
//! ...
//! ]=]
//! ```

use super::source_file::read_source;
use rust_embed::RustEmbed;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

#[derive(RustEmbed)]
#[folder = "library/modules/"]
struct Modules;

/// What stands at the beginning of a module's comment, behind its bracket.
const MARK: &str = "moonlog module: ";

/// How many `=` a module's bracket has at most, and one.
const LEVELS: usize = 9;

/// The names of all modules, in order.
pub fn module_names() -> Vec<String> {
    let mut names: Vec<String> =
        Modules::iter().filter_map(|file| Some(file.strip_suffix(".luau")?.to_owned())).collect();
    names.sort();
    names
}

/// A source with all that it requires.
pub struct Linked {
    /// The source.
    pub source: String,
    /// The files that were looked for, whether or not they are there: where one of them changes, so may the source.
    pub looked_for: Vec<PathBuf>,
}

/// The source with the modules that it requires, and those that these require, of the built-in ones.
pub fn link(source: &str) -> Cow<'_, str> {
    link_from(source, &mut built_in)
}

/// The same of a script in a file of `folder`: modules in `modules/` beside it win over built-in ones.
pub fn link_beside(source: &str, folder: &Path) -> Linked {
    let mut looked_for = Vec::new();
    let linked = link_from(source, &mut |name| {
        for ending in ["luau", "lua"] {
            let path = folder.join("modules").join(format!("{name}.{ending}"));
            let read = read_source(&path, folder);
            looked_for.push(path);
            if let Ok(module) = read {
                return Some(module);
            }
        }
        built_in(name)
    });
    Linked { source: linked.into_owned(), looked_for }
}

fn built_in(name: &str) -> Option<String> {
    let module = Modules::get(&format!("{name}.luau"))?;
    Some(String::from_utf8_lossy(&module.data).into_owned())
}

fn link_from<'a>(source: &'a str, find: &mut dyn FnMut(&str) -> Option<String>) -> Cow<'a, str> {
    let mut wanted: Vec<String> = required(source);
    if wanted.is_empty() {
        return Cow::Borrowed(source);
    }
    let mut known: BTreeSet<String> = modules(source).keys().map(|name| (*name).to_owned()).collect();
    let mut added: BTreeMap<String, String> = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        if !known.insert(name.clone()) {
            continue;
        }
        let Some(module) = find(&name) else { continue };
        wanted.extend(required(&module));
        added.insert(name, module);
    }
    if added.is_empty() {
        return Cow::Borrowed(source);
    }
    let mut linked = source.trim_end().to_owned();
    for (name, module) in added {
        let fits = |level: &usize| !module.contains(&format!("]{}]", "=".repeat(*level)));
        let level = "=".repeat((1..LEVELS).find(fits).unwrap_or(1));
        linked.push_str(&format!("\n\n--[{level}[{MARK}{name}\n{}\n]{level}]", module.trim_end()));
    }
    linked.push('\n');
    Cow::Owned(linked)
}

/// The modules that a source holds, by name. What it costs grows with the source's length, whatever that holds.
pub(crate) fn modules(source: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    let mut rest = source;
    // Behind a comment that is not closed, none of its level is.
    let mut open = [false; LEVELS];
    while let Some(at) = rest.find("\n--[") {
        rest = &rest[at + 4..];
        let level = rest.bytes().take_while(|byte| *byte == b'=').count();
        if level >= LEVELS || open[level] {
            continue;
        }
        let Some((name, body)) = rest[level..]
            .strip_prefix('[')
            .and_then(|inner| inner.strip_prefix(MARK))
            .and_then(|inner| inner.split_once('\n'))
        else {
            continue;
        };
        let Some(end) = body.find(&format!("\n]{}]", &rest[..level])) else {
            open[level] = true;
            continue;
        };
        found.insert(name, &body[..end]);
        rest = &body[end..];
    }
    found
}

/// Whether a source requires any module.
pub(crate) fn requires(source: &str) -> bool {
    !required(source).is_empty()
}

/// The lines of the script that require what is neither in the library nor in the script itself, with the names.
pub(crate) fn missing(source: &str) -> Vec<(u32, String)> {
    let held = modules(source);
    let own = source.split("\n--[=").next().unwrap_or(source);
    let lines = own.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("--"));
    lines
        .flat_map(|(at, line)| required(line).into_iter().map(move |name| (at as u32 + 1, name)))
        .filter(|(_, name)| !held.contains_key(name.as_str()) && Modules::get(&format!("{name}.luau")).is_none())
        .collect()
}

/// What stands behind `require`, as far as it is written out. Where it is not, or stands in a text or a comment, a
/// module too many does no harm.
fn required(source: &str) -> Vec<String> {
    let behind = source.match_indices("require").map(|(at, word)| &source[at + word.len()..]);
    behind
        .filter_map(|rest| {
            let rest = rest.trim_start();
            let rest = rest.strip_prefix('(').unwrap_or(rest).trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (name, _) = rest[1..].split_once(quote)?;
            let is_name = !name.is_empty()
                && name.len() <= 64
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'));
            is_name.then(|| name.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_becomes_a_part_of_the_source() {
        let source = "local markdown = require(\"markdown\")\nreturn markdown.code('x')\n";
        let linked = link(source);
        assert!(linked.starts_with(source.trim_end()), "lines stay where they were");
        assert!(modules(&linked)["markdown"].contains("return"), "{linked}");
        assert_eq!(link(&linked), linked, "twice is once");
        assert!(matches!(link("return 1"), Cow::Borrowed("return 1")));
        assert!(matches!(link("return require('no-such-module')"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_module_that_the_source_holds_is_kept() {
        let source = "return require('markdown')\n\n--[==[moonlog module: markdown\nreturn ']=]'\n]==]\n";
        assert_eq!(modules(source)["markdown"], "return ']=]'");
        assert!(matches!(link(source), Cow::Borrowed(_)));
    }

    #[test]
    fn comments_that_are_never_closed_cost_no_more_than_others() {
        // With each looked at to the end, this would take minutes.
        let open: String = (0..12).map(|level| format!("\n--[{}[{MARK}a\n", "=".repeat(level)).repeat(3_000)).collect();
        assert_eq!(modules(&open).len(), 0);
        assert!(matches!(link(&open), Cow::Borrowed(_)));
    }

    #[test]
    fn modules_of_modules_come_along() {
        for name in module_names() {
            let source = format!("return require('{name}')");
            let linked = link(&source);
            let held = modules(&linked);
            for (name, module) in &held {
                for other in required(module) {
                    assert!(held.contains_key(other.as_str()), "{name} requires {other}, which is not there");
                }
            }
        }
    }
}
