//! The command line of the `replay` example.

#![allow(dead_code)]

#[path = "../examples/replay/arguments.rs"]
mod arguments;
#[path = "../examples/replay/cluster.rs"]
mod cluster;
#[path = "../examples/replay/epoch.rs"]
mod epoch;

use clap::Parser;

use arguments::{Arguments, PolicyChoice};

fn parsed(line: &str) -> Result<Arguments, String> {
    let arguments = Arguments::try_parse_from(line.split_whitespace()).map_err(|error| {
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    })?;
    arguments.validate().map(|()| arguments)
}

#[test]
fn command_lines_that_make_no_sense_are_refused() {
    let file = "--input Cargo.toml --time-column t --key-columns k";
    for (line, expected) in [
        ("replay --input Cargo.toml", "--time-column <COLUMN>"),
        ("replay --input Cargo.toml --time-column t", "--key-columns <COLUMN,…>"),
        ("replay --value-column v", "--input <FILE>"),
        ("replay --resume", "--checkpoint <DIR>"),
        ("replay --epoch 1h --epoch-records 5", "cannot be used with"),
        ("replay --epoch 0s", "expected a length of time above 0 in ms, s, m, h or d, such as 250ms, 1h or 1d12h"),
        ("replay --epoch 5", "expected a length of time above 0"),
        ("replay --epoch-records 0", "0 is not in 1.."),
        ("replay --workers 0", "0 is not in 1..=1024"),
        ("replay --policy hopeful", "expected static, reactive, proactive or scripted:FILE"),
        ("replay --policy scripted:no.txt", "--policy scripted:no.txt: there is no file no.txt"),
        ("replay -n 2 -p 2", "--process 2 is not one of the 2 processes, 0 to 1"),
        ("replay -n 2 --hostfile no.txt", "can't read --hostfile no.txt: "),
        ("replay --results no/r.csv", "--results no/r.csv: there is no directory no"),
        ("replay --events tests", "--events tests is a directory: name a file in it"),
        ("replay --events a --results a", "--results and --events name the same file"),
        ("replay --checkpoint Cargo.toml", "--checkpoint Cargo.toml is not a directory"),
        (
            &format!("replay {file} --results ./Cargo.toml"),
            "--results ./Cargo.toml is the input, which it would overwrite",
        ),
        (&format!("replay {file},k"), "--key-columns names \"k\" twice: once is enough"),
        (&format!("replay {file},"), "a column's name is empty"),
        (&format!("replay {file} --seed 2"), "cannot be used with"),
    ] {
        let message = parsed(line).expect_err(line);
        assert!(message.contains(expected), "{line}: {message}");
    }
}

#[test]
fn command_lines_have_defaults_and_fingerprints() {
    let arguments = parsed("replay").unwrap();
    assert_eq!((arguments.cluster.workers, arguments.policy), (8, PolicyChoice::Proactive));
    let shown = |line: &str| {
        let pairs = parsed(line).unwrap().input.fingerprint();
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown("replay"), "epoch=1h input=built-in seed=1 records=2000000 keys=10000");
    assert_eq!(shown("replay --epoch 90m"), "epoch=1h30m input=built-in seed=1 records=2000000 keys=10000");
    let line = "replay --input ./Cargo.toml --time-column t --time-unit ms --key-columns k,l --epoch-records 7";
    assert_eq!(
        shown(line),
        "epoch=7 records input=Cargo.toml time-column=t time-unit=ms key-columns=k,l value-column= lenient=false"
    );
}
