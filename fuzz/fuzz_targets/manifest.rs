#![no_main]

mod edits;

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use thalweg::checkpoint::{
    CheckpointConfig, Checkpoints, Fingerprint, MANIFEST_FORMAT, Manifest, Memory, ObjectWriter, Space, Store, retain,
};
use thalweg::keyed::Chunk;
use thalweg::{Assignment, KeyRange};

const EPOCH: u64 = 7;

fn manifest() -> Manifest {
    let mut writer = ObjectWriter::new(EPOCH, 0, 1).expect("there is memory");
    let chunk = Chunk { range: KeyRange::ALL, last: true, keys: 2, bytes: vec![1; 20] };
    writer.push("count", &chunk).unwrap();
    let space = Space { assignment: Assignment::even(3, 2).unwrap(), operators: vec!["count".into()] };
    Manifest {
        format: MANIFEST_FORMAT,
        epoch: EPOCH,
        previous: Some(3),
        epoch_ticks: 1,
        records: Some(70),
        reason: "commanded".into(),
        fingerprint: Fingerprint::default().with("key", "station"),
        spaces: [("keys".to_owned(), space)].into(),
        objects: writer.finish().into_iter().map(|object| object.reference).collect(),
    }
}

/// What follows the first line of a manifest that is in order.
static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let store = Memory::default();
    manifest().write(&store).unwrap();
    let whole = store.get(&Manifest::name_at(EPOCH)).unwrap();
    let line = whole.iter().position(|byte| *byte == b'\n').unwrap();
    whole[line + 1..].to_vec()
});

fn with_first_line(body: &[u8]) -> Vec<u8> {
    let line = format!("thalweg-manifest {MANIFEST_FORMAT} {:08x} {}\n", crc32fast::hash(body), body.len());
    [line.as_bytes(), body].concat()
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let bytes = match kind % 3 {
        0 => rest.to_vec(),
        1 => with_first_line(rest),
        _ => {
            let mut body = BODY.clone();
            edits::edit(&mut body, rest);
            with_first_line(&body)
        }
    };
    let store = Memory::default();
    store.put(&Manifest::name_at(EPOCH), &bytes).unwrap();
    if let Ok(manifest) = Manifest::read(&store, EPOCH) {
        assert!(
            manifest.objects.iter().all(|object| !object.name.contains("..") && object.name.starts_with("objects/"))
        );
        manifest.replace(&store).unwrap();
        assert_eq!(Manifest::read(&store, EPOCH).unwrap(), manifest);
        let _ = (manifest.bytes(), manifest.operators().count(), retain(&store, 1, EPOCH));
        // Without its objects nothing would be resumed from, and what is done then not be reached.
        let resumable = Manifest { objects: Vec::new(), ..manifest };
        resumable.replace(&store).unwrap();
        let config = CheckpointConfig::default();
        let resumed = Checkpoints::resume(Arc::new(store), resumable.fingerprint.clone(), config).unwrap();
        for space in resumable.spaces.keys() {
            for workers in [1, 2, 5] {
                let assignment = resumed.assignment(space, workers).unwrap().unwrap();
                assert!(assignment.workers() == workers && assignment.iter().all(|(_, owner)| owner < workers));
            }
        }
    } else {
        let _ = Checkpoints::resume(Arc::new(store), Fingerprint::default(), CheckpointConfig::default()).unwrap_err();
    }
});
