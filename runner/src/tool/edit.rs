//! Edits of a text: what is replaced by what, and why an edit does not apply. Pure.

/// How many lines are named where a text is found more than once.
const LINES_NAMED_MAX: usize = 10;
/// How many lines are compared with one that is not found.
const LINES_COMPARED_MAX: usize = 20_000;
/// How much of a line is shown in an error, in bytes.
const LINE_SHOWN_BYTES: usize = 200;
/// How alike a line must be to be worth a word, from 0 to 1.
const ALIKE_MIN: f64 = 0.3;

/// A replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit<'a> {
    pub old_text: &'a str,
    pub new_text: &'a str,
    pub replace_all: bool,
}

/// Why an edit does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// `no_match`, `ambiguous_match` or `no_change`.
    pub code: &'static str,
    /// For a model.
    pub message: String,
}

/// The text with the edit applied, and how often that was.
pub(super) fn apply(text: &str, edit: &Edit<'_>) -> Result<(String, usize), Fault> {
    if edit.old_text == edit.new_text {
        let message = "old_text and new_text are the same: there is nothing to change".into();
        return Err(Fault { code: "no_change", message });
    }
    let places = places(text, edit.old_text);
    if places.is_empty() && text.contains("\r\n") && edit.old_text.contains('\n') && !edit.old_text.contains('\r') {
        // The file's line ends are not those that its text is written with here.
        let (old, new) = (edit.old_text.replace('\n', "\r\n"), edit.new_text.replace('\n', "\r\n"));
        if text.contains(&old) {
            return apply(text, &Edit { old_text: &old, new_text: &new, replace_all: edit.replace_all });
        }
    }
    match places.as_slice() {
        [] => Err(Fault { code: "no_match", message: not_found(text, edit.old_text) }),
        [_] => Ok((text.replacen(edit.old_text, edit.new_text, 1), 1)),
        _ if edit.replace_all => {
            let times = text.matches(edit.old_text).count();
            Ok((text.replace(edit.old_text, edit.new_text), times))
        }
        _ => Err(Fault { code: "ambiguous_match", message: ambiguous(text, &places) }),
    }
}

/// Where `old` stands, also where it overlaps itself.
fn places(text: &str, old: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(old) {
        places.push(from + at);
        from += at + old.chars().next().map_or(1, char::len_utf8);
    }
    places
}

fn ambiguous(text: &str, places: &[usize]) -> String {
    let line_of = |at: &usize| (text[..*at].matches('\n').count() + 1).to_string();
    let named: Vec<String> = places.iter().take(LINES_NAMED_MAX).map(line_of).collect();
    let more = if places.len() > LINES_NAMED_MAX { ", ..." } else { "" };
    format!(
        "old_text is there {} times, on lines {}{more}: take in lines around it until it is unique, or set replace_all",
        places.len(),
        named.join(", ")
    )
}

fn not_found(text: &str, old: &str) -> String {
    if text.is_empty() {
        return "old_text was not found: the file is empty; write_file gives it a content".into();
    }
    if let Some((first, last)) = but_for_whitespace(text, old) {
        let lines = if first == last { format!("line {first} is") } else { format!("lines {first} to {last} are") };
        return format!(
            "old_text was not found: {lines} the same but for whitespace; copy it as it stands in the file"
        );
    }
    match nearest_line(text, old) {
        Some((number, line)) => {
            let shown = &line[..line.floor_char_boundary(LINE_SHOWN_BYTES)];
            format!("old_text was not found; the nearest line is {number}: `{shown}`")
        }
        None => "old_text was not found, and no line of the file is like it; read_file shows what it holds".into(),
    }
}

/// The first and the last line of what is `old` when whitespace does not count.
fn but_for_whitespace(text: &str, old: &str) -> Option<(usize, usize)> {
    fn squeezed(line: &str) -> String {
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }
    let wanted: Vec<String> = old.trim().lines().map(squeezed).collect();
    let first = wanted.first().filter(|line| !line.is_empty())?;
    let lines: Vec<&str> = text.lines().collect();
    let at = (0..lines.len().saturating_sub(wanted.len() - 1)).find(|at| {
        squeezed(lines[*at]) == *first
            && wanted.iter().zip(&lines[*at..]).all(|(wanted, line)| squeezed(line) == *wanted)
    })?;
    Some((at + 1, at + wanted.len()))
}

/// The line that is most like the first of `old` that says something.
fn nearest_line<'a>(text: &'a str, old: &str) -> Option<(usize, &'a str)> {
    let wanted =
        old.lines().map(str::trim).find(|line| line.len() > 2).or_else(|| old.lines().next().map(str::trim))?;
    let mut nearest: Option<(f64, usize, &str)> = None;
    for (at, line) in text.lines().take(LINES_COMPARED_MAX).enumerate() {
        let short = &line[..line.floor_char_boundary(wanted.len() * 3 + 100)];
        let alike = strsim::sorensen_dice(wanted, short.trim());
        if alike >= ALIKE_MIN && nearest.is_none_or(|(most, ..)| alike > most) {
            nearest = Some((alike, at + 1, line));
        }
    }
    nearest.map(|(_, number, line)| (number, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit<'a>(old_text: &'a str, new_text: &'a str) -> Edit<'a> {
        Edit { old_text, new_text, replace_all: false }
    }

    #[test]
    fn edits_apply_where_they_match_once_or_everywhere() {
        let applied = |text: &str, edit: &Edit<'_>| apply(text, edit).unwrap();
        assert_eq!(applied("a b c", &edit("b", "x")), ("a x c".into(), 1));
        assert_eq!(applied("a b b", &Edit { replace_all: true, ..edit("b", "x") }), ("a x x".into(), 2));
        assert_eq!(applied("a b", &Edit { replace_all: true, ..edit("b", "bb") }), ("a bb".into(), 1));
        assert_eq!(applied("one\r\ntwo\r\n", &edit("one\ntwo\n", "1\n2\n")), ("1\r\n2\r\n".into(), 1));
    }

    #[test]
    fn what_does_not_apply_says_why_and_what_is_near() {
        let text = "fn main() {\n    let total = sum(values);\n    print(total);\n    print(total);\n}\n";
        let told = |old: &str, new: &str| {
            let fault = apply(text, &edit(old, new)).unwrap_err();
            format!("{}: {}", fault.code, fault.message)
        };
        insta::assert_snapshot!(told("let totals = sum(value);", ""), @"no_match: old_text was not found; the nearest line is 2: `    let total = sum(values);`");
        insta::assert_snapshot!(told("fn main()  {\n  let total = sum(values);", ""), @"no_match: old_text was not found: lines 1 to 2 are the same but for whitespace; copy it as it stands in the file");
        insta::assert_snapshot!(told("print(total);", ""), @"ambiguous_match: old_text is there 2 times, on lines 3, 4: take in lines around it until it is unique, or set replace_all");
        insta::assert_snapshot!(told("zzzzzz qqqqq", ""), @"no_match: old_text was not found, and no line of the file is like it; read_file shows what it holds");
        insta::assert_snapshot!(told("print", "print"), @"no_change: old_text and new_text are the same: there is nothing to change");
        assert_eq!(apply("", &edit("a", "b")).unwrap_err().code, "no_match");
        // It overlaps itself: which of the two is meant?
        assert_eq!(apply("aaa", &edit("aa", "b")).unwrap_err().code, "ambiguous_match");
    }
}
