//! Reading: one thread per process reads the source and deals its records to the process's workers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::Result;
use thalweg::{Assignment, stable_hash};

use crate::event::Event;
use crate::fault::Skipped;
use crate::input::{Pace, Row, Source};

/// Records handed over at once.
const BATCH: usize = 1024;

/// Batches that wait for a worker.
const QUEUE: usize = 16;

/// What a worker is told.
pub enum Feed {
    /// Records of this epoch; what came before a checkpoint is only for the twin.
    Records { epoch: u64, events: Vec<Event> },
    /// Nothing before this epoch comes any more.
    Epoch(u64),
    /// The source has ended.
    End,
    /// The source has failed; the thread's result says why.
    Failed,
}

/// Records by worker in each epoch, had nothing ever moved.
pub type StaticLoads = Arc<Mutex<BTreeMap<u64, Vec<u64>>>>;

/// The reading thread, and what it leaves.
pub struct Reader {
    pub thread: JoinHandle<Result<Skipped>>,
    pub static_loads: StaticLoads,
}

/// How records are dealt: record i of the source goes to worker `i % workers`, which may be of another process.
pub struct Dealing {
    pub workers: usize,
    /// The workers of this process.
    pub local: Range<usize>,
    /// By which static loads are counted.
    pub initial: Assignment,
    pub rate: Option<u64>,
}

/// Starts reading, and gives a receiver for each local worker.
pub fn read(source: Source, dealing: Dealing) -> (Reader, Vec<Receiver<Feed>>) {
    let (senders, receivers) = dealing.local.clone().map(|_| sync_channel(QUEUE)).unzip();
    let static_loads = StaticLoads::default();
    let loads = Arc::clone(&static_loads);
    let thread = std::thread::spawn(move || {
        let mut dealer = Dealer::new(dealing, senders, loads);
        let result = dealer.deal(source);
        dealer.tell(|| if result.is_ok() { Feed::End } else { Feed::Failed });
        result
    });
    (Reader { thread, static_loads }, receivers)
}

struct Dealer {
    dealing: Dealing,
    senders: Vec<SyncSender<Feed>>,
    batches: Vec<Vec<Event>>,
    epoch: Option<u64>,
    loads: Vec<u64>,
    static_loads: StaticLoads,
}

impl Dealer {
    fn new(dealing: Dealing, senders: Vec<SyncSender<Feed>>, static_loads: StaticLoads) -> Self {
        let batches = senders.iter().map(|_| Vec::with_capacity(BATCH)).collect();
        let loads = vec![0; dealing.workers];
        Dealer { dealing, senders, batches, epoch: None, loads, static_loads }
    }

    fn deal(&mut self, mut source: Source) -> Result<Skipped> {
        let mut pace = Pace::new(self.dealing.rate);
        loop {
            let index = source.position() as usize;
            let Some(Row { epoch, event, .. }) = source.next_row()? else { break };
            pace.step();
            if self.epoch != Some(epoch) {
                self.turn_to(epoch);
            }
            let initial = &self.dealing.initial;
            self.loads[initial.owner(initial.find(stable_hash(&event.key)))] += 1;
            let worker = index % self.dealing.workers;
            if self.dealing.local.contains(&worker) {
                let local = worker - self.dealing.local.start;
                self.batches[local].push(event);
                if self.batches[local].len() == BATCH {
                    self.send(local);
                }
            }
        }
        self.finish_epoch();
        Ok(source.skipped())
    }

    fn turn_to(&mut self, epoch: u64) {
        self.finish_epoch();
        self.epoch = Some(epoch);
        self.tell(|| Feed::Epoch(epoch));
    }

    fn finish_epoch(&mut self) {
        (0..self.senders.len()).for_each(|local| self.send(local));
        if let Some(epoch) = self.epoch {
            let loads = std::mem::replace(&mut self.loads, vec![0; self.dealing.workers]);
            self.static_loads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(epoch, loads);
        }
    }

    fn send(&mut self, local: usize) {
        if let Some(epoch) = self.epoch.filter(|_| !self.batches[local].is_empty()) {
            let events = std::mem::replace(&mut self.batches[local], Vec::with_capacity(BATCH));
            // A worker that has gone has an error of its own to tell.
            let _ = self.senders[local].send(Feed::Records { epoch, events });
        }
    }

    fn tell(&self, feed: impl Fn() -> Feed) {
        self.senders.iter().for_each(|sender| drop(sender.send(feed())));
    }
}
