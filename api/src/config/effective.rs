//! What the layers come to: defaults filled in, the token and the secrets looked up, every value of its type.

use super::{
    ApiConfig, CacheConfig, Config, ConfigError, DefaultsConfig, Entry, HttpConfig, LimitsConfig, Loaded, LogConfig,
    QueueConfig, RetentionConfig, RunnerConfig, SecretConfig, Source, Token, ToolsConfig, WorkspacesConfig,
    keys::{self, KEYS},
    load::{KeyPath, PREFIX, Values, unreadable},
    value::Value,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

impl Values {
    pub(super) fn finish(
        mut self,
        env: &BTreeMap<String, String>,
        file: Option<PathBuf>,
    ) -> Result<Loaded, ConfigError> {
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
            let paths: Vec<KeyPath> = match segments.iter().position(|segment| *segment == "*") {
                None => vec![segments.iter().map(|s| (*s).to_owned()).collect()],
                Some(star) => names
                    .iter()
                    .map(|name| {
                        let mut path: KeyPath = segments.iter().map(|s| (*s).to_owned()).collect();
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
        let queues = self.names("queues").into_iter().map(|name| {
            let queue = QueueConfig {
                concurrency: self.size(&format!("queues.{name}.concurrency")),
                capacity: self.whole(&format!("queues.{name}.capacity")),
                rate_per_minute: self.whole(&format!("queues.{name}.rate_per_minute")),
                key_rate_per_minute: self.whole(&format!("queues.{name}.key_rate_per_minute")),
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
                reserve_bytes: self.whole("log.reserve_bytes"),
                tail_cache_bytes: self.whole("log.tail_cache_bytes"),
                frame_cache_bytes: self.whole("log.frame_cache_bytes"),
                snapshot_every_events: self.whole("log.snapshot_every_events"),
            },
            runner: RunnerConfig {
                concurrency: self.size("runner.concurrency"),
                idle_evict: Duration::from_millis(self.whole("runner.idle_evict_ms")),
                warm_vms: self.size("runner.warm_vms"),
                workflow_folders: self.texts("runner.workflow_folders").iter().map(|p| resolve(p, env)).collect(),
            },
            workspaces: WorkspacesConfig { folder: self.workspaces_folder(env) },
            defaults: DefaultsConfig { model: self.text("defaults.model"), queue: self.text("defaults.queue") },
            models: self.models(env),
            aliases: self
                .names("aliases")
                .into_iter()
                .map(|name| (name.clone(), self.text(&format!("aliases.{name}"))))
                .collect(),
            agents: self.agents(),
            queues: queues.collect(),
            secrets,
            webhooks: self.webhooks()?,
            retention: RetentionConfig {
                max_age: self.limit("retention.max_age_ms").map(Duration::from_millis),
                max_ended_jobs: self.limit("retention.max_ended_jobs"),
                max_bytes: self.limit("retention.max_bytes"),
                export_folder: match self.get("retention.export_folder") {
                    Some((Value::Text(path), _)) if !path.is_empty() => Some(resolve(path, env)),
                    _ => None,
                },
                every: Duration::from_millis(self.whole("retention.every_ms")),
                rewrite_min_bytes: self.whole("retention.rewrite_min_bytes"),
            },
            cache: CacheConfig {
                max_bytes: self.whole("cache.max_bytes"),
                max_age: Duration::from_millis(self.whole("cache.max_age_ms")),
            },
            http: HttpConfig {
                allow_private: self.texts("http.allow_private"),
                timeout: Duration::from_millis(self.whole("http.timeout_ms")),
                redirects_max: self.size("http.redirects_max"),
            },
            key_variables: self.key_variables(),
            tools: ToolsConfig {
                approval_timeout: Duration::from_millis(self.whole("tools.approval_timeout_ms")),
                approval_default: self.text("tools.approval_default") == "approve",
                ask: self.texts("tools.ask"),
                allow: self.texts("tools.allow"),
                deny: self.texts("tools.deny"),
                roots: self.texts("tools.roots").iter().map(|path| resolve(path, env)).collect(),
                read_max_bytes: self.size("tools.read_max_bytes"),
                read_max_lines: self.size("tools.read_max_lines"),
                line_max_bytes: self.size("tools.line_max_bytes"),
                write_max_bytes: self.size("tools.write_max_bytes"),
                diff_max_bytes: self.size("tools.diff_max_bytes"),
                edits_max: self.size("tools.edits_max"),
                list_max: self.size("tools.list_max"),
                search_max_matches: self.size("tools.search_max_matches"),
                search_max: Duration::from_millis(self.whole("tools.search_max_ms")),
                execute_timeout: Duration::from_millis(self.whole("tools.execute_timeout_ms")),
                wait_max: Duration::from_millis(self.whole("tools.wait_max_ms")),
            },
            limits: LimitsConfig {
                connections: size("connections"),
                connection_keep: ms("connection_keep_ms"),
                feeds: size("feeds"),
                header_read_timeout: ms("header_read_timeout_ms"),
                body_read_timeout: ms("body_read_timeout_ms"),
                header_max_bytes: size("header_max_bytes"),
                body_max_bytes: limit("body_max_bytes"),
                import_max_bytes: limit("import_max_bytes"),
                wait_max: ms("wait_max_ms"),
                drain: ms("drain_ms"),
                feed_keep_alive: ms("feed_keep_alive_ms"),
                feed_cache_bytes: size("feed_cache_bytes"),
                inline_max_bytes: limit("inline_max_bytes"),
                ticket: ms("ticket_ms"),
                backup_stall: ms("backup_stall_ms"),
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
                process_stall: ms("process_stall_ms"),
                http_response_bytes: limit("http_response_bytes"),
                git_timeout: ms("git_timeout_ms"),
                git_output_bytes: size("git_output_bytes"),
                workspace_files: size("workspace_files"),
                workspace_diff_bytes: limit("workspace_diff_bytes"),
                unended_jobs: limit("unended_jobs"),
                processes: size("processes"),
                workflows: size("workflows"),
                schedules: size("schedules"),
                open_sessions: size("open_sessions"),
                queued_messages: size("queued_messages"),
                signals_per_job: size("signals_per_job"),
                name_max_bytes: size("name_max_bytes"),
                key_max_bytes: size("key_max_bytes"),
                label_max_bytes: size("label_max_bytes"),
                title_max_bytes: size("title_max_bytes"),
                reason_max_bytes: size("reason_max_bytes"),
                note_max_bytes: size("note_max_bytes"),
                session_agent_max_bytes: size("session_agent_max_bytes"),
                labels: size("labels"),
                bulk_jobs: size("bulk_jobs"),
            },
        })
    }

    /// The variables that `models.*.api_key_env` and the like name.
    fn key_variables(&self) -> Vec<String> {
        let names_a_key =
            |path: &KeyPath| path.last().is_some_and(|name| name.ends_with("_key_env") || name == "secret_env");
        let variables = self.0.iter().filter(|(path, _)| names_a_key(path));
        variables
            .filter_map(|(_, (value, _))| match value {
                Value::Text(variable) => Some(variable.clone()),
                _ => None,
            })
            .collect()
    }

    fn workspaces_folder(&self, env: &BTreeMap<String, String>) -> PathBuf {
        match self.text("workspaces.folder").as_str() {
            "" => {
                let data = resolve(&self.text("log.folder"), env);
                let beside = data.parent().filter(|parent| !parent.as_os_str().is_empty());
                beside.unwrap_or(Path::new(".")).join("worktrees")
            }
            folder => resolve(folder, env),
        }
    }

    /// Entries in the order of `KEYS`; those under a star together by name.
    fn entries(&self, env: &BTreeMap<String, String>) -> Vec<Entry> {
        let rank = |path: &KeyPath| {
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
                    // Whoever knows all of it may post there.
                    ("webhooks", Some("url"), Value::Text(url)) => json!(without_path(url)),
                    ("models", Some("api_key_env"), Value::Text(variable))
                    | ("webhooks", Some("secret_env"), Value::Text(variable)) => {
                        json!(format!("{variable} ({})", if env.contains_key(variable) { "set" } else { "not set" }))
                    }
                    (_, _, value) => value.to_json(),
                };
                Entry { key: path.join("."), value, source: source.clone(), doc }
            })
            .collect()
    }

    pub(super) fn names(&self, table: &str) -> BTreeSet<String> {
        self.0.keys().filter(|path| path[0] == table).filter_map(|path| path.get(1).cloned()).collect()
    }

    pub(super) fn get(&self, key: &str) -> Option<&(Value, Source)> {
        let path: KeyPath = key.split('.').map(Into::into).collect();
        self.0.get(&path)
    }

    pub(super) fn whole(&self, key: &str) -> u64 {
        match self.get(key) {
            Some((Value::Whole(number), _)) => *number,
            _ => 0,
        }
    }

    /// A limit that 0 switches off.
    fn limit(&self, key: &str) -> Option<u64> {
        Some(self.whole(key)).filter(|limit| *limit > 0)
    }

    pub(super) fn size(&self, key: &str) -> usize {
        usize::try_from(self.whole(key)).unwrap_or(usize::MAX)
    }

    pub(super) fn text(&self, key: &str) -> String {
        match self.get(key) {
            Some((Value::Text(text), _)) => text.clone(),
            _ => String::new(),
        }
    }

    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        match self.get(key) {
            Some((Value::Texts(texts), _)) => texts.clone(),
            _ => Vec::new(),
        }
    }
}

/// An address up to its host.
fn without_path(url: &str) -> String {
    let Ok(url) = reqwest::Url::parse(url) else { return "(not shown)".into() };
    let rest = if url.path().len() > 1 || url.query().is_some() { "/…" } else { "/" };
    format!("{}{rest}", url.origin().ascii_serialization())
}

/// A path as the user wrote it, with `~` for the home folder.
pub(super) fn resolve(path: &str, env: &BTreeMap<String, String>) -> PathBuf {
    match (path.strip_prefix("~/"), env.get("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => path.into(),
    }
}
