//! How close two changes of a file are to each other.

use crate::{
    codec::{Decode, Encode},
    event::Lines,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How close two changes of a file are to each other. Closer ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Proximity {
    /// They change the same line, or insert at the same place.
    SameLine,
    /// They are within five lines of each other.
    AdjacentLine,
    /// They are farther apart.
    DifferentArea,
}

impl Proximity {
    const ALL: [Self; 3] = [Self::SameLine, Self::AdjacentLine, Self::DifferentArea];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SameLine => "same_line",
            Self::AdjacentLine => "adjacent_line",
            Self::DifferentArea => "different_area",
        }
    }
}

impl fmt::Display for Proximity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Proximity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|proximity| proximity.as_str() == text).ok_or(())
    }
}

/// Within how many lines of each other changes are adjacent.
const ADJACENT_LINES: u64 = 5;

/// How close two changes are, given the lines that each touches, in the same coordinates.
pub fn proximity(a: &[Lines], b: &[Lines]) -> Proximity {
    match distance(&spans(a), &spans(b)) {
        Some(0) => Proximity::SameLine,
        Some(halves) if halves <= 2 * ADJACENT_LINES => Proximity::AdjacentLine,
        _ => Proximity::DifferentArea,
    }
}

/// First and last, in half lines: a line is an even number, the place between two lines an odd one.
type Span = (u64, u64);

/// The spans of some lines, in order, with those that overlap made one.
fn spans(lines: &[Lines]) -> Vec<Span> {
    let span = |lines: &Lines| {
        let start = 2 * u64::from(lines.start);
        match u64::from(lines.count) {
            0 => (start + 1, start + 1),
            count => (start, start + 2 * (count - 1)),
        }
    };
    let mut all: Vec<Span> = lines.iter().map(span).collect();
    all.sort_unstable();
    all.dedup_by(|next, last| {
        let overlaps = next.0 <= last.1;
        if overlaps {
            last.1 = last.1.max(next.1);
        }
        overlaps
    });
    all
}

/// The least distance between spans of two lists that are in order and do not overlap among themselves.
fn distance(a: &[Span], b: &[Span]) -> Option<u64> {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    let mut least: Option<u64> = None;
    while let (Some(first), Some(second)) = (a.peek(), b.peek()) {
        let apart = first.0.max(second.0).saturating_sub(first.1.min(second.1));
        least = Some(least.map_or(apart, |least| least.min(apart)));
        if first.1 < second.1 {
            a.next()
        } else {
            b.next()
        };
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(start: u32, count: u32) -> Lines {
        Lines { start, count }
    }

    #[test]
    fn how_close() {
        use Proximity::*;
        let table = [
            ("the same line", lines(10, 1), lines(10, 1), SameLine),
            ("one within the other", lines(1, 100), lines(50, 2), SameLine),
            ("overlapping ends", lines(1, 5), lines(5, 5), SameLine),
            ("the next line", lines(10, 1), lines(11, 1), AdjacentLine),
            ("five lines on", lines(10, 1), lines(15, 1), AdjacentLine),
            ("six lines on", lines(10, 1), lines(16, 1), DifferentArea),
            ("after the last of many", lines(10, 5), lines(19, 1), AdjacentLine),
            ("an insertion at the same place", lines(7, 0), lines(7, 0), SameLine),
            ("an insertion within", lines(7, 0), lines(5, 6), SameLine),
            ("an insertion right before", lines(9, 0), lines(10, 1), AdjacentLine),
            ("an insertion right behind", lines(10, 0), lines(10, 1), AdjacentLine),
            ("an insertion far away", lines(20, 0), lines(10, 1), DifferentArea),
            ("both made the file", lines(0, 0), lines(0, 0), SameLine),
            ("all of it", lines(1, u32::MAX), lines(4_000, 1), SameLine),
        ];
        for (what, a, b, expected) in table {
            assert_eq!(proximity(&[a], &[b]), expected, "{what}");
        }
        assert_eq!(proximity(&[], &[lines(1, 1)]), DifferentArea, "no line is changed");
        assert_eq!(proximity(&[lines(1, 1), lines(90, 1)], &[lines(50, 1), lines(94, 0)]), AdjacentLine);
    }

    fn any_lines() -> impl Strategy<Value = Vec<Lines>> {
        prop::collection::vec((0..60_u32, 0..5_u32).prop_map(|(start, count)| lines(start, count)), 0..8)
    }

    proptest! {
        #[test]
        fn it_does_not_matter_who_is_asked(a in any_lines(), b in any_lines()) {
            prop_assert_eq!(proximity(&a, &b), proximity(&b, &a));
        }

        #[test]
        fn it_is_that_of_the_closest_two(a in any_lines(), b in any_lines()) {
            let pairs = a.iter().flat_map(|a| b.iter().map(move |b| proximity(&[*a], &[*b])));
            prop_assert_eq!(proximity(&a, &b), pairs.min().unwrap_or(Proximity::DifferentArea));
        }

        #[test]
        fn a_change_is_on_its_own_lines(a in any_lines()) {
            prop_assume!(!a.is_empty());
            prop_assert_eq!(proximity(&a, &a), Proximity::SameLine);
        }
    }
}
