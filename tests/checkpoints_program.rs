//! The `checkpoints` program, run as a user runs it.

mod common;
mod program;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::Run;
use program::{fails, run, succeeds};
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Directory, Fingerprint, Manifest, Store};
use thalweg::policy::Script;

fn checkpoints(arguments: &str, store: &Path) -> String {
    succeeds("checkpoints", &arguments.replace("STORE", store.to_str().unwrap()))
}

fn refused(arguments: &str, store: &Path, code: i32) -> String {
    fails("checkpoints", &arguments.replace("STORE", store.to_str().unwrap()), code)
}

/// Checkpoints of epochs 4, 6 and 9, as a run has taken them.
fn taken() -> (tempfile::TempDir, Directory) {
    let directory = tempfile::tempdir().unwrap();
    let config = CheckpointConfig { trigger: "every:1000".parse().unwrap(), keep: 9, ..CheckpointConfig::default() };
    let store = Arc::new(Directory::open(directory.path()).unwrap());
    let fingerprint = Fingerprint::default().with("logic", "counts").with("epoch", "1 h");
    let begin = Checkpoints::begin(store, fingerprint, config).unwrap();
    let run = Run { epochs: 12, name: "riders", ..Run::default() };
    run.outputs_under(|| "4 checkpoint\n6 checkpoint\n9 checkpoint".parse::<Script>().unwrap(), Some(&begin));
    let store = Directory::existing(directory.path()).unwrap();
    assert_eq!(Manifest::list(&store).unwrap(), [4, 6, 9]);
    (directory, store)
}

fn damage(store: &Directory, name: &str) {
    let mut bytes = store.get(name).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] = !bytes[middle];
    store.put(name, &bytes).unwrap();
}

#[test]
fn it_lists_and_describes() {
    let (directory, store) = taken();
    let listed = checkpoints("list STORE", directory.path());
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].split_whitespace().eq(["epoch", "before", "records", "state", "objects", "reason"]), "{listed}");
    for (line, begin) in lines[1..].iter().zip([["4", "-", "400"], ["6", "4", "600"], ["9", "6", "900"]]) {
        assert!(line.split_whitespace().take(3).eq(begin), "{listed}");
    }
    assert!(lines[4].starts_with("3 checkpoints") && lines.len() == 5, "{listed}");

    let described = checkpoints("describe STORE", directory.path());
    assert_eq!(described, checkpoints("describe STORE --epoch 9", directory.path()));
    let told = ["00000009.json", "epoch 6", "900", "logic = counts", "epoch = 1 h", "key space", "riders"];
    told.iter().for_each(|part| assert!(described.contains(part), "no {part} in {described}"));
    let manifest = Manifest::read(&store, 4).unwrap();
    let described = checkpoints("describe STORE --epoch 4 --objects", directory.path());
    manifest.objects.iter().for_each(|object| assert!(described.contains(&object.name), "{described}"));
}

#[test]
fn it_verifies_every_byte_and_names_what_is_damaged() {
    let (directory, store) = taken();
    let verified = checkpoints("verify STORE", directory.path());
    assert!(verified.starts_with("epoch 4: whole\nepoch 6: whole\nepoch 9: whole\nread "), "{verified}");

    let newest = Manifest::read(&store, 9).unwrap();
    let object = newest.objects.last().unwrap().name.clone();
    damage(&store, &object);
    damage(&store, &Manifest::name_at(4));
    let output = run("checkpoints", &format!("verify {}", directory.path().display()));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!((lines[0], lines[2]), ("epoch 4: can't be resumed from", "epoch 6: whole"), "{printed}");
    assert!(lines[1].contains(&Manifest::name_at(4)) && lines[1].contains("damaged"), "{printed}");
    assert!(lines[4].contains(&object) && lines[4].contains("its checksum is"), "{printed}");
    checkpoints("verify STORE --epoch 6", directory.path());

    let output = run("checkpoints", &format!("list {}", directory.path().display()));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("unreadable"));
    assert!(refused("describe STORE --epoch 4", directory.path(), 1).contains("is damaged"));
    assert!(refused("prune STORE --keep 1", directory.path(), 1).contains("nothing is removed"));
    assert_eq!(Manifest::list(&store).unwrap(), [4, 6, 9]);
}

#[test]
fn it_prunes_what_no_run_is_using() {
    let (directory, store) = taken();
    let lock = store.lock().unwrap();
    assert!(refused("prune STORE --keep 1", directory.path(), 2).contains("another run, process"));
    drop(lock);
    let pruned = checkpoints("prune STORE --keep 2", directory.path());
    assert!(pruned.starts_with("removed epoch 4\nremoved 1 checkpoints"), "{pruned}");
    assert_eq!(Manifest::list(&store).unwrap(), [6, 9]);
    checkpoints("verify STORE", directory.path());
    assert!(checkpoints("prune STORE --keep 2", directory.path()).contains("removed 0 checkpoints and 0 objects"));
    assert!(checkpoints("prune STORE --keep 1", directory.path()).contains("1 checkpoints are left"));
    checkpoints("verify STORE", directory.path());
}

#[test]
fn it_refuses_what_makes_no_sense() {
    let empty = tempfile::tempdir().unwrap();
    let nowhere = empty.path().join("nowhere");
    let file = empty.path().join("file");
    fs::write(&file, "").unwrap();
    for (arguments, store, told) in [
        ("list STORE", empty.path(), "there are no checkpoints in"),
        ("verify STORE --epoch 3", empty.path(), "no checkpoint of epoch 3"),
        ("list STORE", &nowhere, "nowhere is not there"),
        ("verify STORE", &file, "file is a file"),
        ("prune STORE --keep 0", empty.path(), "--keep"),
        ("prune STORE", empty.path(), "--keep"),
        ("list gopher://x/STORE", Path::new("y"), "gopher"),
        ("list", empty.path(), "STORE"),
        ("mend STORE", empty.path(), "mend"),
    ] {
        let errors = refused(arguments, store, 2);
        assert!(errors.contains(told), "{arguments}: {errors}");
    }
    assert!(!nowhere.exists() && fs::read_dir(empty.path()).unwrap().count() == 1);
    let (directory, _) = taken();
    let errors = refused("describe STORE --epoch 5", directory.path(), 2);
    assert!(errors.contains("no checkpoint of epoch 5 in") && errors.contains("only of: 4, 6, 9"), "{errors}");
}
