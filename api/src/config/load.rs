//! How the sources are laid over each other: defaults, then the file, then `MOONLOG_A__B` variables, then flags.

use super::{
    Config, ConfigError, Entry, Source, UnknownKey, keys,
    value::Value,
    variables::{self, Purpose},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use toml::de::{DeTable, DeValue};

/// The file that is read where no other is named and it exists.
const FILE: &str = "moonlog.toml";
pub(super) const PREFIX: &str = "MOONLOG_";

/// A flag of the command line that overrides a key.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag as it was typed, such as `--listen`.
    pub flag: String,
    /// The key, such as `api.listen`.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A configuration with where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Each key with its value and source, in the order of the documentation.
    pub entries: Vec<Entry>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// A key's segments.
pub(super) type KeyPath = Vec<String>;

/// Values by path, each with its source.
#[derive(Default)]
pub(super) struct Values(pub(super) BTreeMap<KeyPath, (Value, Source)>, Vec<UnknownKey>);

impl Config {
    /// Reads `file` (else `moonlog.toml` in the working folder, where there is one), and lays the environment and then
    /// the flags over it.
    ///
    /// # Errors
    /// All keys that are unknown, or the first other thing that is wrong, with where it was set.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &[Flag],
    ) -> Result<Loaded, ConfigError> {
        let env: BTreeMap<String, String> = env.into_iter().collect();
        let file = match file {
            Some(path) => Some(path.to_path_buf()),
            None => Path::new(FILE).exists().then(|| PathBuf::from(FILE)),
        };
        let mut values = Values::default();
        if let Some(path) = &file {
            let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            values.add_file(path, &text)?;
        }
        values.add_variables(&env)?;
        values.add_flags(flags)?;
        if !values.1.is_empty() {
            // Those of the file in the order of its lines, and the others behind them.
            values.1.sort_by_key(|unknown| match unknown.origin {
                Source::File { line, .. } => line,
                _ => usize::MAX,
            });
            return Err(ConfigError::UnknownKeys(values.1));
        }
        values.finish(&env, file)
    }
}

impl Values {
    fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
            ConfigError::Syntax {
                path: path.into(),
                line: line_of(at),
                column: text[line_start..at].chars().count() + 1,
                message: error.message().lines().collect::<Vec<_>>().join("; "),
            }
        })?;
        let source = |offset| Source::File { path: path.into(), line: line_of(offset) };
        self.add_table(&mut Vec::new(), table.get_ref(), &source)
    }

    fn add_table(
        &mut self,
        path: &mut KeyPath,
        table: &DeTable<'_>,
        source: &dyn Fn(usize) -> Source,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            path.push(name.get_ref().to_string());
            let source_here = source(name.span().start);
            // Dots would make one key look like another, and what variables cannot spell could not be overridden.
            if !name.get_ref().chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
                return Err(invalid(
                    path,
                    "named with letters, digits, `-` and `_`",
                    name.get_ref().to_string(),
                    source_here,
                ));
            }
            match (keys::find(path), value.get_ref()) {
                (None, DeValue::Table(inner)) if keys::is_table(path) => self.add_table(path, inner, source)?,
                (None, other) if keys::is_table(path) => {
                    return Err(invalid(path, "a table", super::value::describe(other), source_here));
                }
                (None, _) => self.unknown(path, source_here),
                (Some(key), value) => {
                    let value = key
                        .kind
                        .read(value)
                        .map_err(|found| invalid(path, &key.kind.expected(), found, source_here.clone()))?;
                    self.0.insert(path.clone(), (value, source_here));
                }
            }
            path.pop();
        }
        Ok(())
    }

    fn add_variables(&mut self, env: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        for (variable, text) in env {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            let source = Source::Variable(variable.clone());
            match variables::purpose(variable) {
                Some(Purpose::ReadElsewhere) => {}
                Some(Purpose::Key(key)) => self.add_text(key.split('.').map(Into::into).collect(), text, source)?,
                None if name.contains("__") => self.add_text(self.path_of_variable(name), text, source)?,
                None => {
                    let nearest = variables::nearest(variable, keys::fixed().map(Into::into));
                    self.1.push(UnknownKey { what: "variable".into(), nearest, origin: source });
                }
            }
        }
        Ok(())
    }

    /// Variables are in upper case; the names of queues and the like are as the file spells them, else in lower case
    /// (secrets: in upper case).
    fn path_of_variable(&self, name: &str) -> KeyPath {
        let mut path: KeyPath = Vec::new();
        for segment in name.split("__") {
            let lower = segment.to_ascii_lowercase();
            let spelled = self.0.keys().find(|known| {
                known.len() > path.len() && known.starts_with(&path) && known[path.len()].eq_ignore_ascii_case(segment)
            });
            path.push(match spelled {
                Some(known) => known[path.len()].clone(),
                None if path == ["secrets"] => segment.to_owned(),
                None => lower,
            });
        }
        path
    }

    fn add_flags(&mut self, flags: &[Flag]) -> Result<(), ConfigError> {
        for flag in flags {
            let path = flag.key.split('.').map(Into::into).collect();
            self.add_text(path, &flag.value, Source::Flag(flag.flag.clone()))?;
        }
        Ok(())
    }

    fn unknown(&mut self, path: &[String], origin: Source) {
        self.1.push(UnknownKey { what: format!("key `{}`", path.join(".")), nearest: keys::nearest(path), origin });
    }

    pub(super) fn add_text(&mut self, path: KeyPath, text: &str, source: Source) -> Result<(), ConfigError> {
        let Some(key) = keys::find(&path) else {
            self.unknown(&path, source);
            return Ok(());
        };
        let value =
            key.kind.parse(text).map_err(|found| invalid(&path, &key.kind.expected(), found, source.clone()))?;
        self.0.insert(path, (value, source));
        Ok(())
    }
}

fn invalid(path: &[String], expected: &str, found: String, origin: Source) -> ConfigError {
    ConfigError::Invalid { origin, key: path.join("."), expected: expected.into(), found }
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::Unreadable { path: path.into(), message: error.to_string() }
}
