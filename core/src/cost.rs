//! Money, as whole trillionths of the configuration's currency: prices per million tokens with up to six decimals add up
//! without any rounding. As JSON it is a number of units of that currency.

use crate::codec::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const PER_UNIT: f64 = 1e12;

/// What something has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Cost(u64);

impl Cost {
    /// So many units of the currency, to the nearest trillionth; nothing where that is negative or no number.
    pub fn of_units(units: f64) -> Self {
        // The cast cuts what is out of bounds to them, and turns what is no number to zero.
        Self((units * PER_UNIT).round() as u64)
    }

    /// What `tokens` cost at `price` for a million of them.
    pub fn of_tokens(tokens: u64, price: f64) -> Self {
        let for_one = (price * PER_UNIT / 1e6).round() as u64;
        Self(tokens.saturating_mul(for_one))
    }

    /// Units of the currency.
    pub fn units(self) -> f64 {
        self.0 as f64 / PER_UNIT
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Serialize for Cost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.units().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self::of_units)
    }
}

/// Adds up what may have no price.
pub fn sum(one: Option<Cost>, other: Option<Cost>) -> Option<Cost> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.plus(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_prices_add_up_exactly() {
        // Ten times a tenth is one, which it is not in floating point.
        let tenth = Cost::of_tokens(100_000, 1.0);
        let all = (0..10).fold(Cost::default(), |all, _| all.plus(tenth));
        assert_eq!((all.units(), all), (1.0, Cost::of_units(1.0)));
        let odd = Cost::of_tokens(3, 0.037_5).plus(Cost::of_tokens(7, 0.15));
        assert_eq!(serde_json::to_string(&odd).unwrap(), "1.1625e-6");
        for cost in [odd, Cost(1), Cost(123_456_789_012_345), Cost::of_units(9_000.0)] {
            let text = serde_json::to_string(&cost).unwrap();
            assert_eq!(serde_json::from_str::<Cost>(&text).unwrap(), cost, "{text}");
        }
        assert_eq!((Cost::of_units(-1.0), Cost::of_units(f64::NAN)), (Cost::default(), Cost::default()));
    }
}
