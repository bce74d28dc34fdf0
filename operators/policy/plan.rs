use super::loads::{Shard, tune};
use crate::keyspace::KeyRange;

/// A move that pays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) shard: KeyRange,
    pub(crate) to: usize,
}

/// Finds moves by local search.
pub(crate) struct Planner {
    pub(crate) workers: usize,
    pub(crate) likelihood: Vec<f64>,
    pub(crate) horizon: f64,
    pub(crate) move_cost: f64,
    pub(crate) error: f64,
}

/// Load of every worker in every epoch remembered.
struct Board {
    loads: Vec<Vec<f64>>,
    /// Sum of the powers of loads per epoch.
    powers: Vec<f64>,
    limit: Vec<f64>,
    scale: f64,
}

fn kp() -> i32 {
    use std::sync::OnceLock;
    static X: OnceLock<f64> = OnceLock::new();
    *X.get_or_init(|| tune("P", 8.0)) as i32
}
fn kr() -> f64 {
    use std::sync::OnceLock;
    static X: OnceLock<f64> = OnceLock::new();
    *X.get_or_init(|| tune("R", tune("P", 8.0)))
}
fn power(x: f64) -> f64 {
    x.max(0.0).powi(kp())
}
fn root(x: f64) -> f64 {
    x.max(0.0).powf(1.0 / kr())
}

impl Board {
    fn norm(&self, epoch: usize) -> f64 {
        root(self.powers[epoch])
    }
    fn cost_of(&self, epoch: usize, norm: f64) -> f64 {
        norm + tune_regret() * (norm - self.limit[epoch]).max(0.0)
    }
}
fn tune_regret() -> f64 {
    use std::sync::OnceLock;
    static X: OnceLock<f64> = OnceLock::new();
    *X.get_or_init(|| tune("REGRET", 0.0))
}
fn zz() -> f64 {
    use std::sync::OnceLock;
    static X: OnceLock<f64> = OnceLock::new();
    *X.get_or_init(|| tune("Z", 0.0))
}
fn home_gain() -> f64 {
    use std::sync::OnceLock;
    static X: OnceLock<f64> = OnceLock::new();
    *X.get_or_init(|| tune("HGAIN", 0.01))
}
fn min_gain() -> f64 {
    use std::sync::OnceLock;
    static X: OnceLock<f64> = OnceLock::new();
    *X.get_or_init(|| tune("GAIN", 0.01))
}

impl Planner {
    pub(crate) fn moves(&self, shards: &[Shard]) -> Vec<Step> {
        let epochs = self.likelihood.len();
        let total: f64 = shards.iter().map(|s| s.load).sum();
        let fair = total / self.workers as f64;
        if !(fair > 0.0) {
            return Vec::new();
        }
        let scale = fair.recip();
        let mut owners: Vec<usize> = shards.iter().map(|s| s.owner).collect();
        let mut board = Board {
            loads: vec![vec![0.0; self.workers]; epochs],
            powers: vec![0.0; epochs],
            limit: vec![f64::INFINITY; epochs],
            scale,
        };
        let mut home = vec![vec![0.0; self.workers]; epochs];
        for shard in shards {
            for e in 0..epochs {
                board.loads[e][shard.owner] += shard.recent[e] * scale;
                home[e][shard.home] += shard.recent[e] * scale;
            }
        }
        for e in 0..epochs {
            board.powers[e] = board.loads[e].iter().map(|x| power(*x)).sum();
            board.limit[e] = root(home[e].iter().map(|x| power(*x)).sum());
        }
        let err = self.error.powf(tune("POW", 2.0));
        let bar = 0.001 + min_gain() * err;
        let ret = if tune("RET", -1.0) >= 0.0 { 0.0011 + home_gain() * err + tune("RET", 0.0) * err } else { 0.0 };
        let home_bar = 0.001 + home_gain() * err;
        let mut steps: Vec<Step> = Vec::new();
        while steps.len() < 200 {
            let mut best: Option<(f64, usize, usize)> = None;
            for (i, s) in shards.iter().enumerate() {
                let a = owners[i];
                for b in 0..self.workers {
                    if b == a {
                        continue;
                    }
                    let mut gain = 0.0;
                    let mut square = 0.0;
                    for e in 0..epochs {
                        let x = s.recent[e] * scale;
                        if x == 0.0 {
                            continue;
                        }
                        let (la, lb) = (board.loads[e][a], board.loads[e][b]);
                        let p = board.powers[e] - power(la) - power(lb) + power(la - x) + power(lb + x);
                        let g = board.cost_of(e, board.norm(e)) - board.cost_of(e, root(p));
                        gain += self.likelihood[e] * g;
                        square += self.likelihood[e] * g * g;
                    }
                    // moving back is free of charge once moved
                    let cost = if b == s.owner { 0.0 } else { s.bytes * self.move_cost * scale / self.horizon };
                    let spread = (square - gain * gain).max(0.0).sqrt();
                    let net = gain - zz() * spread - cost;
                    let bar = if b == s.home { home_bar - ret } else { bar };
                    if net > bar && best.is_none_or(|x| net > x.0) {
                        best = Some((net, i, b));
                    }
                }
            }
            let Some((_, i, b)) = best else { break };
            let a = owners[i];
            for e in 0..epochs {
                let x = shards[i].recent[e] * scale;
                board.loads[e][a] -= x;
                board.loads[e][b] += x;
                board.powers[e] = board.loads[e].iter().map(|x| power(*x)).sum();
            }
            owners[i] = b;
            steps.retain(|s| s.shard != shards[i].range);
            if b != shards[i].owner {
                steps.push(Step { shard: shards[i].range, to: b });
            }
        }
        let _ = board.scale;
        steps
    }
}
