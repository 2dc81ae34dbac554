//! Which events a feed shows.

use moonlog_core::{
    event::{Event, EventBody},
    id::{JobId, ProcessId, SessionId},
    log::{Kinds, Traits},
};
use std::str::FromStr;

/// Event types by name and by prefix: `chat.*,tool.finished`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Types {
    names: Vec<&'static str>,
    kinds: Kinds,
}

/// A text that names no event types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no event type and no prefix of one{}", nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
pub struct InvalidTypes {
    name: String,
    nearest: Option<&'static str>,
}

impl FromStr for Types {
    type Err = InvalidTypes;

    fn from_str(text: &str) -> Result<Self, InvalidTypes> {
        let mut wanted = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let before = wanted.len();
            match name.strip_suffix('*') {
                Some(prefix) => wanted.extend(EventBody::NAMES.iter().filter(|known| known.starts_with(prefix))),
                None => wanted.extend(EventBody::NAMES.iter().filter(|known| **known == name)),
            }
            if wanted.len() == before {
                let near = |known: &&&str| strsim::damerau_levenshtein(known, name);
                return Err(InvalidTypes {
                    name: name.chars().take(80).collect(),
                    nearest: EventBody::NAMES.iter().min_by_key(near).filter(|known| near(known) <= 4).copied(),
                });
            }
        }
        Ok(Self { kinds: Kinds::named(wanted.iter().copied()), names: wanted })
    }
}

impl Types {
    fn has(&self, name: &'static str) -> bool {
        self.names.iter().any(|wanted| std::ptr::eq(*wanted, name) || *wanted == name)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.names.iter().copied()
    }
}

/// What an event must be to be shown. What is not set is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these types.
    pub types: Option<Types>,
    /// Of this job.
    pub job: Option<JobId>,
    /// Of this session.
    pub session: Option<SessionId>,
    /// Of this process.
    pub process: Option<ProcessId>,
}

impl Filter {
    /// Whether everything is shown.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// The types of what is shown.
    pub fn kinds(&self) -> Kinds {
        self.types.as_ref().map_or(Kinds::ALL, |types| types.kinds)
    }

    /// Whether an event is shown, or would have been that was removed.
    pub fn wants(&self, event: &Traits) -> bool {
        self.job.is_none_or(|job| event.job == Some(job))
            && self.session.is_none_or(|session| event.session == Some(session))
            && self.process.is_none_or(|process| event.process == Some(process))
            && self.types.as_ref().is_none_or(|types| event.name.is_none_or(|name| types.has(name)))
    }

    /// Whether the event is shown.
    pub fn fits(&self, event: &Event) -> bool {
        self.wants(&Traits::from(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_names_and_prefixes() {
        let types: Types = "chat.*, tool.finished,,job.c*".parse().unwrap();
        assert!(types.names.contains(&"chat.delta") && types.names.contains(&"tool.finished"));
        assert!(types.names.contains(&"job.completed") && types.names.contains(&"job.cancelled"));
        assert!(!types.names.contains(&"tool.started") && !types.names.contains(&"job.failed"));
        assert_eq!("*".parse::<Types>().unwrap().names.len(), EventBody::NAMES.len());
        let error = "step.finishd".parse::<Types>().unwrap_err().to_string();
        assert!(error.ends_with("did you mean `step.finished`?"), "{error}");
        assert!("step".parse::<Types>().is_err());
        assert!("nothing.*".parse::<Types>().is_err());
    }
}
