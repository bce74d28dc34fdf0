use super::keysample::KEY_SAMPLE;
use super::sampler::Random;

/// A uniform sample of keys of which all weigh the same: Algorithm R (Vitter, "Random sampling with a reservoir", 1985).
/// Cheaper than [`KeySample`](super::keysample::KeySample), but it can't be merged as it is.
#[derive(Debug, Default)]
pub(super) struct Reservoir {
    kept: Vec<u64>,
    seen: u64,
}

impl Reservoir {
    #[inline]
    pub(super) fn observe(&mut self, key: u64, random: &mut Random) {
        self.seen += 1;
        if self.kept.len() < KEY_SAMPLE {
            self.kept.push(key);
        } else if let Some(kept) = self.kept.get_mut(random.below(self.seen) as usize) {
            *kept = key;
        }
    }

    /// The number of keys that it is a sample of.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// The sample in an order that says nothing.
    pub(super) fn shuffled(mut self, random: &mut Random) -> Vec<u64> {
        for at in 1..self.kept.len() {
            self.kept.swap(at, random.below(at as u64 + 1) as usize);
        }
        self.kept
    }
}
