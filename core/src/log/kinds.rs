//! Which types of events stand in which stretch of the log, as far as it was written or looked through since the start: a feed of types
//! that hardly occur looks at the rest once, and from then on only where they may be. In memory alone.

use super::shared::{read_lock, write_lock};
use crate::event::EventBody;
use std::sync::RwLock;

/// How many positions are in a stretch.
pub const STRETCH: u64 = 4_096;

/// The bit of codes that have none of their own, which may be any type.
const OTHERS: u32 = u128::BITS - 1;

/// A set of event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u128);

impl Kinds {
    /// All of them, those included that this version does not know.
    pub const ALL: Self = Self(u128::MAX);
    const NONE: Self = Self(0);

    /// The types of these names.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let wanted: Vec<&str> = names.into_iter().collect();
        let codes =
            (0..OTHERS as u16).filter(|code| EventBody::name_of(*code).is_some_and(|name| wanted.contains(&name)));
        codes.fold(Self(1 << OTHERS), |kinds, code| kinds.and(Some(code)))
    }

    /// With the type of this code; with all of them where it is not known.
    fn and(self, code: Option<u16>) -> Self {
        match code {
            Some(code) => Self(self.0 | 1 << u32::from(code).min(OTHERS)),
            None => Self::ALL,
        }
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The types in each stretch that is known. An event that is removed leaves its type behind, so what is known stays true.
#[derive(Default)]
pub struct Stretches(RwLock<Vec<Kinds>>);

impl Stretches {
    /// The last position up to which there is nothing of `wanted` from `position` on, as far as is known; `position - 1` where that is
    /// not known.
    pub fn without(&self, wanted: Kinds, position: u64) -> u64 {
        let known = read_lock(&self.0);
        let first = stretch_of(position);
        let lacks = |kinds: &&Kinds| **kinds != Kinds::NONE && !kinds.meets(wanted);
        match known.get(first..).unwrap_or_default().iter().take_while(lacks).count() as u64 {
            0 => position - 1,
            stretches => (first as u64 + stretches) * STRETCH,
        }
    }

    fn learn(&self, stretch: usize, kinds: Kinds) {
        let mut known = write_lock(&self.0);
        if known.len() <= stretch {
            known.resize(stretch + 1, Kinds::NONE);
        }
        known[stretch] = kinds;
    }
}

/// What is found of the stretch that is being looked through.
#[derive(Default)]
pub struct Found(Option<Kinds>);

impl Found {
    /// The event at `position` has this code. Positions come one after the other, or from [`Self::pass`] on.
    pub fn note(&mut self, position: u64, code: Option<u16>, stretches: &Stretches) {
        if position % STRETCH == 1 {
            self.0 = Some(Kinds::NONE);
        }
        self.0 = self.0.map(|kinds| kinds.and(code));
        if position.is_multiple_of(STRETCH)
            && let Some(kinds) = self.0.take()
        {
            stretches.learn(stretch_of(position), kinds);
        }
    }

    /// Some positions are not looked at.
    pub fn pass(&mut self) {
        self.0 = None;
    }
}

/// The end of the stretch that holds `position`.
pub fn end_of_stretch(position: u64) -> u64 {
    position.div_ceil(STRETCH).saturating_mul(STRETCH)
}

fn stretch_of(position: u64) -> usize {
    ((position - 1) / STRETCH) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_bit_of_its_own() {
        let alone = EventBody::NAMES.iter().map(|name| Kinds::named([*name]).0 & !(1 << OTHERS));
        let all = alone.fold(0, |all, bit| {
            assert_eq!((bit.count_ones(), all & bit), (1, 0));
            all | bit
        });
        assert_eq!(all | 1 << OTHERS, Kinds::named(EventBody::NAMES.iter().copied()).0);
    }

    #[test]
    fn a_type_that_is_not_known_may_be_any() {
        let logged = Kinds::named(["job.logged"]);
        assert!(Kinds::NONE.and(None).meets(logged) && Kinds::NONE.and(Some(u16::MAX)).meets(logged));
        assert!(!Kinds::NONE.and(Some(1)).meets(logged) || EventBody::name_of(1) == Some("job.logged"));
    }
}
