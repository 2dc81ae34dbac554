//! Signals by name and by number.

use moonlog_core::error_info::ErrorInfo;
use nix::sys::signal::Signal;

/// The number of the signal that is named, with or without `SIG`, in any case; also `terminate` and `interrupt`.
pub(super) fn number_of(name: &str) -> Result<i32, ErrorInfo> {
    let upper = name.to_ascii_uppercase();
    let full = match upper.as_str() {
        "TERMINATE" => "SIGTERM".to_owned(),
        "INTERRUPT" => "SIGINT".to_owned(),
        _ if upper.starts_with("SIG") => upper,
        _ => format!("SIG{upper}"),
    };
    full.parse::<Signal>().map(|signal| signal as i32).map_err(|_| {
        let name: String = name.chars().take(40).collect();
        ErrorInfo::new(
            "unknown_signal",
            format!("`{name}` is no signal: use terminate, kill, interrupt, or a name such as SIGHUP"),
        )
    })
}

/// The name of a signal, such as `SIGKILL`.
pub(super) fn name_of(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) if number >= libc::SIGRTMIN() => format!("SIGRTMIN+{}", number - libc::SIGRTMIN()),
        Err(_) => format!("SIG{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_found_by_any_of_their_names() {
        for (name, number) in
            [("terminate", 15), ("kill", 9), ("interrupt", 2), ("SIGHUP", 1), ("usr1", 10), ("Term", 15)]
        {
            assert_eq!(number_of(name), Ok(number), "{name}");
        }
        assert_eq!(number_of("nope").unwrap_err().code, "unknown_signal");
        assert_eq!((name_of(9).as_str(), name_of(37).as_str()), ("SIGKILL", "SIGRTMIN+3"));
    }
}
