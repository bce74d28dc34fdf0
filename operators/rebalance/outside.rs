//! How records come into a loop from outside, and go out of it.

use timely::dataflow::StreamVec;

use super::Loop;
use crate::checkpoint::{Checkpoints, Covered};
use crate::epoch::Ticks;
use crate::error::Error;
use crate::sink::{EpochSink, SinkSettings, When, write};
use crate::source::{Epoching, ReplaySource, SourceSettings, read};

impl<'scope, T: Ticks> Loop<'scope, T> {
    /// Adds a source: its records, each at the start of its epoch, each partition on one worker.
    ///
    /// It reads as fast as the loop and the sinks can follow, and its positions are part of checkpoints, by `name`; a
    /// run that resumes goes on from them. To be called after [`checkpoint_to`](Loop::checkpoint_to). An error if a
    /// partition can't be opened, or if the checkpoint that the run resumes from does not know the source or has other
    /// partitions. Errors that come later are put into the fault.
    ///
    /// ```
    /// use thalweg::source::{Epoching, Lines};
    /// use thalweg::{Config, Loop, Rebalance, stable_hash};
    /// use timely::dataflow::operators::Inspect;
    ///
    /// let file = tempfile::NamedTempFile::new().unwrap();
    /// std::fs::write(&file, "Castro\nMarket\nCastro\n").unwrap();
    /// let path = file.path().to_owned();
    /// timely::example(move |scope| {
    ///     let looped = Loop::new(scope, &Config::default()).unwrap();
    ///     let epochs = Epoching::records(2).unwrap();
    ///     looped.source("stations", Lines::new([&path]).unwrap(), epochs).unwrap()
    ///         .rebalance(&looped.key_space("keys").unwrap(), |station| stable_hash(station)).unwrap()
    ///         .fold_keyed(String::clone, |station, count: &mut u64, out| { *count += 1; out.give((station, *count)) })
    ///         .inspect(|(station, count)| println!("{station}: {count}"));
    /// });
    /// ```
    pub fn source<S: ReplaySource<Record: Clone>>(
        &self,
        name: &str,
        source: S,
        epoching: Epoching<S::Record>,
    ) -> Result<StreamVec<'scope, T, S::Record>, Error> {
        let mut shared = self.0.borrow_mut();
        shared.reserve(name)?;
        let resumed = shared.checkpoints().and_then(Checkpoints::resumed);
        let resumed = resumed.map(|manifest| {
            let known = || {
                let what = format!("it has no positions of the source {name:?}: name the source as before");
                Error::incompatible(manifest.name(), what)
            };
            manifest.sources.get(name).cloned().ok_or_else(known)
        });
        let settings = SourceSettings {
            name: name.to_owned(),
            epochs: shared.epochs(),
            from: shared.checkpoints().map_or(0, Checkpoints::epoch),
            resumed: resumed.transpose()?,
            fault: shared.fault().clone(),
        };
        let (control, written) = (shared.control(), shared.ends.written());
        let streams = read(&source, &epoching, control, written, settings)?;
        shared.ends.add_source(name.to_owned(), streams.covered);
        Ok(streams.records)
    }

    /// Adds a sink: it takes the output of each epoch, and makes it visible atomically and exactly once. See
    /// [`sink`](crate::sink) for what is guaranteed.
    ///
    /// Up to the frontier of the stream that comes back, which carries nothing, the output is durable: to be probed by
    /// a program that feeds the loop itself and must not run ahead of the disk. To be called after
    /// [`checkpoint_to`](Loop::checkpoint_to). An error if the sink can't be opened, if the checkpoint that the run
    /// resumes from does not know it, or if it waits for checkpoints and none are taken. Errors that come later are put
    /// into the fault. [`EpochFiles`](crate::sink::EpochFiles) has an example.
    pub fn sink<S: EpochSink>(
        &self,
        name: &str,
        output: StreamVec<'scope, T, S::Record>,
        sink: S,
    ) -> Result<StreamVec<'scope, T, Covered>, Error> {
        let mut shared = self.0.borrow_mut();
        shared.reserve(name)?;
        let checkpoints = shared.checkpoints();
        if checkpoints.is_none() && sink.when() == When::Checkpointed {
            return Err(Error::usage(format!(
                "the sink {name:?} waits for checkpoints, and there are none: say before where to checkpoint to, or let it \
                 show epochs when they are complete"
            )));
        }
        if let Some(manifest) = checkpoints.and_then(Checkpoints::resumed).filter(|m| m.sinks.iter().all(|n| n != name))
        {
            let what = format!("it knows no sink {name:?}, only {:?}: name the sink as before", manifest.sinks);
            return Err(Error::incompatible(manifest.name(), what));
        }
        let settings = SinkSettings {
            name: name.to_owned(),
            epochs: shared.epochs(),
            from: checkpoints.map_or(0, Checkpoints::epoch),
            is_resuming: checkpoints.is_some_and(Checkpoints::is_resuming),
            fault: shared.fault().clone(),
        };
        let covered = write(output, shared.ends.outcomes(), sink, settings)?;
        shared.ends.add_sink(name.to_owned(), covered.clone());
        Ok(covered)
    }
}
