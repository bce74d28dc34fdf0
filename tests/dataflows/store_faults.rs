//! Stores that are slow, fail, panic, fill up or become read-only under a run: it goes on, its output is right, its
//! events tell which checkpoints were abandoned, and a later run resumes from what there is.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::{DEADLINE, Outputs, Random, Run};
use thalweg::Error;
use thalweg::checkpoint::{
    CheckpointConfig, Checkpoints, Directory, Fingerprint, Manifest, Memory, Store, StoreLock, resolve,
};
use thalweg::observe::{CheckpointEvent, Event};
use thalweg::policy::Script;

fn fingerprint() -> Fingerprint {
    Fingerprint::default().with("logic", "counts")
}

fn config(keep: usize) -> CheckpointConfig {
    CheckpointConfig { trigger: "every:1000".parse().unwrap(), keep, ..CheckpointConfig::default() }
}

fn resume(store: Arc<dyn Store>) -> Checkpoints {
    Checkpoints::resume(store, fingerprint(), config(2)).unwrap()
}

/// Does something before each write, and something after it.
struct Faulty<B, A> {
    inner: Arc<dyn Store>,
    before: B,
    after: A,
}

impl<B, A> Store for Faulty<B, A>
where
    B: Fn(&str, usize) -> Result<(), Error> + Send + Sync + 'static,
    A: Fn(&str, usize) -> Result<(), Error> + Send + Sync + 'static,
{
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        (self.before)(name, bytes.len())?;
        self.inner.put(name, bytes)?;
        (self.after)(name, bytes.len())
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        (self.before)(name, bytes.len())?;
        self.inner.create(name, bytes)?;
        (self.after)(name, bytes.len())
    }
    fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.inner.get(name)
    }
    fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        self.inner.get_range(name, offset, length)
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.inner.list(prefix)
    }
    fn delete(&self, name: &str) -> Result<(), Error> {
        (self.before)(name, 0)?;
        self.inner.delete(name)
    }
    fn lock(&self) -> Result<Option<StoreLock>, Error> {
        self.inner.lock()
    }
}

fn fine(_: &str, _: usize) -> Result<(), Error> {
    Ok(())
}

fn failure(name: &str, kind: ErrorKind) -> Error {
    Error::Store { action: "write", object: name.to_owned(), source: kind.into() }
}

/// A run of a few dozen checkpoints, that crashes or comes to its end.
fn run(crash_at: Option<u64>) -> Run {
    Run { checkpoint_every: 1, epochs: 30, crash_at, ..Run::default() }
}

fn taken(events: &[Event]) -> impl Iterator<Item = &CheckpointEvent> {
    events.iter().filter_map(|event| if let Event::Checkpoint(taken) = event { Some(taken) } else { None })
}

/// How many checkpoints were taken and abandoned. The output must be right as far as the run came.
fn outcome(run: &Run, checkpoints: &Checkpoints) -> [usize; 2] {
    let (outputs, events) = run.outputs(Some(checkpoints));
    let until = run.crash_at.map_or(u64::MAX, |crash| crash + 1);
    let part =
        |all: Outputs| all.into_iter().filter(|(e, _)| (checkpoints.epoch()..until).contains(e)).collect::<Outputs>();
    assert_eq!(part(outputs), part(run.expected()));
    [false, true].map(|failed| taken(&events).filter(|event| event.error.is_some() == failed).count())
}

/// Runs over the faulty store until it crashes, over what it left until it crashes again, and over the faulty store to
/// the end: how many checkpoints that store has cost, and how many not.
fn survives(inner: Arc<dyn Store>, faulty: impl Store) -> [usize; 2] {
    let faulty: Arc<dyn Store> = Arc::new(faulty);
    let first = outcome(&run(Some(12)), &resume(faulty.clone()));
    let healthy = outcome(&Run { workers: 1, seed: 3, ..run(Some(16)) }, &resume(inner.clone()));
    assert_eq!(healthy[1], 0);
    let last = outcome(&Run { workers: 3, seed: 2, ..run(None) }, &resume(faulty));
    assert!(last[0] == 0 || resume(inner).epoch() > 12);
    [first[0] + last[0], first[1] + last[1]]
}

#[test]
fn a_slow_store_holds_nothing_up() {
    let inner: Arc<dyn Store> = Arc::new(Memory::default());
    let slow = |_: &str, _| {
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    };
    let [whole, abandoned] = survives(inner.clone(), Faulty { inner, before: slow, after: slow });
    assert!(whole > 0 && abandoned == 0, "{whole} {abandoned}");
}

/// Before it has done what it was asked for, or after.
#[test]
fn a_store_that_fails_now_and_then_costs_some_checkpoints() {
    let mut sums = [0; 2];
    for seed in 0..6 {
        let inner: Arc<dyn Store> = Arc::new(Memory::default());
        let sometimes = |seed| {
            let random = Mutex::new(Random(seed));
            move |name: &str, _| match random.lock().unwrap().index(8) {
                0 => Err(failure(name, ErrorKind::BrokenPipe)),
                _ => Ok(()),
            }
        };
        let faulty = Faulty { inner: inner.clone(), before: sometimes(seed), after: sometimes(seed + 100) };
        let [whole, abandoned] = survives(inner, faulty);
        sums = [sums[0] + whole, sums[1] + abandoned];
    }
    assert!(sums.iter().all(|sum| *sum > 10), "{sums:?}");
}

#[test]
fn a_store_that_always_fails_costs_all_checkpoints_and_nothing_else() {
    let inner: Arc<dyn Store> = Arc::new(Memory::default());
    let always = |name: &str, _| Err(failure(name, ErrorKind::NotConnected));
    let [whole, abandoned] = survives(inner.clone(), Faulty { inner, before: always, after: fine });
    assert!(whole == 0 && abandoned > 0, "{whole} {abandoned}");
}

#[test]
fn a_store_that_panics_costs_those_checkpoints() {
    let inner: Arc<dyn Store> = Arc::new(Memory::default());
    let calls = AtomicUsize::new(0);
    let panics = move |_: &str, _| {
        assert!(!calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(5), "a panic that is part of the test");
        Ok(())
    };
    let [whole, abandoned] = survives(inner.clone(), Faulty { inner, before: panics, after: fine });
    assert!(whole > 0 && abandoned > 0, "{whole} {abandoned}");
}

/// Once it is full it takes nothing any more: what was written before stays, and is resumed from.
#[test]
fn a_full_store_keeps_what_it_has() {
    let inner: Arc<dyn Store> = Arc::new(Memory::default());
    let left = AtomicUsize::new(60_000);
    let fills = move |name: &str, bytes| {
        let take = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        take.map(drop).map_err(|_| failure(name, ErrorKind::StorageFull))
    };
    let [whole, abandoned] = survives(inner.clone(), Faulty { inner, before: fills, after: fine });
    assert!(whole > 0 && abandoned > 0, "{whole} {abandoned}");
}

/// A file system of its own, for as long as this lives; `None` where it can't be had.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", options, "tmpfs"], directory.path());
        if !mounted {
            eprintln!("skipped: no file system can be mounted here");
        }
        mounted.then_some(Mounted(directory))
    }

    fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], self.0.path()));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap();
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    let mut command = Command::new("mount");
    command.args(arguments).arg(at).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn a_full_disk_costs_checkpoints_until_there_is_room() {
    let Some(disk) = Mounted::new("size=128k") else { return };
    let store: Arc<dyn Store> = Arc::new(Directory::open(disk.0.path()).unwrap());
    let [whole, _] = outcome(&run(Some(6)), &resume(store.clone()));
    assert!(whole > 0);
    std::fs::write(disk.0.path().join("ballast"), vec![1; 40 << 10]).unwrap();
    let mut filled = 0;
    while std::fs::write(disk.0.path().join(format!("ballast-{filled}")), vec![1; 4 << 10]).is_ok() {
        filled += 1;
    }
    let from = resume(store.clone()).epoch();
    let full = outcome(&Run { seed: 2, ..run(Some(12)) }, &resume(store.clone()));
    assert!(full[0] == 0 && full[1] > 0, "{full:?}");
    assert_eq!(resume(store.clone()).epoch(), from);
    disk.remount("size=1m");
    let roomy = outcome(&Run { seed: 3, ..run(None) }, &resume(store.clone()));
    assert!(roomy[0] > 0 && roomy[1] == 0, "{roomy:?}");
    assert!(resume(store).epoch() > from);
}

#[test]
fn a_directory_that_becomes_read_only_costs_checkpoints_until_it_can_be_written_again() {
    let Some(disk) = Mounted::new("size=1m") else { return };
    let store: Arc<dyn Store> = Arc::new(Directory::open(disk.0.path()).unwrap());
    outcome(&run(Some(6)), &resume(store.clone()));
    let checkpoints = resume(store.clone());
    let from = checkpoints.epoch();
    assert!(from > 0);
    disk.remount("ro");
    let error = Directory::open(disk.0.path()).unwrap_err();
    assert!(error.to_string().contains("can't write to the directory"), "{error}");
    let error = checkpoints_refused(&checkpoints);
    assert!(error.contains("lock"), "{error}");
    disk.remount("rw");
    let writable = outcome(&Run { seed: 3, ..run(None) }, &resume(store.clone()));
    assert!(writable[0] > 0 && writable[1] == 0 && resume(store).epoch() > from, "{writable:?}");
}

/// What a run is told that can't have the store.
fn checkpoints_refused(checkpoints: &Checkpoints) -> String {
    let refused =
        catch_unwind(AssertUnwindSafe(|| Run { workers: 1, ..run(None) }.outputs(Some(checkpoints)))).unwrap_err();
    refused.downcast_ref::<String>().unwrap().clone()
}

/// Two checkpoints that a run has taken, of a state of a few keys.
fn two() -> (Memory, Vec<String>) {
    let store = Memory::default();
    let begin = resume(Arc::new(store.clone()));
    small().outputs_under(|| "6 checkpoint\n9 checkpoint".parse::<Script>().unwrap(), Some(&begin));
    let newest = Manifest::read(&store, 9).unwrap();
    // The older one's objects are the newest's, too.
    let own = newest.objects.iter().filter(|object| object.epoch == 9).map(|object| object.name.clone());
    let names = own.chain([newest.name()]).collect();
    (store, names)
}

fn small() -> Run {
    Run { epochs: 12, records: 12, keys: 7, shards: 2, ..Run::default() }
}

/// Whatever is damaged of the newest checkpoint, it is found and named, and an older one is used, or none; whatever is
/// damaged of others does not matter to it.
fn finds(store: &Memory, damaged: &str, belongs: bool, what: &str) {
    match resolve(store, &fingerprint()) {
        Ok(resume) => {
            let epoch = resume.checkpoint.map(|manifest| manifest.epoch);
            assert_eq!(epoch, Some(if belongs { 6 } else { 9 }), "{damaged}, {what}");
            let told = resume.skipped.iter().all(|s| s.epoch == 9 && s.error.with_causes().contains(damaged));
            assert!(resume.skipped.len() == usize::from(belongs) && told, "{damaged}, {what}: {:?}", resume.skipped);
        }
        Err(error) => assert!(belongs && error.with_causes().contains(damaged), "{damaged}, {what}: {error}"),
    }
}

/// What both checkpoints refer to leaves none to resume from.
fn of_both(store: &Memory, name: &str) {
    let whole = store.get(name).unwrap();
    for byte in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[byte] = !damaged[byte];
        for bytes in [&damaged, &whole[..byte]] {
            store.put(name, bytes).unwrap();
            let error = resolve(store, &fingerprint()).unwrap_err();
            assert!(matches!(&error, Error::Corrupt { .. }) && error.with_causes().contains(name), "{error}");
        }
    }
    store.put(name, &whole).unwrap();
}

#[test]
fn every_byte_of_all_that_a_run_has_written_counts() {
    let (store, newest) = two();
    let files = store.list("").unwrap();
    assert!(files.len() > newest.len());
    let manifest = Manifest::read(&store, 9).unwrap();
    let is_of_both = |name: &String| !newest.contains(name) && manifest.objects.iter().any(|o| o.name == *name);
    for name in files {
        if is_of_both(&name) {
            of_both(&store, &name);
            continue;
        }
        let (whole, belongs) = (store.get(&name).unwrap(), newest.contains(&name));
        for byte in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[byte] = !damaged[byte];
            store.put(&name, &damaged).unwrap();
            finds(&store, &name, belongs, &format!("byte {byte}"));
            store.put(&name, &whole[..byte]).unwrap();
            finds(&store, &name, belongs, &format!("cut to {byte} bytes"));
        }
        store.put(&name, &whole).unwrap();
    }
}

/// Its epoch comes again, and with it another manifest of that name.
#[test]
fn a_damaged_checkpoint_is_replaced_by_the_run_that_passes_over_it() {
    for damaged in 0..two().1.len() {
        let (store, newest) = two();
        let name = &newest[damaged];
        let whole = store.get(name).unwrap();
        store.put(name, &whole[..whole.len() / 2]).unwrap();
        let resume = resume(Arc::new(store.clone()));
        assert_eq!(resume.epoch(), 6, "{name}");
        let script = || "9 checkpoint".parse::<Script>().unwrap();
        let (outputs, events) = small().outputs_under(script, Some(&resume));
        let expected: Outputs = small().expected().into_iter().filter(|(epoch, _)| *epoch >= 6).collect();
        assert_eq!(outputs, expected);
        assert_eq!(taken(&events).map(|event| (event.epoch, event.error.clone())).collect::<Vec<_>>(), [(9, None)]);
        finds(&store, name, false, "replaced");
    }
}

/// A second run, in this process or another, is told whose the directory is.
#[test]
fn two_runs_cannot_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Directory::open(directory.path()).unwrap());
    let lock = Directory::open(directory.path()).unwrap().lock().unwrap();
    let refused = checkpoints_refused(&resume(store.clone()));
    assert!(refused.contains("another run of this process"), "{refused}");
    drop(lock);
    outcome(&run(Some(12)), &resume(store.clone()));
    outcome(&run(None), &resume(store));
}

const LOCKED: &str = "THALWEG_TEST_LOCKED";

/// Locks a directory and waits to be killed.
#[test]
#[ignore = "run by the next test, in a process of its own"]
fn holds_a_lock() {
    let _lock = Directory::open(std::env::var(LOCKED).unwrap()).unwrap().lock().unwrap();
    std::thread::sleep(DEADLINE);
}

#[test]
fn a_process_that_is_killed_holds_no_lock() {
    let directory = tempfile::tempdir().unwrap();
    let store = Directory::open(directory.path()).unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store_faults::holds_a_lock", "--ignored"])
        .env(LOCKED, directory.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let (lock, number) = (directory.path().join(".lock"), holder.id().to_string());
    while std::fs::read_to_string(&lock).is_ok_and(|text| text.trim() != number) || !lock.exists() {
        assert!(begin.elapsed() < DEADLINE, "the other process takes no lock");
        std::thread::sleep(Duration::from_millis(5));
    }
    let told = format!("another run, process {number},");
    assert!(store.lock().unwrap_err().to_string().contains(&told));
    holder.kill().unwrap();
    holder.wait().unwrap();
    store.lock().unwrap();
}

/// Nothing but objects and manifests is left behind by all of this.
#[test]
fn retention_leaves_what_is_referred_to_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Directory::open(directory.path()).unwrap());
    outcome(&run(None), &resume(store.clone()));
    let manifests = Manifest::list(&*store).unwrap();
    assert!(manifests.len() <= 2, "{manifests:?}");
    let mut wanted = BTreeSet::new();
    for epoch in manifests {
        let manifest = Manifest::read(&*store, epoch).unwrap();
        wanted.extend(manifest.objects.iter().map(|object| object.name.clone()).chain([manifest.name()]));
    }
    // What was merged last may not be referred to yet.
    let left = store.list("").unwrap().into_iter().filter(|name| wanted.contains(name) || !name.contains("-merged-"));
    assert_eq!(left.collect::<Vec<_>>(), wanted.iter().cloned().collect::<Vec<_>>());
}
