//! What a store promises, asked of any store that is empty.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg::Error;
use thalweg::checkpoint::{Fingerprint, Manifest, Store, resolve};

/// The kind of failure of a store; `None` for any other error.
pub fn kind<R>(result: Result<R, Error>) -> Option<ErrorKind> {
    match result.err()? {
        Error::Store { source, .. } => Some(source.kind()),
        _ => None,
    }
}

/// Everything that [`Store`] promises.
pub fn behaves(store: &dyn Store) {
    assert_eq!(store.list("").unwrap(), [""; 0]);
    puts_gets_and_deletes(store);
    gives_parts(store);
    lists_by_any_prefix(store);
    creates_once(store);
    refuses_other_names(store);
    holds_several_megabytes(store);
    for name in store.list("").unwrap() {
        store.delete(&name).unwrap();
    }
    assert_eq!(store.list("").unwrap(), [""; 0]);
    let resume = resolve(store, &Fingerprint::default()).unwrap();
    assert!(resume.checkpoint.is_none() && resume.skipped.is_empty());
}

fn puts_gets_and_deletes(store: &dyn Store) {
    for name in ["objects/b", "objects/a", "manifests/1.json", "top", "a/b/c/d"] {
        store.put(name, b"before").unwrap();
        store.put(name, name.as_bytes()).unwrap();
        assert_eq!(store.get(name).unwrap(), name.as_bytes());
    }
    store.put("empty", b"").unwrap();
    assert_eq!(store.get("empty").unwrap(), b"");
    for name in ["top", "empty", "a/b/c/d", "never"] {
        store.delete(name).unwrap();
        store.delete(name).unwrap();
        assert_eq!(kind(store.get(name)), Some(ErrorKind::NotFound), "{name}");
        assert_eq!(kind(store.get_range(name, 0, 1)), Some(ErrorKind::NotFound), "{name}");
        assert_eq!(kind(store.get_range(name, 0, 0)), Some(ErrorKind::NotFound), "{name}");
    }
}

fn gives_parts(store: &dyn Store) {
    let whole = b"objects/b";
    for offset in 0..=whole.len() {
        for length in 0..=whole.len() - offset {
            let part = store.get_range("objects/b", offset as u64, length as u64).unwrap();
            assert_eq!(part, whole[offset..offset + length]);
        }
    }
    for (offset, length) in [(0, 10), (8, 2), (9, 1), (10, 0), (100, 1), (u64::MAX, 0), (u64::MAX, 2), (1, u64::MAX)] {
        let found = kind(store.get_range("objects/b", offset, length));
        assert_eq!(found, Some(ErrorKind::UnexpectedEof), "{length} bytes at {offset}");
    }
}

fn lists_by_any_prefix(store: &dyn Store) {
    let all = ["manifests/1.json", "objects/a", "objects/b"];
    for prefix in ["", "m", "manifests", "manifests/", "obj", "objects/", "objects/b", "objects/bb", "nowhere/", "a/b"]
    {
        let expected: Vec<&str> = all.into_iter().filter(|name| name.starts_with(prefix)).collect();
        assert_eq!(store.list(prefix).unwrap(), expected, "{prefix:?}");
    }
}

fn creates_once(store: &dyn Store) {
    store.create("objects/new", b"first").unwrap();
    for _ in 0..2 {
        assert_eq!(kind(store.create("objects/new", b"second")), Some(ErrorKind::AlreadyExists));
        assert_eq!(store.get("objects/new").unwrap(), b"first");
    }
    assert_eq!(store.list("objects/n").unwrap(), ["objects/new"]);
    store.put("objects/new", b"third").unwrap();
    store.delete("objects/new").unwrap();
    let created = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let created = &created;
            scope.spawn(move || match store.create("objects/new", &[thread; 100]) {
                Ok(()) => _ = created.fetch_add(1, Ordering::Relaxed),
                error => assert_eq!(kind(error), Some(ErrorKind::AlreadyExists)),
            });
        }
    });
    assert_eq!(created.into_inner(), 1);
    let found = store.get("objects/new").unwrap();
    assert!(found.len() == 100 && found.iter().all(|byte| *byte == found[0]));
}

fn refuses_other_names(store: &dyn Store) {
    for name in ["", "/", "/etc/passwd", "../x", "objects/../../x", "a//b", ".hidden", "a b", "a\0", "ä", "%2e%2e/x"] {
        let results = [store.put(name, b""), store.create(name, b""), store.get(name).map(drop), store.delete(name)];
        for result in results.into_iter().chain([store.get_range(name, 0, 1).map(drop)]) {
            assert!(matches!(result, Err(Error::Usage { .. })), "{name:?}");
        }
    }
    assert!(matches!(store.list("../"), Err(Error::Usage { .. })));
    assert_eq!(Manifest::list(store).unwrap(), [0; 0]);
}

fn holds_several_megabytes(store: &dyn Store) {
    let bytes: Vec<u8> = (0..9 << 20).map(|i: u32| (i % 251) as u8).collect();
    store.put("objects/large", &bytes).unwrap();
    assert!(store.get("objects/large").unwrap() == bytes);
    assert_eq!(store.get_range("objects/large", 8 << 20, 5).unwrap(), bytes[8 << 20..][..5]);
}
