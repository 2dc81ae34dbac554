//! What is likely to be a mistake in a script that compiles: names that are not there. A warning and no more: names that a
//! script gives itself anywhere are taken as known everywhere.

use super::{
    check::Problem,
    tokens::{Token, tokens},
};
use std::collections::{BTreeMap, HashSet};

const KEYWORDS: &[&str] = &[
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or",
    "repeat", "return", "then", "true", "until", "while", "continue", "type", "export",
];

/// More warnings than that help nobody.
const WARNINGS_MAX: usize = 100;

/// How like a known name an unknown one must be for it to be suggested.
const LIKE: f64 = 0.8;

/// The names that scripts are offered: globals, and the fields of those that are tables as `table.field`.
pub(super) struct Offered {
    globals: HashSet<String>,
    tables: HashSet<String>,
    fields: HashSet<String>,
}

impl Offered {
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut offered = Self { globals: HashSet::new(), tables: HashSet::new(), fields: HashSet::new() };
        for name in names {
            match name.split_once('.') {
                Some((table, _)) => {
                    offered.globals.insert(table.to_owned());
                    offered.tables.insert(table.to_owned());
                    offered.fields.insert(name);
                }
                None => drop(offered.globals.insert(name)),
            }
        }
        offered
    }
}

/// The line on which a script gives a field this name for the first time, as in `args = {`.
pub(super) fn line_of_field(source: &str, field: &str) -> Option<u32> {
    let tokens = tokens(source);
    let is_given = |pair: &&[(Token<'_>, u32)]| pair[0].0 == Token::Name(field) && pair[1].0 == Token::Symbol("=");
    tokens.windows(2).find(is_given).map(|pair| pair[0].1)
}

/// Names that a script uses and nobody has given.
pub(super) fn unknown_names(source: &str, offered: &Offered) -> Vec<Problem> {
    let mut reader = Reader { tokens: tokens(source), at: 0, given: HashSet::new(), used: Vec::new() };
    reader.read();
    let mut found: BTreeMap<(u32, String), String> = BTreeMap::new();
    for (name, field, line) in &reader.used {
        if reader.given.contains(name) {
            continue;
        }
        let message = match field {
            _ if !offered.globals.contains(*name) => {
                let nearest =
                    nearest(name, offered.globals.iter().map(String::as_str).chain(reader.given.iter().copied()));
                format!("unknown global `{name}`{nearest}")
            }
            Some(field) if offered.tables.contains(*name) && !offered.fields.contains(&format!("{name}.{field}")) => {
                let prefix = format!("{name}.");
                let nearest = nearest(field, offered.fields.iter().filter_map(|known| known.strip_prefix(&prefix)));
                format!("`{name}` has no `{field}`{nearest}")
            }
            _ => continue,
        };
        found.entry((*line, message.clone())).or_insert(message);
    }
    let problems = found.into_iter().map(|((line, _), message)| Problem { line: Some(line), message });
    problems.take(WARNINGS_MAX).collect()
}

pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let likeness = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let nearest =
        likeness.filter(|(likeness, _)| *likeness > LIKE).max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)));
    nearest.map_or_else(String::new, |(_, known)| format!(": did you mean `{known}`?"))
}

/// Sorts names into those that are given and those that are used.
struct Reader<'a> {
    tokens: Vec<(Token<'a>, u32)>,
    at: usize,
    given: HashSet<&'a str>,
    /// Each with the field that is taken of it, and its line.
    used: Vec<(&'a str, Option<&'a str>, u32)>,
}

impl<'a> Reader<'a> {
    fn token(&self, ahead: usize) -> Option<Token<'a>> {
        self.tokens.get(self.at + ahead).map(|(token, _)| *token)
    }

    fn is(&self, ahead: usize, symbol: &str) -> bool {
        self.token(ahead) == Some(Token::Symbol(symbol))
    }

    fn name(&self, ahead: usize) -> Option<&'a str> {
        match self.token(ahead) {
            Some(Token::Name(name)) => Some(name),
            _ => None,
        }
    }

    fn read(&mut self) {
        while let Some((token, line)) = self.tokens.get(self.at).copied() {
            match token {
                Token::Name("local") if self.name(1) == Some("function") => self.at += 1,
                Token::Name("local" | "for") => {
                    self.at += 1;
                    self.names();
                }
                Token::Name("function") => self.function(),
                Token::Name("type") if self.name(1).is_some_and(|name| !KEYWORDS.contains(&name)) => {
                    // A type of the script's own: its name, its parameters, and what it stands for.
                    self.at += 2;
                    while self.at < self.tokens.len() && !self.is(0, "=") {
                        self.at += 1;
                    }
                    self.at += 1;
                    self.pass_type();
                }
                Token::Symbol("::") => {
                    self.at += 1;
                    self.pass_type();
                }
                // A field or a method: whose it is stands before it.
                Token::Symbol("." | ":" | "@") => self.at += 2,
                Token::Name(name) if !KEYWORDS.contains(&name) => {
                    if self.is(1, "=") {
                        self.given.insert(name);
                        self.assigned_beside();
                    } else {
                        let field = if self.is(1, ".") { self.name(2) } else { None };
                        self.used.push((name, field, line));
                    }
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
    }

    /// `a` in `a, b = 1, 2` is given too.
    fn assigned_beside(&mut self) {
        let mut at = self.at;
        while at >= 2 && self.tokens[at - 1].0 == Token::Symbol(",") {
            let Token::Name(name) = self.tokens[at - 2].0 else { return };
            self.given.insert(name);
            at -= 2;
        }
    }

    /// Names with their types, as behind `local` and `for`.
    fn names(&mut self) {
        while let Some(name) = self.name(0) {
            self.given.insert(name);
            self.at += 1;
            if self.is(0, ":") {
                self.at += 1;
                self.pass_type();
            }
            if self.is(0, "<") && self.is(2, ">") {
                self.at += 3;
            }
            if !self.is(0, ",") {
                return;
            }
            self.at += 1;
        }
    }

    /// A function's name, parameters and type; its body is read like the rest.
    fn function(&mut self) {
        self.at += 1;
        if let Some(name) = self.name(0) {
            if !(self.is(1, ".") || self.is(1, ":")) {
                self.given.insert(name);
            }
            self.given.insert("self");
            while self.name(0).is_some() || self.is(0, ".") || self.is(0, ":") {
                self.at += 1;
            }
        }
        if self.is(0, "<") {
            while self.at < self.tokens.len() && !self.is(0, ">") {
                self.at += 1;
            }
            self.at += 1;
        }
        if !self.is(0, "(") {
            return;
        }
        self.at += 1;
        self.names();
        if self.is(0, "...") {
            self.at += 1;
            if self.is(0, ":") {
                self.at += 1;
                self.pass_type();
            }
        }
        if self.is(0, ")") {
            self.at += 1;
        }
        if self.is(0, ":") {
            self.at += 1;
            self.pass_type();
        }
    }

    /// Passes over a type: its names are no values.
    fn pass_type(&mut self) {
        loop {
            if self.is(0, "...") {
                self.at += 1;
            }
            match self.token(0) {
                Some(Token::Symbol("{" | "(")) => self.pass_brackets(),
                Some(Token::Name(_) | Token::Literal) => {
                    self.at += 1;
                    while self.is(0, ".") {
                        self.at += 2;
                    }
                    if self.is(0, "<") || (self.name(0).is_none() && self.is(0, "(")) {
                        self.pass_brackets();
                    }
                }
                _ => return,
            }
            while self.is(0, "?") {
                self.at += 1;
            }
            if !(self.is(0, "|") || self.is(0, "&") || self.is(0, "->")) {
                return;
            }
            self.at += 1;
        }
    }

    fn pass_brackets(&mut self) {
        let mut depth = 0_u32;
        while let Some(token) = self.token(0) {
            self.at += 1;
            match token {
                Token::Symbol("{" | "(" | "<" | "[") => depth += 1,
                Token::Symbol("}" | ")" | ">" | "]") => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(source: &str) -> Vec<String> {
        let names = ["print", "exec", "parallel", "json.encode", "json.decode", "string.find", "args", "type", "pairs"];
        let found = unknown_names(source, &Offered::new(names.map(String::from)));
        found.into_iter().map(|p| format!("{}: {}", p.line.unwrap_or_default(), p.message)).collect()
    }

    #[test]
    fn names_that_nobody_has_given_are_told_with_their_lines() {
        let source = "local a = 1\nprint(a, b)\nexce('x')\njson.encod(a)\nreturn json.decode(a) .. `x {c} {a}`";
        assert_eq!(
            warnings(source),
            [
                "2: unknown global `b`",
                "3: unknown global `exce`: did you mean `exec`?",
                "4: `json` has no `encod`: did you mean `encode`?",
                "5: unknown global `c`"
            ]
        );
    }

    #[test]
    fn what_only_looks_like_a_name_is_no_name() {
        let source = r#"
            -- comment nope
            --[[ nope
            nope ]]
            type Pair<T> = { left: T, right: nope | (a: T) -> nope }
            export type Other = typeof(print) & string
            local t: Pair<number>, u = { key = 1, ["nope"] = 2, [1] = "nope" }, [==[ nope ]==]
            global, other = 1, 2
            function named(a: string, ...: any): (number, string) return a, ... end
            function t.field.deeper(x) return x.nope, t:nope(x), self end
            local function rec<K, V>(k: K): V? return rec(k) :: any end
            for i, v: number in pairs(t) do print(i, v, global, other, named) end
            parallel { one = function() return type(t) end }
            if not t then print('it\'s "nope"', "\"nope") else continue end
            return args, string.find, `a \{nope} {t.x}`, 0x1F, 1e-5, u, rec"#;
        assert_eq!(warnings(source), Vec::<String>::new());
    }

    #[test]
    fn a_field_is_found_by_its_line() {
        assert_eq!(line_of_field("return {\n  name = 'x', -- args = 1\n  args = {},\n}", "args"), Some(3));
        assert_eq!(line_of_field("return { name == 1 }", "name"), None);
    }
}
