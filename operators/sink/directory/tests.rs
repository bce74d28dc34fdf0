use std::num::NonZeroU64;

use super::*;

/// A sink in a directory, as one run after the other opens it.
struct Sink {
    root: tempfile::TempDir,
    epochs_per_file: u64,
    when: When,
}

const WHENS: [When; 2] = [When::EpochComplete, When::Checkpointed];

impl Sink {
    fn new(epochs_per_file: u64, when: When) -> Self {
        Sink { root: tempfile::tempdir().unwrap(), epochs_per_file, when }
    }

    fn open(&self, share: Share) -> Result<FileWriter, Error> {
        let layout = Layout::new("txt", NonZeroU64::new(self.epochs_per_file).unwrap());
        FileWriter::open(self.root.path(), layout, self.when, share)
    }

    fn begin(&self) -> Result<FileWriter, Error> {
        self.open(Share { worker: 0, workers: 1, from: 0, is_resuming: false })
    }

    fn resume(&self, from: u64) -> Result<FileWriter, Error> {
        self.open(Share { worker: 0, workers: 1, from, is_resuming: true })
    }

    /// What is visible: first epoch and text.
    fn visible(&self) -> Vec<(u64, String)> {
        listed(self.root.path())
    }

    fn pending(&self) -> Vec<(u64, String)> {
        listed(&self.root.path().join(PENDING))
    }
}

fn listed(directory: &Path) -> Vec<(u64, String)> {
    let layout = Layout::new("txt", NonZeroU64::MIN);
    let files = names(directory).unwrap().into_iter().filter_map(|name| Some((layout.epoch(&name)?, name)));
    let mut files: Vec<_> =
        files.map(|(epoch, name)| (epoch, fs::read_to_string(directory.join(name)).unwrap())).collect();
    files.sort();
    files
}

fn text(epoch: u64) -> String {
    format!("row of {epoch}\n")
}

fn write(writer: &mut FileWriter, epochs: impl IntoIterator<Item = u64>) {
    epochs.into_iter().for_each(|epoch| writer.write(epoch, text(epoch).as_bytes()).unwrap());
}

fn rows(epochs: impl IntoIterator<Item = u64>) -> Vec<(u64, String)> {
    epochs.into_iter().map(|epoch| (epoch, text(epoch))).collect()
}

#[test]
fn an_epoch_is_visible_when_it_is_published() {
    for when in WHENS {
        let sink = Sink::new(1, when);
        let mut writer = sink.begin().unwrap();
        write(&mut writer, [0, 2, 3]);
        writer.publish(Some(3)).unwrap();
        let until = if when == When::EpochComplete { 4 } else { 3 };
        assert_eq!(sink.visible(), rows([0, 2, 3].into_iter().filter(|epoch| *epoch < until)));
        writer.publish(None).unwrap();
        assert_eq!((sink.visible(), sink.pending()), (rows([0, 2, 3]), rows([])));
    }
}

#[test]
fn a_group_is_visible_when_all_its_epochs_are_published() {
    let sink = Sink::new(3, When::EpochComplete);
    let mut writer = sink.begin().unwrap();
    write(&mut writer, [1, 2, 5, 7]);
    writer.publish(Some(5)).unwrap();
    assert_eq!(sink.visible(), [(0, text(1) + &text(2))]);
    assert_eq!(sink.pending(), rows([5, 7]));
    writer.publish(None).unwrap();
    assert_eq!(sink.visible(), [(0, text(1) + &text(2)), (3, text(5)), (6, text(7))]);
    assert_eq!(sink.pending(), []);
}

#[test]
fn what_a_checkpoint_covers_is_finished_and_the_rest_rolled_back() {
    let sink = Sink::new(1, When::Checkpointed);
    write(&mut sink.begin().unwrap(), 0..6);
    let leftover = sink.root.path().join(PENDING).join(format!(".{:020}.txt.Ab12Cd", 3));
    fs::write(&leftover, "row o").unwrap();
    let mut writer = sink.resume(4).unwrap();
    assert_eq!(sink.pending(), rows(0..6), "another worker may not have been let in");
    writer.publish(Some(4)).unwrap();
    assert_eq!((sink.visible(), sink.pending()), (rows(0..4), rows([])));
    assert!(!leftover.exists());
    // Nothing visible was replayed, so that it may be other output now.
    writer.write(4, b"other").unwrap();
    writer.publish(None).unwrap();
    assert_eq!(sink.visible()[4], (4, "other".into()));
}

#[test]
fn a_group_that_a_checkpoint_has_cut_is_put_together() {
    for when in WHENS {
        let sink = Sink::new(3, when);
        let mut writer = sink.begin().unwrap();
        write(&mut writer, 0..5);
        writer.publish(Some(3)).unwrap();
        drop(writer);
        let mut writer = sink.resume(4).unwrap();
        write(&mut writer, 4..7);
        writer.publish(Some(6)).unwrap();
        assert_eq!(sink.visible(), [(0, text(0) + &text(1) + &text(2)), (3, text(3) + &text(4) + &text(5))]);
        assert_eq!(sink.pending(), rows([6]));
    }
}

#[test]
fn each_worker_recovers_its_own_share() {
    let sink = Sink::new(2, When::Checkpointed);
    write(&mut sink.begin().unwrap(), 0..8);
    let share = |worker| Share { worker, workers: 2, from: 6, is_resuming: true };
    let (mut first, mut second) = (sink.open(share(0)).unwrap(), sink.open(share(1)).unwrap());
    second.publish(Some(6)).unwrap();
    assert_eq!((sink.visible(), sink.pending()), (vec![(2, text(2) + &text(3))], rows([0, 1, 4, 5])));
    first.publish(Some(6)).unwrap();
    assert_eq!((sink.visible().len(), sink.pending()), (3, rows([])));
}

#[test]
fn visible_output_that_is_replayed_is_recognised() {
    for (epochs_per_file, when) in [(1, When::EpochComplete), (1, When::Checkpointed), (3, When::EpochComplete)] {
        let sink = Sink::new(epochs_per_file, when);
        let mut writer = sink.begin().unwrap();
        write(&mut writer, 0..9);
        writer.publish(None).unwrap();
        drop(writer);
        let before = sink.visible();
        for from in [0, 4, 9] {
            let mut writer = sink.resume(from).unwrap();
            write(&mut writer, from..9);
            writer.publish(None).unwrap();
            assert_eq!((sink.visible(), sink.pending()), (before.clone(), rows([])));
        }
    }
}

/// What an epoch gives when it is replayed, and what is told then. Epoch 4 is in the middle of a group.
#[test]
fn visible_output_that_is_replayed_otherwise_is_an_error_that_names_the_file() {
    for (epochs_per_file, when, file) in
        [(1, When::EpochComplete, 5), (1, When::Checkpointed, 5), (3, When::EpochComplete, 3)]
    {
        for other in ["", "row of 6\n", "row of 5\nrow of 5\n", "row of"] {
            let sink = Sink::new(epochs_per_file, when);
            let mut writer = sink.begin().unwrap();
            write(&mut writer, 0..9);
            writer.publish(None).unwrap();
            drop(writer);
            let mut writer = sink.resume(4).unwrap();
            write(&mut writer, [4]);
            let written = if other.is_empty() { Ok(()) } else { writer.write(5, other.as_bytes()) };
            let error = written.and_then(|()| writer.publish(None)).unwrap_err();
            let told = error.to_string();
            assert!(matches!(error, Error::Corrupt { .. }) && told.contains(&format!("{file:020}.txt")), "{told}");
        }
    }
}

#[test]
fn a_directory_with_output_is_refused_to_a_run_that_begins_anew() {
    for when in WHENS {
        let sink = Sink::new(1, when);
        sink.begin().unwrap();
        write(&mut sink.begin().unwrap(), [7]);
        let error = sink.begin().unwrap_err().to_string();
        assert!(error.contains("holds output already, 00000000000000000007.txt: resume"), "{error}");
    }
}

#[test]
fn a_second_run_is_kept_out_and_changes_nothing() {
    let sink = Sink::new(1, When::Checkpointed);
    let mut writer = sink.begin().unwrap();
    write(&mut writer, 0..3);
    for second in [sink.resume(1), sink.resume(0)] {
        let error = second.unwrap_err().to_string();
        assert!(error.contains("another run of this process writes its output to"), "{error}");
    }
    assert_eq!(sink.pending(), rows(0..3));
    drop(writer);
    sink.resume(3).unwrap();
}

#[test]
fn another_layout_and_a_damaged_one_are_refused() {
    let sink = Sink::new(2, When::EpochComplete);
    write(&mut sink.begin().unwrap(), [7]);
    let error = Sink { epochs_per_file: 3, ..sink }.resume(7).unwrap_err().to_string();
    assert!(error.contains("it says format 1, 2 epochs a file") && error.contains("this run format 1, 3"), "{error}");
    let sink = Sink::new(1, When::EpochComplete);
    sink.begin().unwrap();
    fs::write(sink.root.path().join(LAYOUT), "{").unwrap();
    assert!(matches!(sink.resume(0), Err(Error::Corrupt { .. })));
    let file = sink.root.path().join("file");
    fs::write(&file, "").unwrap();
    let layout = Layout::new("txt", NonZeroU64::MIN);
    let share = Share { worker: 0, workers: 1, from: 0, is_resuming: false };
    let error = FileWriter::open(&file, layout, When::EpochComplete, share).unwrap_err();
    assert!(error.to_string().contains("it is a file"), "{error}");
}

/// A crash at any point between what a writer does leaves what the next one can finish: every state of the directory
/// that joining and removing files goes through.
#[test]
fn a_part_that_was_joined_before_the_crash_is_not_joined_again() {
    let sink = Sink::new(2, When::EpochComplete);
    write(&mut sink.begin().unwrap(), 0..2);
    fs::write(sink.root.path().join(format!("{:020}.txt", 0)), text(0) + &text(1)).unwrap();
    fs::remove_file(sink.root.path().join(PENDING).join(format!("{:020}.txt", 0))).unwrap();
    sink.resume(2).unwrap().publish(Some(2)).unwrap();
    assert_eq!((sink.visible(), sink.pending()), (vec![(0, text(0) + &text(1))], rows([])));
}
