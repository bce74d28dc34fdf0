//! Checkpoints in object stores: in memory, in a directory, and in a bucket of a server that speaks S3's protocol.

mod common;
#[path = "common/s3.rs"]
mod s3;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::behaves::{behaves, kind};
use common::{Run, expected};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use thalweg::Error;
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Manifest, ObjectStore, Store};

/// The store is used from a thread that a runtime runs, as well as from any other.
#[test]
fn object_stores_behave_as_stores() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for prefix in ["", "runs/7", "/runs/7/"] {
        let directory = tempfile::tempdir().unwrap();
        let local = LocalFileSystem::new_with_prefix(directory.path()).unwrap().with_fsync(true);
        behaves(&ObjectStore::new(Arc::new(local), prefix).unwrap());
        runtime.block_on(async { behaves(&ObjectStore::new(Arc::new(InMemory::new()), prefix).unwrap()) });
    }
}

#[test]
fn stores_in_one_bucket_do_not_see_each_other() {
    let remote = Arc::new(InMemory::new());
    let store = |prefix| ObjectStore::new(remote.clone(), prefix).unwrap();
    let (whole, one, other) = (store(""), store("run"), store("run2"));
    one.put("objects/a", b"one").unwrap();
    other.put("objects/a", b"other").unwrap();
    assert_eq!(one.list("").unwrap(), ["objects/a"]);
    assert_eq!(other.get("objects/a").unwrap(), b"other");
    assert_eq!(whole.list("run").unwrap(), ["run/objects/a", "run2/objects/a"]);
}

#[test]
fn what_is_no_object_store_is_refused_with_a_word_of_what_is() {
    for (url, told) in [
        ("bucket/prefix", "s3://bucket/prefix"),
        ("file:///tmp", "by its path"),
        ("gopher://x/y", "s3://bucket/prefix"),
        ("memory:///a%20b", "can't name"),
        ("", "s3://bucket/prefix"),
    ] {
        let error = ObjectStore::open(url).unwrap_err();
        assert!(matches!(error, Error::Usage { .. }) && error.to_string().contains(told), "{url}: {error}");
    }
    behaves(&ObjectStore::open("memory:///runs").unwrap());
}

/// A server that takes connections and never says a word.
#[cfg(feature = "s3")]
#[test]
fn a_server_that_does_not_answer_is_an_error_in_bounded_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let store = s3::store(silent.local_addr().unwrap().port(), "x").with_timeout(Duration::from_millis(300));
    let begin = Instant::now();
    assert_eq!(kind(store.get("a")), Some(std::io::ErrorKind::TimedOut));
    assert_eq!(kind(store.create("a", b"")), Some(std::io::ErrorKind::TimedOut));
    assert!(begin.elapsed() < Duration::from_secs(60));
}

/// Also without conditional requests, where the store is looked at first.
#[cfg(feature = "s3")]
#[test]
fn a_bucket_behaves_as_a_store() {
    let Some(server) = s3::Server::start() else { return };
    behaves(&s3::store(server.port, "behaves"));
    let store = s3::unconditional(server.port, "unconditional");
    store.create("manifests/a", b"first").unwrap();
    assert_eq!(kind(store.create("manifests/a", b"second")), Some(std::io::ErrorKind::AlreadyExists));
    assert_eq!(store.get("manifests/a").unwrap(), b"first");
    let missing = s3::in_bucket("missing", server.port, "x");
    let error = missing.list("").unwrap_err().with_causes();
    assert!(error.contains("can't list") && error.contains("NoSuchBucket"), "{error}");
}

fn checkpoints(store: &Arc<dyn Store>) -> Checkpoints {
    let config = CheckpointConfig { trigger: "every:1000".parse().unwrap(), keep: 3, ..CheckpointConfig::default() };
    Checkpoints::resume(store.clone(), Fingerprint::default().with("logic", "counts"), config).unwrap()
}

/// A run that crashes, and one with other workers that goes on.
fn resumes(store: Arc<dyn Store>) {
    let run = Run { checkpoint_every: 2, crash_at: Some(12), ..Run::default() };
    let (_, events) = run.outputs(Some(&checkpoints(&store)));
    assert!(!format!("{events:?}").contains("another run"));
    let resume = checkpoints(&store);
    let from = resume.epoch();
    assert!(from > 0 && Manifest::list(&*store).unwrap().len() <= 3);
    let again = Run { workers: 3, crash_at: None, seed: 2, ..run };
    let (outputs, _) = again.outputs(Some(&resume));
    let expected = expected((0..again.epochs).map(|e| (e, common::records(e, again.records, again.keys).collect())));
    assert_eq!(outputs, expected.into_iter().filter(|(epoch, _)| *epoch >= from).collect());
}

#[test]
fn a_run_resumes_from_an_object_store() {
    resumes(Arc::new(ObjectStore::new(Arc::new(InMemory::new()), "run").unwrap()));
}

#[cfg(feature = "s3")]
#[test]
fn a_run_resumes_from_a_bucket() {
    let Some(server) = s3::Server::start() else { return };
    resumes(Arc::new(s3::store(server.port, "run")));
}

/// Of two runs over one bucket, which has no lock, one is told.
#[cfg(feature = "s3")]
#[test]
fn of_two_runs_over_one_bucket_one_is_told() {
    let Some(server) = s3::Server::start() else { return };
    let stores = [0, 1].map(|_| Arc::new(s3::store(server.port, "two")) as Arc<dyn Store>);
    let run = Run { checkpoint_every: 2, ..Run::default() };
    run.outputs(Some(&checkpoints(&stores[0])));
    let newest = *Manifest::list(&*stores[0]).unwrap().last().unwrap();
    let manifest = Manifest::read(&*stores[0], newest).unwrap();
    let changed = Manifest { reason: "another".into(), ..manifest.clone() };
    let error = changed.write(&*stores[1]).unwrap_err();
    assert!(matches!(error, Error::Usage { .. }) && error.to_string().contains("another run has written"), "{error}");
    manifest.write(&*stores[1]).unwrap();
}
