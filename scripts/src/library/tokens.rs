//! A script as tokens with their lines: enough to tell names from what only looks like them. It takes any text, also one
//! that does not compile.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name or a keyword.
    Name(&'a str),
    /// A number or a string.
    Literal,
    /// An operator or a bracket.
    Symbol(&'a str),
}

/// Operators of more than one character, the longest first.
const LONG_SYMBOLS: &[&str] =
    &["...", "..=", "//=", "==", "~=", "<=", ">=", "::", "->", "..", "+=", "-=", "*=", "/=", "%=", "^=", "//"];

/// The tokens of `source`, each with its line.
pub(super) fn tokens(source: &str) -> Vec<(Token<'_>, u32)> {
    let mut lexer = Lexer { source, at: 0, line: 1, out: Vec::new() };
    // A brace too many ends a part; what follows is looked at all the same.
    while lexer.at < source.len() {
        lexer.until_brace();
    }
    lexer.out
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
    out: Vec<(Token<'a>, u32)>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.rest()[..bytes];
        self.line += passed.bytes().filter(|byte| *byte == b'\n').count() as u32;
        self.at += bytes;
    }

    /// Reads on until a closing brace that was not opened here, or to the end.
    fn until_brace(&mut self) {
        let mut depth = 0_u32;
        while let Some(first) = self.rest().chars().next() {
            let rest = self.rest();
            match first {
                c if c.is_whitespace() => self.advance(c.len_utf8()),
                '-' if rest.starts_with("--") => self.comment(),
                '"' | '\'' => self.quoted(first),
                '`' => self.interpolated(),
                '[' if long_bracket(rest).is_some() => {
                    let line = self.line;
                    self.long_text();
                    self.out.push((Token::Literal, line));
                }
                c if c.is_ascii_digit() => {
                    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
                    self.push(Token::Literal, end.unwrap_or(rest.len()));
                }
                c if c.is_alphabetic() || c == '_' => {
                    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                    self.push(Token::Name(&rest[..end]), end);
                }
                c => {
                    let long = LONG_SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
                    let end = long.map_or(c.len_utf8(), |symbol| symbol.len());
                    self.push(Token::Symbol(&rest[..end]), end);
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => return,
                        '}' => depth -= 1,
                        _ => {}
                    }
                }
            }
        }
    }

    fn push(&mut self, token: Token<'a>, bytes: usize) {
        self.out.push((token, self.line));
        self.advance(bytes);
    }

    fn comment(&mut self) {
        self.advance(2);
        if long_bracket(self.rest()).is_some() {
            return self.long_text();
        }
        let end = self.rest().find('\n').unwrap_or(self.rest().len());
        self.advance(end);
    }

    /// A text in long brackets, which may go over many lines.
    fn long_text(&mut self) {
        let Some(level) = long_bracket(self.rest()) else { return };
        let close = format!("]{}]", "=".repeat(level));
        let end = self.rest().find(&close).map_or(self.rest().len(), |end| end + close.len());
        self.advance(end);
    }

    fn quoted(&mut self, quote: char) {
        let line = self.line;
        self.advance(1);
        let mut escaped = false;
        let end = self.rest().find(|c: char| {
            let ends = !escaped && (c == quote || c == '\n');
            escaped = !escaped && c == '\\';
            ends
        });
        self.advance(end.map_or(self.rest().len(), |end| end + 1));
        self.out.push((Token::Literal, line));
    }

    /// A text in backticks: what stands in braces is looked at like any other part.
    fn interpolated(&mut self) {
        self.push(Token::Literal, 1);
        let mut escaped = false;
        while let Some(c) = self.rest().chars().next() {
            self.advance(c.len_utf8());
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '`' => return,
                '{' => self.until_brace(),
                _ => {}
            }
        }
    }
}

/// How many `=` stand in the long bracket that `text` begins with, if it does.
fn long_bracket(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('[')?;
    let level = inner.bytes().take_while(|byte| *byte == b'=').count();
    inner[level..].starts_with('[').then_some(level)
}
