//! The trace of a file of events.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use thalweg::stable_hash;

use crate::balance::{Epoch, Trace};
use crate::fault::Skipped;
use crate::recorded::RecordedArguments;
use crate::rows::{Layout, Rows, Timed};

/// Counts the events of each key and epoch, and the rows that were left out.
pub fn read(path: &Path, arguments: &RecordedArguments) -> Result<(Trace, Skipped)> {
    let layout = Layout {
        time: arguments.time_column.as_deref().unwrap_or_default(),
        unit: arguments.time_unit,
        keys: &arguments.key_columns,
        value: None,
        lenient: arguments.lenient,
    };
    let mut rows = Rows::open(path, &layout)?;
    let epochs = arguments.epochs();
    let mut indices: HashMap<u64, u32> = HashMap::new();
    let mut counted: Vec<Epoch> = Vec::new();
    let mut open: HashMap<u32, u32> = HashMap::new();
    let (mut first, mut index, mut number) = (None, 0, 0);
    while let Some(Timed { time, event, .. }) = rows.next()? {
        // Times don't decrease, so this is their distance even where that doesn't fit an i64.
        let since = time.wrapping_sub(*first.get_or_insert(time)) as u64;
        let now = epochs.number(index, since);
        index += 1;
        if now != number {
            counted.push(Epoch { number, counts: open.drain().collect() });
            number = now;
        }
        let next = u32::try_from(indices.len())?;
        *open.entry(*indices.entry(stable_hash(&event.key)).or_insert(next)).or_default() += 1;
    }
    counted.push(Epoch { number, counts: open.into_iter().collect() });
    if indices.is_empty() {
        bail!("the input {} has no events: expected rows below the header", path.display());
    }
    Ok((sorted(indices, counted), rows.skipped()))
}

/// Numbers keys in the order of their routing keys.
fn sorted(indices: HashMap<u64, u32>, mut epochs: Vec<Epoch>) -> Trace {
    let mut keys: Vec<(u64, u32)> = indices.into_iter().collect();
    keys.sort_unstable();
    let mut ranks = vec![0; keys.len()];
    (0..).zip(&keys).for_each(|(rank, (_, index))| ranks[*index as usize] = rank);
    for epoch in &mut epochs {
        epoch.counts.iter_mut().for_each(|(key, _)| *key = ranks[*key as usize]);
        epoch.counts.sort_unstable();
        epoch.counts.shrink_to_fit();
    }
    let keys = keys.into_iter().map(|(key, _)| key).collect();
    Trace { keys, length: epochs.len() as u64, epochs: Box::new(epochs.into_iter()) }
}
