//! Call paths: where in a script's call tree an operation stands.
//!
//! Segments are joined by `/`. A segment is a name with `:n` for the nth of that name in its scope when n > 1. Inside a
//! step's function the scope is `<step>@<attempt>`. Names are percent-escaped, so `/`, `:` and `@` have one meaning.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::{collections::HashMap, sync::Arc};

const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b':')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A place where operations are counted by name.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// The path of what is inside, without the last `/`; empty at the top.
    pub prefix: Arc<str>,
    /// What `job.logged` and the like refer to: the enclosing step or branch.
    pub reference: Option<Arc<str>>,
    counts: HashMap<Box<str>, u32>,
}

impl Scope {
    /// The scope of the branch at `path`.
    pub fn branch(path: Arc<str>) -> Self {
        Self { reference: Some(Arc::clone(&path)), prefix: path, counts: HashMap::new() }
    }

    /// The scope inside an attempt at the step at `path`.
    pub fn step(path: Arc<str>, attempt: u32) -> Self {
        Self { prefix: format!("{path}@{attempt}").into(), reference: Some(path), counts: HashMap::new() }
    }

    /// The path of the next thing named `name` in here.
    pub fn segment(&mut self, name: &str) -> Arc<str> {
        let n = match self.counts.get_mut(name) {
            Some(n) => {
                *n += 1;
                *n
            }
            None => {
                self.counts.insert(name.into(), 1);
                1
            }
        };
        let mut path = String::with_capacity(self.prefix.len() + name.len() + 8);
        if !self.prefix.is_empty() {
            path.push_str(&self.prefix);
            path.push('/');
        }
        if name.is_empty() {
            // A segment is never empty: `%` cannot come from escaping.
            path.push('%');
        }
        path.extend(utf8_percent_encode(name, ESCAPED));
        if n > 1 {
            path.push(':');
            path.push_str(&n.to_string());
        }
        path.into()
    }
}
