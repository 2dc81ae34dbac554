//! What can be told from a command line without running it. It is no shell: what it does not see runs as it stands.

/// The command without the `&` at its end that would put it in the background; `None` where there is none. `&&`, `|&`
/// and `\&` are something else.
pub(super) fn without_trailing_ampersand(command: &str) -> Option<&str> {
    let before = command.trim().strip_suffix('&')?;
    let other = before.ends_with(['&', '|', '\\', '>', '<']);
    let rest = before.trim();
    (!other && !rest.is_empty()).then_some(rest)
}

/// How many seconds the command begins by sleeping, where that is 2 or more.
pub(super) fn leading_sleep(command: &str) -> Option<f64> {
    let first = command.trim_start().split([';', '&', '|', '\n', '#']).next()?;
    let mut words = first.split_whitespace();
    if !matches!(words.next()?, "sleep" | "/bin/sleep" | "/usr/bin/sleep") {
        return None;
    }
    let mut seconds = 0.0;
    for word in words {
        seconds += self::seconds(word)?;
    }
    (seconds >= 2.0).then_some(seconds)
}

/// What `sleep` makes of an argument.
fn seconds(word: &str) -> Option<f64> {
    let at = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
    let (number, unit) = word.split_at(at);
    let factor = match unit {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "infinity" | "inf" if number.is_empty() => return Some(f64::INFINITY),
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

/// Whether the command does nothing with a file but show it: `cat FILE`, `head -50 FILE`, `sed -n '1,20p' FILE`.
pub(super) fn dumps_a_file(command: &str) -> bool {
    // What goes into a pipe or a file is no dump.
    if command.contains(['|', '>', '<', '`', '$']) {
        return false;
    }
    command.split([';', '&', '\n']).any(|part| {
        let words: Vec<&str> = part.split_whitespace().collect();
        let Some((program, args)) = words.split_first() else { return false };
        let names_a_file = args.last().is_some_and(|last| !last.starts_with('-') && last.parse::<u64>().is_err());
        match *program {
            "cat" | "bat" | "less" | "more" | "nl" | "head" => names_a_file,
            "tail" => names_a_file && !args.iter().any(|arg| matches!(*arg, "-f" | "-F" | "--follow")),
            "sed" => {
                let prints = args.iter().any(|arg| arg.trim_matches(['\'', '"']).ends_with('p'));
                args.contains(&"-n") && prints && args.len() > 2
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_ampersand_is_told_from_what_looks_like_one() {
        for (command, rest) in [
            ("server &", Some("server")),
            ("server&", Some("server")),
            ("  server --port 1 &  \n", Some("server --port 1")),
            ("make 2>&1 &", Some("make 2>&1")),
            ("a & b &", Some("a & b")),
            ("a && b", None),
            ("a &&", None),
            ("a |&", None),
            ("echo \\&", None),
            ("a & b", None),
            ("echo '&'", None),
            ("cat <&", None),
            ("&", None),
            ("", None),
        ] {
            assert_eq!(without_trailing_ampersand(command), rest, "{command}");
        }
    }

    #[test]
    fn a_leading_sleep_is_seen() {
        for (command, seconds) in [
            ("sleep 2", Some(2.0)),
            ("  sleep 30 && make test", Some(30.0)),
            ("sleep 5; ls", Some(5.0)),
            ("sleep 1m", Some(60.0)),
            ("sleep 1 1", Some(2.0)),
            ("sleep 2.5s", Some(2.5)),
            ("/bin/sleep 3", Some(3.0)),
            ("sleep infinity", Some(f64::INFINITY)),
            ("sleep 1", None),
            ("sleep 1.9", None),
            ("sleep 0.5; sleep 9", None),
            ("echo a; sleep 5", None),
            ("sleep", None),
            ("sleep $N", None),
            ("sleepy 5", None),
            ("", None),
        ] {
            assert_eq!(leading_sleep(command), seconds, "{command}");
        }
    }

    #[test]
    fn dumps_of_files_are_seen() {
        for command in [
            "cat a.rs",
            "cat -n a.rs",
            "cd src && cat a.rs",
            "head -50 a",
            "head -n 5 a",
            "tail a",
            "less a",
            "sed -n '1,20p' a",
        ] {
            assert!(dumps_a_file(command), "{command}");
        }
        for command in [
            "cat",
            "cat > a",
            "cat <<EOF",
            "cat a | wc -l",
            "cat a > b",
            "tail -f a",
            "head -5",
            "sed -i s/a/b/ a",
            "grep x a",
            "echo cat a",
        ] {
            assert!(!dumps_a_file(command), "{command}");
        }
    }
}
