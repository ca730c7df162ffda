//! Numbers that a seed decides.

/// Marsaglia's xorshift, which is random enough to choose what to do next.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Never 0, and seeds that are close start far apart.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}
