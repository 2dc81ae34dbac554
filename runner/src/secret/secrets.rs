//! Which secrets exist, and where each may go.

use super::{Scrubber, forms::forms_of, scrubber::STARS};
use aho_corasick::{AhoCorasick, MatchKind};
use moonlog_core::{error_info::ErrorInfo, json::Json};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// What a placeholder begins and ends with; between them stands the secret's name.
const OPEN: &str = "⟦secret:";
const CLOSE: &str = "⟧";

/// A shorter value would turn every output into stars, so it is refused.
const VALUE_MIN_BYTES: usize = 4;

/// Shorter numbers are not taken for a value.
const DIGITS_MIN: usize = 8;

/// Where one secret comes from and may go: `[secrets.NAME]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretSource {
    /// The variable of the server's environment that holds its value.
    pub env: String,
    /// The hosts that requests may carry it to; `*.example.com` takes in every subdomain.
    pub hosts: Vec<String>,
    /// The commands that may get it, as scripts name them: by name, or by path.
    pub commands: Vec<String>,
}

/// Where a secret is about to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// The environment or the input of this command.
    Command(&'a str),
    /// The headers of a request to this host.
    Host(&'a str),
}

struct Secret {
    source: SecretSource,
    value: Option<String>,
}

/// The secrets that scripts may name. The values stay in here.
#[derive(Default)]
pub struct Secrets {
    by_name: BTreeMap<String, Secret>,
    scrubbed: Option<Arc<Forms>>,
}

/// Every form of every value, as one automaton.
pub(super) struct Forms {
    pub(super) automaton: AhoCorasick,
    pub(super) forms: Vec<Vec<u8>>,
    pub(super) longest: usize,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Secrets {
    /// Reads the values of the given secrets from the server's environment.
    pub fn from_env(sources: BTreeMap<String, SecretSource>) -> Self {
        Self::new(sources, |variable| std::env::var(variable).ok())
    }

    /// The given secrets, with the values that `value_of` finds for their variables.
    pub fn new(sources: BTreeMap<String, SecretSource>, value_of: impl Fn(&str) -> Option<String>) -> Self {
        let by_name: BTreeMap<_, _> = sources
            .into_iter()
            .map(|(name, source)| {
                let value = value_of(&source.env).filter(|value| !value.is_empty());
                (name, Secret { source, value })
            })
            .collect();
        let mut forms: Vec<Vec<u8>> = by_name
            .values()
            .filter_map(|secret| secret.value.as_deref())
            .filter(|value| value.len() >= VALUE_MIN_BYTES)
            .flat_map(forms_of)
            .collect();
        forms.sort();
        forms.dedup();
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&forms).ok();
        let longest = forms.iter().map(Vec::len).max().unwrap_or(0);
        let scrubbed =
            automaton.filter(|_| !forms.is_empty()).map(|automaton| Arc::new(Forms { automaton, forms, longest }));
        Self { by_name, scrubbed }
    }

    /// The variables that values come from: no child may see them.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.by_name.values().map(|secret| secret.source.env.as_str())
    }

    /// Whether `text` holds a placeholder.
    pub fn mentioned_in(text: &str) -> bool {
        text.contains(OPEN)
    }

    /// Refuses a placeholder where no value may stand: it would be taken for the value.
    ///
    /// # Errors
    /// `secret_not_allowed_here`; `what` names the place.
    pub fn refuse_in(text: &str, what: &str) -> Result<(), ErrorInfo> {
        if !Self::mentioned_in(text) {
            return Ok(());
        }
        Err(ErrorInfo::new(
            "secret_not_allowed_here",
            format!("{what} holds a secret's placeholder, which may stand in env, headers and stdin only"),
        ))
    }

    /// `text` with its placeholders replaced by their values.
    ///
    /// # Errors
    /// `unknown_secret`, `secret_not_set`, `secret_too_short`, or `secret_not_allowed` in that place.
    pub fn resolve(&self, text: &str, place: Place<'_>) -> Result<String, ErrorInfo> {
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let Some((name, after)) = after.split_once(CLOSE) else {
                return Err(ErrorInfo::new("unknown_secret", "a secret's placeholder was cut: pass it on whole"));
            };
            resolved.push_str(before);
            resolved.push_str(self.value(name, place)?);
            rest = after;
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    fn value(&self, name: &str, place: Place<'_>) -> Result<&str, ErrorInfo> {
        let Some(secret) = self.by_name.get(name) else {
            return Err(ErrorInfo::new(
                "unknown_secret",
                format!("there is no secret `{name}`: list it under [secrets.{name}] in the configuration"),
            ));
        };
        if !secret.source.allows(place) {
            let (what, key) = match place {
                Place::Command(command) => (format!("the command `{command}`"), "commands"),
                Place::Host(host) => (format!("the host `{host}`"), "hosts"),
            };
            return Err(ErrorInfo::new(
                "secret_not_allowed",
                format!("the secret `{name}` may not go to {what}: add it to `{key}` under [secrets.{name}]"),
            ));
        }
        match secret.value.as_deref() {
            None => Err(ErrorInfo::new(
                "secret_not_set",
                format!("the secret `{name}` has no value: set {} in the server's environment", secret.source.env),
            )),
            Some(value) if value.len() < VALUE_MIN_BYTES => Err(ErrorInfo::new(
                "secret_too_short",
                format!("the secret `{name}` has under {VALUE_MIN_BYTES} bytes, too few to keep it out of the log"),
            )),
            Some(value) => Ok(value),
        }
    }

    /// A scrubber for one stream of output.
    pub fn scrubber(&self) -> Scrubber {
        Scrubber::new(self.scrubbed.clone())
    }

    /// `text` without any value.
    pub fn scrub(&self, text: &str) -> String {
        match &self.scrubbed {
            None => text.to_owned(),
            Some(forms) => forms.automaton.replace_all(text, &vec![STARS; forms.forms.len()]),
        }
    }

    /// `json` without any value, be it in a text or in the name of a field.
    pub fn scrub_json(&self, json: &Json) -> Json {
        if self.scrubbed.is_none() {
            return json.clone();
        }
        Json::from(self.scrub_value(json.to_value()))
    }

    /// `value` without any value of a secret.
    pub fn scrub_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.scrub(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.scrub_value(item)).collect(),
            Value::Object(fields) => {
                let clean = |(name, field): (String, Value)| (self.scrub(&name), self.scrub_value(field));
                Value::Object(fields.into_iter().map(clean).collect())
            }
            // A key of digits alone is a number where a model writes it as one. A short one is one by chance.
            Value::Number(number) => match number.to_string() {
                text if text.len() >= DIGITS_MIN && self.scrub(&text) == STARS => STARS.into(),
                _ => Value::Number(number),
            },
            other @ (Value::Null | Value::Bool(_)) => other,
        }
    }

    /// An error without any value in its message and its details.
    pub fn scrub_error(&self, error: ErrorInfo) -> ErrorInfo {
        if self.scrubbed.is_none() {
            return error;
        }
        let details = error.details.as_ref().map(|details| self.scrub_json(details));
        ErrorInfo { message: self.scrub(&error.message), details, ..error }
    }

    /// Whether `json`, as it was recorded, may have held a value that was scrubbed.
    pub fn may_be_scrubbed(&self, json: &Json) -> bool {
        self.scrubbed.is_some() && json.as_str().contains(STARS)
    }

    /// Whether there is a value to scrub at all.
    pub fn any_value(&self) -> bool {
        self.scrubbed.is_some()
    }
}

impl SecretSource {
    fn allows(&self, place: Place<'_>) -> bool {
        match place {
            // A path is allowed by that path alone, a name by that name.
            Place::Command(command) => self.commands.iter().any(|allowed| allowed == command),
            Place::Host(host) => self.hosts.iter().any(|allowed| match allowed.strip_prefix("*.") {
                Some(domain) => host
                    .len()
                    .checked_sub(domain.len() + 1)
                    .is_some_and(|at| host.as_bytes()[at] == b'.' && host[at + 1..].eq_ignore_ascii_case(domain)),
                None => host.eq_ignore_ascii_case(allowed),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let source = |env: &str| SecretSource {
            env: env.into(),
            hosts: vec!["api.example.com".into(), "*.example.org".into()],
            commands: vec!["git".into(), "/opt/bin/deploy".into()],
        };
        let sources = [("GITHUB", "TOKEN"), ("UNSET", "NOTHING"), ("SHORT", "ONE")]
            .map(|(name, env)| (name.to_owned(), source(env)))
            .into();
        Secrets::new(sources, |variable| match variable {
            "TOKEN" => Some("hunter2-hunter2".into()),
            "ONE" => Some("1".into()),
            _ => None,
        })
    }

    #[test]
    fn a_placeholder_becomes_its_value_only_where_it_may_go() {
        let secrets = secrets();
        let text = "Bearer ⟦secret:GITHUB⟧!";
        for (place, allowed) in [
            (Place::Command("git"), true),
            (Place::Command("/opt/bin/deploy"), true),
            (Place::Command("/tmp/git"), false),
            (Place::Command("deploy"), false),
            (Place::Command("curl"), false),
            (Place::Host("API.example.com"), true),
            (Place::Host("a.b.example.org"), true),
            (Place::Host("example.org"), false),
            (Place::Host("evilexample.org"), false),
            (Place::Host("example.com"), false),
        ] {
            match secrets.resolve(text, place) {
                Ok(resolved) => assert!(allowed && resolved == "Bearer hunter2-hunter2!", "{place:?}: {resolved}"),
                Err(error) => assert!(!allowed && error.code == "secret_not_allowed", "{place:?}: {error}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_resolved_says_why() {
        let secrets = secrets();
        for (text, code) in [
            ("⟦secret:NOPE⟧", "unknown_secret"),
            ("⟦secret:UNSET⟧", "secret_not_set"),
            ("⟦secret:SHORT⟧", "secret_too_short"),
            ("⟦secret:GITHUB", "unknown_secret"),
        ] {
            assert_eq!(secrets.resolve(text, Place::Command("git")).unwrap_err().code, code, "{text}");
        }
    }

    #[test]
    fn a_placeholder_is_refused_where_no_value_may_stand() {
        assert_eq!(Secrets::refuse_in("plain", "an argument"), Ok(()));
        let error = Secrets::refuse_in("--token=⟦secret:GITHUB⟧", "an argument of `git`").unwrap_err();
        assert_eq!(error.code, "secret_not_allowed_here");
        assert!(error.message.starts_with("an argument of `git` holds"), "{error}");
    }

    #[test]
    fn json_is_scrubbed_in_depth_names_of_fields_included() {
        let json =
            Json::from(serde_json::json!({ "a": ["x hunter2-hunter2", 1, null], "hunter2-hunter2": { "b": "c" } }));
        assert_eq!(secrets().scrub_json(&json).as_str(), r#"{"***":{"b":"c"},"a":["x ***",1,null]}"#);
        let none = Secrets::default();
        assert_eq!(none.scrub_json(&json), json);
        let digits = [("N".to_owned(), SecretSource { env: "N".into(), ..SecretSource::default() })];
        let digits = Secrets::new(digits.into(), |_| Some("12345678".into()));
        assert_eq!(digits.scrub_json(&Json::from(serde_json::json!([12345678, 1234]))).as_str(), r#"["***",1234]"#);
    }

    #[test]
    fn nothing_prints_a_value() {
        assert!(!format!("{:?}", secrets()).contains("hunter2"));
    }
}
