//! Random numbers from a seed, the same on every platform: only `+`, `-`, `*`, `/` and comparisons, because `ln`,
//! `exp` and `cos` differ between maths libraries.

/// SplitMix64 (Steele, Lea and Flood, 2014): 2^64 numbers before it repeats. Not for secrets.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0, below 1; 53 random bits.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Nearly normal: mean 0, variance 1, within ±6. A sum of 12 uniform numbers has variance 1.
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// Exponential with mean 1, below 64. Von Neumann's method (1951): the first of a falling run of uniform numbers
    /// is taken when the run has odd length, and each run of even length before it adds 1.
    pub(super) fn exponential(&mut self) -> f64 {
        for whole in 0..63 {
            let first = self.uniform();
            let mut last = first;
            let mut length = 1;
            loop {
                let next = self.uniform();
                if next >= last {
                    break;
                }
                last = next;
                length += 1;
            }
            if length % 2 == 1 {
                return f64::from(whole) + first;
            }
        }
        63.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_its_published_numbers() {
        let mut random = Random::new(1_234_567);
        for expected in [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423] {
            assert_eq!(random.next(), expected);
        }
    }

    #[test]
    fn means_and_variances_are_as_said() {
        let check = |draw: fn(&mut Random) -> f64, mean: f64, variance: f64| {
            let mut random = Random::new(1);
            let values: Vec<f64> = (0..100_000).map(|_| draw(&mut random)).collect();
            let found = values.iter().sum::<f64>() / values.len() as f64;
            let spread = values.iter().map(|x| (x - found) * (x - found)).sum::<f64>() / values.len() as f64;
            assert!((found - mean).abs() < 0.02, "mean {found}, not {mean}");
            assert!((spread - variance).abs() < 0.05, "variance {spread}, not {variance}");
        };
        check(Random::uniform, 0.5, 1.0 / 12.0);
        check(Random::normal, 0.0, 1.0);
        check(Random::exponential, 1.0, 1.0);
    }
}
