use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Two to this many registers: a relative standard error of 1.15 % at most, in four kilobytes.
const LG_REGISTERS: u32 = 13;
const REGISTERS: usize = 1 << LG_REGISTERS;

/// Two registers of four bits share a byte.
const BYTES: usize = REGISTERS / 2;

/// What a register holds at most. It takes hundreds of millions of keys until most registers are there.
const HIGHEST: u32 = 15;

/// Newton's method is at its end after half a dozen steps, unless nearly all registers are at their highest.
const STEPS: usize = 24;

/// `HyperLogLog` (Flajolet and others, 2007) with registers of four bits that stop at 15.
///
/// A hash picks a register by its first bits, and the number of zeros at its end, plus one, is the least that the
/// register is raised to. So it does not depend on the order of keys and merges. The estimate is the most likely number
/// (Ertl, "New cardinality estimation algorithms for `HyperLogLog` sketches", 2017), which needs no corrections for few
/// keys or for registers that have stopped.
#[derive(Clone, Debug)]
pub(super) struct Registers(Box<[u8; BYTES]>);

impl Default for Registers {
    fn default() -> Self {
        Registers(Box::new([0; BYTES]))
    }
}

impl Registers {
    #[inline]
    pub(super) fn observe(&mut self, hash: u32) {
        let pair = &mut self.0[(hash >> (32 - LG_REGISTERS + 1)) as usize];
        let half = (hash >> (32 - LG_REGISTERS)) % 2 * 4;
        let register = u32::from(*pair >> half) % 16;
        // Most hashes end here: they have no more zeros than the register has seen.
        if hash & ((1 << register) - 1) == 0 {
            raise(pair, half, register, hash);
        }
    }

    pub(super) fn merge(&mut self, other: &Registers) {
        for (ours, theirs) in self.0.iter_mut().zip(&*other.0) {
            *ours = (*ours & 0x0f).max(*theirs & 0x0f) | (*ours & 0xf0).max(*theirs & 0xf0);
        }
    }

    /// The most likely number of keys.
    pub(super) fn estimate(&self) -> f64 {
        REGISTERS as f64 * most_likely(&self.count())
    }

    /// How many registers hold what.
    fn count(&self) -> [f64; 16] {
        let mut pairs = [[0u16; 256]; 2];
        for two in self.0.chunks_exact(2) {
            pairs[0][usize::from(two[0])] += 1;
            pairs[1][usize::from(two[1])] += 1;
        }
        let mut counts = [0.0; 16];
        for (pair, (a, b)) in pairs[0].iter().zip(&pairs[1]).enumerate() {
            let count = f64::from(a + b);
            counts[pair % 16] += count;
            counts[pair / 16] += count;
        }
        counts
    }
}

#[cold]
#[inline(never)]
fn raise(pair: &mut u8, half: u32, register: u32, hash: u32) {
    let seen = (hash.trailing_zeros() + 1).min(HIGHEST);
    if seen > register {
        *pair = (*pair & !(15 << half)) | ((seen as u8) << half);
    }
}

/// Keys per register that make these counts of registers most likely.
///
/// At `x` keys per register, one is at most `k < 15` with the probability `exp(-x / 2^k)`. The derivative of the
/// logarithm of what is to be maximised falls with `x` and is convex, so that Newton's method, from below, climbs to
/// where it is 0. It starts from the bound that `y / (exp(y) - 1) >= 1 - y / 2` gives.
fn most_likely(counts: &[f64; 16]) -> f64 {
    let scale = |k: usize| (-(k.min(14) as f64)).exp2();
    let raised: f64 = counts[1..].iter().sum();
    if raised == 0.0 {
        return 0.0;
    }
    let below: f64 = (0..15).map(|k| counts[k] * scale(k)).sum();
    let half: f64 = (1..16).map(|k| counts[k] * scale(k)).sum::<f64>() / 2.0;
    let mut x = raised / (below + half);
    for _ in 0..STEPS {
        let (mut slope, mut bend) = (-below, 0.0);
        for k in 1..16 {
            let growth = (x * scale(k)).exp_m1();
            slope += counts[k] * scale(k) / growth;
            bend += counts[k] * scale(k).powi(2) * (growth + 1.0) / (growth * growth);
        }
        let step = slope / bend;
        if step.is_nan() || step <= 1e-9 * x {
            break;
        }
        x += step;
    }
    x
}

impl Serialize for Registers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&*self.0)
    }
}

/// Any bytes are possible registers, if there are so many.
impl<'de> Deserialize<'de> for Registers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
        let bytes: Box<[u8; BYTES]> = (bytes.into_boxed_slice().try_into())
            .map_err(|_| de::Error::custom("a sketch of distinct keys has another number of registers"))?;
        Ok(Registers(bytes))
    }
}
