//! How the sources are laid over each other: defaults, then the file, then `MOONLOG_A__B` variables, then flags.

use super::{
    Config, ConfigError, Entry, Source, Token,
    keys::{self, KEYS},
    settings::SecretConfig,
    value::Value,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};
use toml::de::{DeTable, DeValue};

/// The file that is read where no other is named and it exists.
const FILE: &str = "moonlog.toml";
const PREFIX: &str = "MOONLOG_";

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

type Path_ = Vec<String>;

/// Values by path, each with its source.
#[derive(Default)]
struct Values(BTreeMap<Path_, (Value, Source)>);

impl Config {
    /// Reads `file` (else `moonlog.toml` in the working folder, where there is one), and lays the environment and then
    /// the flags over it.
    ///
    /// # Errors
    /// The first thing that is wrong, with where it was set.
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
        path: &mut Path_,
        table: &DeTable<'_>,
        source: &dyn Fn(usize) -> Source,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            path.push(name.get_ref().to_string());
            let source_here = source(name.span().start);
            match (keys::find(path), value.get_ref()) {
                (None, DeValue::Table(inner)) if keys::is_table(path) => self.add_table(path, inner, source)?,
                (None, _) => return Err(unknown(path, source_here)),
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

    /// Variables without `__` (`MOONLOG_TOKEN`, ...) are no keys of the configuration.
    fn add_variables(&mut self, env: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        for (variable, text) in env {
            let Some(name) = variable.strip_prefix(PREFIX).filter(|name| name.contains("__")) else { continue };
            let path = self.path_of_variable(name);
            self.add_text(path, text, Source::Variable(variable.clone()))?;
        }
        Ok(())
    }

    /// Variables are in upper case; the names of queues and the like are as the file spells them, else in lower case
    /// (secrets: in upper case).
    fn path_of_variable(&self, name: &str) -> Path_ {
        let mut path: Path_ = Vec::new();
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

    fn add_text(&mut self, path: Path_, text: &str, source: Source) -> Result<(), ConfigError> {
        let Some(key) = keys::find(&path) else { return Err(unknown(&path, source)) };
        let value =
            key.kind.parse(text).map_err(|found| invalid(&path, &key.kind.expected(), found, source.clone()))?;
        self.0.insert(path, (value, source));
        Ok(())
    }

    fn finish(mut self, env: &BTreeMap<String, String>, file: Option<PathBuf>) -> Result<Loaded, ConfigError> {
        self.add_defaults()?;
        let secrets = self.secrets(env)?;
        let (token, token_source) = self.token(env)?;
        let config = self.typed(env, secrets, token)?;
        let mut entries = self.entries(env);
        let at = entries.iter().position(|entry| entry.key == "api.token_file").unwrap_or(0);
        entries.insert(
            at,
            Entry {
                key: "api.token".into(),
                value: json!(if config.api.token.is_some() { "set" } else { "not set" }),
                source: token_source,
                doc: "what clients must send as `Authorization: Bearer`; from MOONLOG_TOKEN or api.token_file",
            },
        );
        Ok(Loaded { config, entries, file })
    }

    /// Defaults for every fixed key, and for every name that stands under a starred one.
    fn add_defaults(&mut self) -> Result<(), ConfigError> {
        let default_queue = match self.0.get(["defaults".to_owned(), "queue".to_owned()].as_slice()) {
            Some((Value::Text(name), _)) => name.clone(),
            _ => "default".into(),
        };
        for key in KEYS {
            let Some(default) = key.default else { continue };
            let segments: Vec<&str> = key.path.split('.').collect();
            let mut names: BTreeSet<String> =
                self.0.keys().filter(|path| path[0] == segments[0]).filter_map(|path| path.get(1).cloned()).collect();
            if segments[0] == "queues" {
                names.extend(["default".to_owned(), default_queue.clone()]);
            }
            let paths: Vec<Path_> = match segments.iter().position(|segment| *segment == "*") {
                None => vec![segments.iter().map(|s| (*s).to_owned()).collect()],
                Some(star) => names
                    .iter()
                    .map(|name| {
                        let mut path: Path_ = segments.iter().map(|s| (*s).to_owned()).collect();
                        path[star].clone_from(name);
                        path
                    })
                    .collect(),
            };
            for path in paths.into_iter().filter(|path| !self.0.contains_key(path)).collect::<Vec<_>>() {
                self.add_text(path, default, Source::Default)?;
            }
        }
        Ok(())
    }

    fn secrets(&self, env: &BTreeMap<String, String>) -> Result<BTreeMap<String, SecretConfig>, ConfigError> {
        let mut secrets = BTreeMap::new();
        for name in self.names("secrets") {
            let path = format!("secrets.{name}.env");
            let Some((Value::Text(variable), source)) = self.get(&path) else {
                return Err(ConfigError::Missing { key: path, why: "every secret names the variable that holds it" });
            };
            if variable.starts_with(PREFIX) || variable.is_empty() {
                let found = format!("`{variable}`");
                return Err(ConfigError::Invalid {
                    origin: source.clone(),
                    key: path,
                    expected: "the name of a variable that is not moonlog's own".into(),
                    found,
                });
            }
            let _ = env;
            let secret = SecretConfig {
                env: variable.clone(),
                hosts: self.texts(&format!("secrets.{name}.hosts")),
                commands: self.texts(&format!("secrets.{name}.commands")),
            };
            secrets.insert(name, secret);
        }
        Ok(secrets)
    }

    fn token(&self, env: &BTreeMap<String, String>) -> Result<(Option<Token>, Source), ConfigError> {
        if let Some(token) = env.get("MOONLOG_TOKEN").and_then(|text| Token::new(text)) {
            return Ok((Some(token), Source::Variable("MOONLOG_TOKEN".into())));
        }
        match self.get("api.token_file") {
            Some((Value::Text(path), source)) if !path.is_empty() => {
                let path = resolve(path, env);
                let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
                let token = Token::new(&text).ok_or_else(|| ConfigError::Invalid {
                    origin: source.clone(),
                    key: "api.token_file".into(),
                    expected: "a file that holds a token".into(),
                    found: format!("{}, which is empty", path.display()),
                })?;
                Ok((Some(token), source.clone()))
            }
            _ => Ok((None, Source::Default)),
        }
    }

    fn typed(
        &self,
        env: &BTreeMap<String, String>,
        secrets: BTreeMap<String, SecretConfig>,
        token: Option<Token>,
    ) -> Result<Config, ConfigError> {
        use super::settings::*;
        let queues = self.names("queues").into_iter().map(|name| {
            let queue = QueueConfig {
                concurrency: self.size(&format!("queues.{name}.concurrency")),
                capacity: self.whole(&format!("queues.{name}.capacity")),
                rate_per_minute: self.whole(&format!("queues.{name}.rate_per_minute")),
            };
            (name, queue)
        });
        let limit = |name: &str| self.whole(&format!("limits.{name}"));
        let size = |name: &str| self.size(&format!("limits.{name}"));
        let ms = |name: &str| Duration::from_millis(limit(name));
        Ok(Config {
            api: ApiConfig {
                listen: match self.get("api.listen") {
                    Some((Value::Address(address), _)) => *address,
                    _ => ([127, 0, 0, 1], 7070).into(),
                },
                token,
                hosts: self.texts("api.hosts"),
                origins: self.texts("api.origins"),
            },
            log: LogConfig {
                folder: resolve(&self.text("log.folder"), env),
                cache_bytes: self.whole("log.cache_bytes"),
                tail_cache_bytes: self.whole("log.tail_cache_bytes"),
                snapshot_every_events: self.whole("log.snapshot_every_events"),
            },
            runner: RunnerConfig {
                concurrency: self.size("runner.concurrency"),
                idle_evict: Duration::from_millis(self.whole("runner.idle_evict_ms")),
                warm_vms: self.size("runner.warm_vms"),
                workflow_folders: self.texts("runner.workflow_folders").iter().map(|p| resolve(p, env)).collect(),
            },
            defaults: DefaultsConfig { model: self.text("defaults.model"), queue: self.text("defaults.queue") },
            queues: queues.collect(),
            secrets,
            http: HttpConfig { allow_private: self.texts("http.allow_private") },
            limits: LimitsConfig {
                connections: size("connections"),
                feeds: size("feeds"),
                header_read_timeout: ms("header_read_timeout_ms"),
                body_read_timeout: ms("body_read_timeout_ms"),
                header_max_bytes: size("header_max_bytes"),
                body_max_bytes: limit("body_max_bytes"),
                wait_max: ms("wait_max_ms"),
                drain: ms("drain_ms"),
                feed_keep_alive: ms("feed_keep_alive_ms"),
                feed_cache_bytes: size("feed_cache_bytes"),
                inline_max_bytes: limit("inline_max_bytes"),
                ticket: ms("ticket_ms"),
                script_source_bytes: limit("script_source_bytes"),
                script_memory_bytes: limit("script_memory_bytes"),
                script_compute: ms("script_compute_ms"),
                steps_per_job: limit("steps_per_job"),
                events_per_job: limit("events_per_job"),
                open_branches: limit("open_branches"),
                agents_per_job: limit("agents_per_job"),
                items_max: limit("items_max"),
                value_max_bytes: limit("value_max_bytes"),
                nesting: u32::try_from(limit("nesting")).unwrap_or(u32::MAX),
                process_capture_bytes: limit("process_capture_bytes"),
                process_output_bytes: limit("process_output_bytes"),
                http_response_bytes: limit("http_response_bytes"),
                labels: size("labels"),
            },
        })
    }

    /// Entries in the order of `KEYS`; those under a star together by name.
    fn entries(&self, env: &BTreeMap<String, String>) -> Vec<Entry> {
        let rank = |path: &Path_| {
            let of = |key: &keys::Key| KEYS.iter().position(|known| known.path == key.path).unwrap_or(usize::MAX);
            let at = keys::find(path).map_or(usize::MAX, of);
            let table = KEYS.iter().position(|known| known.path.split('.').next() == path.first().map(String::as_str));
            let starred = KEYS.get(at).is_some_and(|key| key.path.contains('*'));
            (table, starred.then(|| path[1].clone()), at)
        };
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|(path, _)| rank(path));
        all.into_iter()
            .map(|(path, (value, source))| {
                let doc = keys::find(path).map_or("", |key| key.doc);
                let value = match (path[0].as_str(), path.last().map(String::as_str), value) {
                    // The variable's name is no secret; whether it holds anything is what one wants to know.
                    ("secrets", Some("env"), Value::Text(variable)) => {
                        json!(format!("{variable} ({})", if env.contains_key(variable) { "set" } else { "not set" }))
                    }
                    ("models", Some("api_key_env"), Value::Text(variable)) => {
                        json!(format!("{variable} ({})", if env.contains_key(variable) { "set" } else { "not set" }))
                    }
                    (_, _, value) => value.to_json(),
                };
                Entry { key: path.join("."), value, source: source.clone(), doc }
            })
            .collect()
    }

    fn names(&self, table: &str) -> BTreeSet<String> {
        self.0.keys().filter(|path| path[0] == table).filter_map(|path| path.get(1).cloned()).collect()
    }

    fn get(&self, key: &str) -> Option<&(Value, Source)> {
        let path: Path_ = key.split('.').map(Into::into).collect();
        self.0.get(&path)
    }

    fn whole(&self, key: &str) -> u64 {
        match self.get(key) {
            Some((Value::Whole(number), _)) => *number,
            _ => 0,
        }
    }

    fn size(&self, key: &str) -> usize {
        usize::try_from(self.whole(key)).unwrap_or(usize::MAX)
    }

    fn text(&self, key: &str) -> String {
        match self.get(key) {
            Some((Value::Text(text), _)) => text.clone(),
            _ => String::new(),
        }
    }

    fn texts(&self, key: &str) -> Vec<String> {
        match self.get(key) {
            Some((Value::Texts(texts), _)) => texts.clone(),
            _ => Vec::new(),
        }
    }
}

/// A path as the user wrote it, with `~` for the home folder.
fn resolve(path: &str, env: &BTreeMap<String, String>) -> PathBuf {
    match (path.strip_prefix("~/"), env.get("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => path.into(),
    }
}

fn unknown(path: &[String], origin: Source) -> ConfigError {
    ConfigError::UnknownKey { origin, key: path.join("."), nearest: keys::nearest(path) }
}

fn invalid(path: &[String], expected: &str, found: String, origin: Source) -> ConfigError {
    ConfigError::Invalid { origin, key: path.join("."), expected: expected.into(), found }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::Unreadable { path: path.into(), message: error.to_string() }
}
