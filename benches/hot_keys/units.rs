//! What each thing that workers do costs, measured in this process.

use thalweg::aggregate::{HotKeys, Spotting};
use thalweg::policy::{PolicyConfig, Static};
use thalweg::{Config, Rebalance, stable_hash};
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

use super::arm::Done;
use super::common::{cpu_seconds, interleave};
use super::partials;

/// Keys of the dataflows from which costs are taken: as many as are hot, and their states lie near.
const KEYS: u64 = 2_048;

/// Keys that a gate folds while it looks at others in vain.
const HOT: u64 = 500;

/// Records of a key in an epoch, in the two runs between which the cost of a record is told from that of a key.
const FEW: u64 = 1;
const MANY: u64 = 16;

/// CPU time, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    /// Applying a record to the state of its key.
    pub apply: f64,
    /// Folding a record at the gate.
    pub fold: f64,
    /// Passing a record on at a gate that folds others.
    pub pass: f64,
    /// The same at a gate that has found no key hot.
    pub spot: f64,
    /// A partial where it is begun: making it, sending it, and telling of it.
    pub begin: f64,
    /// A partial where it is taken in.
    pub merge: f64,
    /// A key that comes or goes.
    pub r#move: f64,
}

impl Units {
    pub fn measure(pairs: usize, epochs: u64) -> Self {
        let per_record = |form, records| move || seconds(form, records, epochs) / (epochs * KEYS * records) as f64;
        let folded = |each| move || partials::fold(KEYS, each, epochs) / (epochs * KEYS * each) as f64;
        let merged = |each| move || partials::merge(KEYS, each, epochs) / (epochs * KEYS * each) as f64;
        let [source, applied_few, applied_many, folded_few, folded_many, merged_few, merged_many, passed, spotted] =
            interleave(
                pairs,
                [
                    &per_record(Form::Source, MANY),
                    &per_record(Form::Apply, FEW),
                    &per_record(Form::Apply, MANY),
                    &folded(FEW),
                    &folded(MANY),
                    &merged(FEW),
                    &merged(MANY),
                    &|| pass(HOT, epochs),
                    &|| pass(0, epochs),
                ],
            )
            .map(|sample| sample.median());
        // A record in so many of its key costs `record + key / many`.
        let (few, many) = (FEW as f64, MANY as f64);
        let split = |few_records: f64, many_records: f64| {
            let key = (few_records - many_records) / (1.0 / few - 1.0 / many);
            (many_records - key / many - source, key)
        };
        let (apply, _) = split(applied_few, applied_many);
        let (fold, begin) = split(folded_few, folded_many);
        let (merge, _) = split(merged_few, merged_many);
        let r#move = apply * PolicyConfig::MOVE_COST * super::KEY_BYTES;
        Units { apply, fold, pass: passed, spot: spotted, begin, merge, r#move }
    }

    /// Relative to applying a record.
    pub fn json(&self) -> serde_json::Value {
        let units = [self.fold, self.pass, self.spot, self.begin, self.merge];
        let [fold, pass, spot, begin, merge] = units.map(|unit| unit / self.apply);
        serde_json::json!({ "fold": fold, "pass": pass, "spot": spot, "begin": begin, "merge": merge })
    }

    pub fn seconds(&self, done: &Done) -> f64 {
        let Done { applied, folded, passed, begun, merged, moved } = *done;
        applied as f64 * self.apply
            + folded as f64 * self.fold
            + passed as f64 * self.pass
            + begun as f64 * self.begin
            + merged as f64 * self.merge
            + moved as f64 * self.r#move
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The source alone.
    Source,
    /// All records go to the states of their keys.
    Apply,
}

/// CPU time of a worker for so many epochs, in each of which all keys have so many records.
fn seconds(form: Form, records: u64, epochs: u64) -> f64 {
    let batch: Vec<u64> = (0..records).flat_map(|_| 0..KEYS).collect();
    timely::execute_directly(move |worker| {
        let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
        // What is told of a shard once an epoch is no cost of a key.
        let config = Config { shards: 1, ..Config::default() };
        worker.dataflow::<u64, _, _>(|scope| {
            let data = scope.input_from(&mut input).container::<Vec<u64>>();
            if form == Form::Source {
                data.probe_with(&probe);
                return;
            }
            let counts = data
                .rebalance(&config, stable_hash::<u64>)
                .and_then(|stage| stage.policy(Static))
                .expect("the configuration is valid")
                .fold_epochs(
                    |key| *key,
                    |_, count: &mut u64| *count += 1,
                    |count, more| *count += more,
                    |count, total: &mut u64, context| {
                        *total += count;
                        context.give(*total);
                    },
                );
            counts.container::<Vec<u64>>().probe_with(&probe);
        });
        let warm = 2 * config.lead;
        let mut started = 0.0;
        for epoch in 0..warm + epochs {
            if epoch == warm {
                started = cpu_seconds();
            }
            batch.chunks(1024).for_each(|chunk| input.send_batch(&mut chunk.to_vec()));
            input.advance_to(epoch + 1);
            worker.step_while(|| probe.less_than(&epoch));
        }
        cpu_seconds() - started
    })
}

/// CPU time of a record that a gate passes on, while it folds so many other keys.
fn pass(hot: u64, epochs: u64) -> f64 {
    let (mut taken, records) = (0, super::RECORDS_PER_WORKER as u64);
    let batches: Vec<Vec<u64>> =
        (0..records).collect::<Vec<_>>().chunks(1024).map(|batch| batch.iter().map(|i| KEYS + i).collect()).collect();
    let hot: Vec<u64> = (0..hot).map(|key| stable_hash(&key)).collect();
    let started = cpu_seconds();
    for epoch in 0..epochs {
        let mut keys = HotKeys::new(Spotting::new(8, epoch), &hot);
        for batch in &batches {
            keys.spot(batch, stable_hash::<u64>);
            if keys.is_empty() {
                continue;
            }
            taken += batch.iter().filter(|key| keys.take(stable_hash::<u64>(key))).count();
        }
    }
    std::hint::black_box(taken);
    (cpu_seconds() - started) / (epochs * records) as f64
}
