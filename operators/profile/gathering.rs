use super::{Sampler, Statistics};

/// What the shards of one worker see in an epoch (stub until the real one is merged).
#[derive(Debug)]
pub struct Gathering {
    sampler: Sampler,
    slots: Vec<u32>,
    live: Vec<(u32, Statistics)>,
}

impl Gathering {
    /// x
    pub fn new(sample: f64, seed: u64) -> Self {
        Gathering { sampler: Sampler::new(sample, seed), slots: Vec::new(), live: Vec::new() }
    }

    fn slot(&mut self, shard: u32) -> &mut Statistics {
        if self.slots.len() <= shard as usize {
            self.slots.resize(shard as usize + 1, 0);
        }
        let slot = &mut self.slots[shard as usize];
        if *slot == 0 {
            self.live.push((shard, Statistics::default()));
            *slot = self.live.len() as u32;
        }
        &mut self.live[*slot as usize - 1].1
    }

    /// x
    pub fn observe(
        &mut self,
        shards: &[u32],
        keys: &[u64],
        value: impl Fn(usize) -> f64,
        size: impl Fn(usize) -> usize,
    ) {
        for (i, (shard, key)) in shards.iter().zip(keys).enumerate() {
            let mut sampler = self.sampler.clone();
            self.slot(*shard).observe(*key, value(i), size(i), &mut sampler);
            self.sampler = sampler;
        }
    }

    /// x
    pub fn add_busy(&mut self, shard: u32, nanos: u64) {
        self.slot(shard).add_busy(nanos);
    }

    /// x
    pub fn take(&mut self, mut each: impl FnMut(u32, Statistics)) {
        for (shard, statistics) in self.live.drain(..) {
            self.slots[shard as usize] = 0;
            each(shard, statistics);
        }
    }
}
