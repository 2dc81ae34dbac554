//! The known name that looks most like one that is not known.

/// The candidate that is nearest to `given`, where one is near enough to be what was meant.
pub(super) fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (given.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(given, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_seen() {
        let names = ["read_file", "write_file", "execute"];
        assert_eq!(nearest("raed_file", names), Some("read_file"));
        assert_eq!(nearest("readfile", names), Some("read_file"));
        assert_eq!(nearest("excute", names), Some("execute"));
        assert_eq!(nearest("deploy", names), None);
    }
}
