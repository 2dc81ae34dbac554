//! Markdown on a terminal: headings, lists, tables, quotes, code and emphasis, wrapped to its width. What it does not
//! know stays as it was written.

use super::{
    paint::{Look, Paint},
    table::Table,
};
use console::measure_text_width;

/// `markdown` as text for a terminal of this width.
pub fn render(markdown: &str, columns: usize, paint: Paint) -> String {
    let width = columns.clamp(20, 110);
    let mut out = Vec::new();
    let lines: Vec<&str> = markdown.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        at += block(&lines[at..], width, columns, paint, &mut out);
    }
    while out.last().is_some_and(String::is_empty) {
        out.pop();
    }
    let mut text = out.join("\n");
    text.push('\n');
    text
}

/// Renders the block that `lines` begin with; gives how many lines it took.
fn block(lines: &[&str], width: usize, columns: usize, paint: Paint, out: &mut Vec<String>) -> usize {
    let line = lines[0];
    let trimmed = line.trim_start();
    if trimmed.is_empty() {
        if out.last().is_some_and(|last| !last.is_empty()) {
            out.push(String::new());
        }
        return 1;
    }
    if let Some(fence) = fence(trimmed) {
        return code(lines, fence, paint, out);
    }
    if let Some((level, title)) = heading(trimmed) {
        let title = inline(title, paint);
        let title = if level == 1 { paint.put(Look::Underline, &title).into_owned() } else { title };
        out.push(paint.put(Look::Bold, &title).into_owned());
        return 1;
    }
    if lines.len() > 1 && trimmed.contains('|') && alignments(lines[1]).is_some() {
        return table(lines, columns, paint, out);
    }
    if is_rule(trimmed) {
        out.push(paint.put(Look::Dim, &"─".repeat(width)).into_owned());
        return 1;
    }
    if let Some(quoted) = trimmed.strip_prefix('>') {
        let bar = paint.put(Look::Dim, "│ ").into_owned();
        wrap(&inline(quoted.trim_start(), paint), width, &bar, &bar, out);
        return 1;
    }
    let indent = line.len() - trimmed.len();
    if let Some((bullet, text)) = item(trimmed) {
        let mut text = text.to_owned();
        let taken = continuation(&lines[1..], indent, &mut text);
        let first = format!("{}{bullet} ", " ".repeat(indent + 2));
        let rest = " ".repeat(measure_text_width(&first));
        wrap(&inline(&text, paint), width, &first, &rest, out);
        return 1 + taken;
    }
    let mut text = trimmed.to_owned();
    let taken = continuation(&lines[1..], 0, &mut text);
    wrap(&inline(&text, paint), width, "", "", out);
    1 + taken
}

/// Takes the lines that go on with a paragraph or an item.
fn continuation(lines: &[&str], indent: usize, text: &mut String) -> usize {
    let mut taken = 0;
    for line in lines {
        let trimmed = line.trim();
        let begins = trimmed.is_empty()
            || fence(trimmed).is_some()
            || heading(trimmed).is_some()
            || is_rule(trimmed)
            || trimmed.starts_with(['>', '|'])
            || item(trimmed).is_some();
        if begins || (indent > 0 && !line.starts_with(' ')) {
            break;
        }
        text.push(' ');
        text.push_str(trimmed);
        taken += 1;
    }
    taken
}

fn fence(line: &str) -> Option<&'static str> {
    ["```", "~~~"].into_iter().find(|mark| line.starts_with(mark))
}

fn code(lines: &[&str], fence: &str, paint: Paint, out: &mut Vec<String>) -> usize {
    let end = lines.iter().skip(1).position(|line| line.trim_start().starts_with(fence));
    let body = end.map_or(&lines[1..], |end| &lines[1..=end]);
    out.extend(body.iter().map(|line| format!("    {}", paint.put(Look::Cyan, line))));
    body.len() + 1 + usize::from(end.is_some())
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let level = line.bytes().take_while(|&b| b == b'#').count();
    let title = line.get(level..)?.strip_prefix(' ')?;
    (1..=6).contains(&level).then(|| (level, title.trim().trim_end_matches('#').trim_end()))
}

fn is_rule(line: &str) -> bool {
    let marks: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    marks.len() >= 3 && ["-", "*", "_"].iter().any(|mark| marks.replace(mark, "").is_empty())
}

/// A list's item: what stands before it, and its text.
fn item(line: &str) -> Option<(String, &str)> {
    for mark in ["- ", "* ", "+ "] {
        if let Some(text) = line.strip_prefix(mark) {
            let text = text.trim_start();
            let (mark, text) = match (text.strip_prefix("[ ] "), text.strip_prefix("[x] ")) {
                (Some(text), _) => ("☐", text),
                (_, Some(text)) => ("☑", text),
                _ => ("•", text),
            };
            return Some((mark.to_owned(), text));
        }
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let text = line.get(digits..)?.strip_prefix(['.', ')'])?.strip_prefix(' ')?;
    (1..=9).contains(&digits).then(|| (format!("{}.", &line[..digits]), text.trim_start()))
}

/// Whether each column is set to the right, where `line` is the rule under a table's heading.
fn alignments(line: &str) -> Option<Vec<bool>> {
    let columns: Vec<String> = cells(line);
    let rule = |cell: &String| cell.contains('-') && cell.chars().all(|c| matches!(c, '-' | ':'));
    (line.contains('|') && columns.iter().all(rule))
        .then(|| columns.iter().map(|cell| cell.ends_with(':') && !cell.starts_with(':')).collect())
}

/// The cells of a table's line. `\|` does not end one, nor does a `|` in code.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim();
    let line = line.strip_prefix('|').unwrap_or(line);
    let (mut all, mut cell, mut code) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'|') => cell.extend(chars.next()),
            '|' if !code => all.push(std::mem::take(&mut cell).trim().to_owned()),
            _ => {
                code ^= c == '`';
                cell.push(c);
            }
        }
    }
    if !cell.trim().is_empty() {
        all.push(cell.trim().to_owned());
    }
    all
}

fn table(lines: &[&str], columns: usize, paint: Paint, out: &mut Vec<String>) -> usize {
    let painted = |line: &str| cells(line).iter().map(|cell| inline(cell, paint)).collect::<Vec<_>>();
    let rows: Vec<_> = lines[2..].iter().take_while(|line| line.contains('|')).map(|line| painted(line)).collect();
    let taken = 2 + rows.len();
    let right = alignments(lines[1]).unwrap_or_default();
    let text = Table::of(painted(lines[0]), right, rows).render(Some(columns.saturating_sub(2)), paint);
    out.extend(text.lines().map(|line| format!("  {line}")));
    taken
}

/// Emphasis, code and links within a line.
fn inline(text: &str, paint: Paint) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        if let Some((shown, taken)) = span(rest, before, paint) {
            out.push_str(&shown);
            before = ' ';
            rest = &rest[taken..];
            continue;
        }
        let escaped = c == '\\' && rest[1..].starts_with(|c: char| c.is_ascii_punctuation());
        let from = usize::from(escaped);
        let c = rest[from..].chars().next().unwrap_or(c);
        if !c.is_control() {
            out.push(c);
        }
        before = c;
        rest = &rest[from + c.len_utf8()..];
    }
    out
}

/// The span that `text` begins with, as it is shown, and its length.
fn span(text: &str, before: char, paint: Paint) -> Option<(String, usize)> {
    if text.starts_with('`') {
        let ticks = text.bytes().take_while(|&b| b == b'`').count();
        let end = text[ticks..].find(&text[..ticks])?;
        let code = text[ticks..ticks + end].trim_matches(|c: char| c == ' ' && ticks > 1);
        let code: String = code.chars().filter(|c| !c.is_control()).collect();
        return Some((paint.put(Look::Cyan, &code).into_owned(), end + 2 * ticks));
    }
    if let Some(link) = text.strip_prefix('[') {
        let (label, after) = link.split_once("](")?;
        let (url, _) = after.split_once(')')?;
        if label.contains(['[', ']']) || url.contains(char::is_whitespace) {
            return None;
        }
        let shown = paint.put(Look::Underline, &inline(label, paint)).into_owned();
        let shown = if label == url { shown } else { format!("{shown} ({})", paint.put(Look::Dim, url)) };
        return Some((shown, 1 + label.len() + 2 + url.len() + 1));
    }
    for (mark, look) in [("**", Look::Bold), ("__", Look::Bold), ("*", Look::Italic), ("_", Look::Italic)] {
        let Some(inner) = text.strip_prefix(mark) else { continue };
        // Within a word `_` is a letter: snake_case.
        if mark.starts_with('_') && before.is_alphanumeric() {
            return None;
        }
        let end = inner.find(mark).filter(|&end| end > 0)?;
        let after = inner[end + mark.len()..].chars().next().unwrap_or(' ');
        let tight = !inner.starts_with(' ') && !inner[..end].ends_with(' ');
        if !tight || (mark.starts_with('_') && after.is_alphanumeric()) {
            return None;
        }
        let shown = inline(&inner[..end], paint);
        return Some((paint.put(look, &shown).into_owned(), end + 2 * mark.len()));
    }
    None
}

/// Breaks `text` between words so that no line is wider than `width`.
fn wrap(text: &str, width: usize, first: &str, rest: &str, out: &mut Vec<String>) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !empty && measure_text_width(&line) + 1 + measure_text_width(word) > width {
            out.push(std::mem::replace(&mut line, rest.to_owned()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r"# repo-report: `moonlog`

A **small** repository with *one* author; see [the site](https://example.com/x) and snake_case_names.
This goes on in the same paragraph, which is long enough to be wrapped at sixty columns.

## Languages ##
| language | files | lines |
|---|---:|--:|
| Rust | 12 | 3,456 |
| a \| b `c|d` | 1 | 2 |

- first item, which is so long that it has to go on in a second line of its own
  and has a lazy continuation
  - nested
* [x] done
1. one
2) two

> quoted **text**

---
```rust
fn main() { *a* }
```
unclosed **bold and `code
";

    #[test]
    fn a_report_is_readable_as_plain_text() {
        insta::assert_snapshot!(render(REPORT, 60, Paint::OFF));
    }

    #[test]
    fn a_report_is_painted() {
        insta::assert_snapshot!(render(REPORT, 60, Paint::ON).replace('\x1b', "␛"));
    }

    #[test]
    fn nothing_breaks_it() {
        for text in [
            "",
            "#",
            "|",
            "|-|",
            "| a |\n|---|",
            "```",
            "**",
            "[](",
            "\\",
            "`",
            "- ",
            "1.",
            "a\x1b[2Jb",
            "é*é*_",
            "\u{1F600}|\n|-|",
        ] {
            let shown = render(text, 40, Paint::OFF);
            assert!(!shown.contains('\x1b'), "{text:?} -> {shown:?}");
        }
    }
}
