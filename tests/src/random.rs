//! Numbers that look random and follow from a seed.

/// A small generator.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        // The generator stays at zero for ever.
        Self(seed | 1)
    }

    /// The generator of `MOONLOG_SEED`, else of `seed`; which one is printed, so that a failure can be had again.
    #[expect(clippy::print_stdout, reason = "tests print their seeds")]
    pub fn from_env(seed: u64) -> Self {
        let seed = from_env("MOONLOG_SEED", seed);
        println!("MOONLOG_SEED={seed}");
        Self::new(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next number, below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

/// The number in an environment variable, else `default`.
pub fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
