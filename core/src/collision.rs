//! Collisions: two open sessions have changed the same file, and how close to each other. Advisory: nothing is refused
//! because of one.

use crate::codec::{Decode, Encode};
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
