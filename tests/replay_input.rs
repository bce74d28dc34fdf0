//! The input of the `replay` example: what it reads, and what it refuses in which words.

#![allow(dead_code)]

#[path = "../examples/replay/arguments.rs"]
mod arguments;
#[path = "../examples/replay/cluster.rs"]
mod cluster;
#[path = "../examples/replay/decimal.rs"]
mod decimal;
#[path = "../examples/replay/epoch.rs"]
mod epoch;
#[path = "../examples/replay/event.rs"]
mod event;
#[path = "../examples/replay/fault.rs"]
mod fault;
#[path = "../examples/replay/file.rs"]
mod file;
#[path = "../examples/replay/generate.rs"]
mod generate;
#[path = "../examples/replay/input.rs"]
mod input;
#[path = "../examples/replay/rows.rs"]
mod rows;

use std::io::Write;
use std::path::PathBuf;

use clap::Parser;
use tempfile::TempDir;

use arguments::Arguments;
use input::{Row, Source};

struct File {
    _directory: TempDir,
    path: PathBuf,
}

fn file(name: &str, bytes: impl AsRef<[u8]>) -> File {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    File { _directory: directory, path }
}

/// Opens a file with columns `t` (seconds) and `k`, and these flags besides.
fn open(file: &File, flags: &str) -> anyhow::Result<Source> {
    let path = file.path.to_str().unwrap();
    let line = format!("replay --time-column t --time-unit s --key-columns k --epoch 10s {flags}");
    let arguments = Arguments::try_parse_from(line.split(' ').filter(|w| !w.is_empty()).chain(["--input", path]))?;
    Source::open(&arguments.input)
}

fn rows(source: &mut Source) -> anyhow::Result<Vec<Row>> {
    std::iter::from_fn(|| source.next_row().transpose()).collect()
}

/// Epoch, line, key and value of each row.
fn read(name: &str, text: impl AsRef<[u8]>, flags: &str) -> Vec<(u64, u64, String, i64)> {
    let rows = rows(&mut open(&file(name, text), flags).unwrap()).unwrap();
    rows.into_iter().map(|row| (row.epoch, row.line, row.event.key, row.event.value)).collect()
}

/// The message, from the file's name on.
fn refusal(text: impl AsRef<[u8]>, flags: &str) -> String {
    let file = file("in.csv", text);
    let error = open(&file, flags).and_then(|mut source| rows(&mut source)).unwrap_err();
    format!("{error:#}").replace(file.path.to_str().unwrap(), "in.csv")
}

fn row(epoch: u64, line: u64, key: &str, value: i64) -> (u64, u64, String, i64) {
    (epoch, line, key.into(), value)
}

#[test]
fn a_source_can_be_read_on_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Source>();
}

#[test]
fn rows_have_epochs_lines_keys_and_values() {
    let text = "v,k,t\n1.5,a,100\n-0.000001,b,109.999999999\n+1000000000,a,110\n 7 ,c,145\n";
    let expected = [
        row(0, 2, "a", 1_500_000),
        row(0, 3, "b", -1),
        row(1, 4, "a", 1_000_000_000_000_000),
        row(4, 5, "c", 7_000_000),
    ];
    assert_eq!(read("in.csv", text, "--value-column v"), expected);
}

#[test]
fn epochs_can_be_of_so_many_records_and_values_are_one() {
    let rows = read("in.csv", "t,k\n1,a\n1,b\n900,c\n", "");
    assert_eq!(rows, [row(0, 2, "a", 1_000_000), row(0, 3, "b", 1_000_000), row(89, 4, "c", 1_000_000)]);
    let file = file("in.csv", "t,k\n1,a\n1,b\n900,c\n");
    let line = ["replay", "--time-column=t", "--key-columns=k", "--epoch-records=2", "--input"];
    let arguments = Arguments::try_parse_from(line.into_iter().chain(file.path.to_str())).unwrap();
    let mut source = Source::open(&arguments.input).unwrap();
    let epochs: Vec<u64> = self::rows(&mut source).unwrap().iter().map(|row| row.epoch).collect();
    assert_eq!(epochs, [0, 0, 1]);
}

#[test]
fn keys_of_several_columns_never_become_one() {
    let file = file("in.csv", "t,k,l\n1,a|b,c\n1,a,b|c\n1,a\\,b\n1,\"x,y\n\"\"z\"\"\",\n2,q,r\n");
    let path = file.path.to_str().unwrap();
    let line = ["replay", "--time-column=t", "--key-columns=k,l", "--input", path];
    let mut source = Source::open(&Arguments::try_parse_from(line).unwrap().input).unwrap();
    let found: Vec<(u64, String)> = rows(&mut source).unwrap().into_iter().map(|r| (r.line, r.event.key)).collect();
    let expected = [(2, r"a\|b|c"), (3, r"a|b\|c"), (4, r"a\\|b"), (5, "x,y\n\"z\"|"), (7, "q|r")];
    assert_eq!(found, expected.map(|(line, key)| (line, key.to_string())));
}

#[test]
fn line_ends_blank_lines_and_a_mark_at_the_start_are_taken_as_they_come() {
    let expected = [row(0, 3, "a", 1_000_000), row(0, 6, "b", 1_000_000)];
    assert_eq!(read("in.csv", "t,k\n\n1,a\n\n\n2,b\n", ""), expected);
    assert_eq!(read("in.csv", "\u{feff}t,k\r\n\r\n1,a\r\n\r\n\r\n2,b\r\n", ""), expected);
    assert_eq!(read("in.csv", "t, k\n\n1,a\n\n\n2,b", ""), expected);
}

#[test]
fn rows_that_make_no_sense_are_refused_with_their_line() {
    let mend = "; mend the row, or skip such rows with --lenient";
    let sort = "; sort the file by this column, or skip such rows with --lenient";
    let cases: [(&[u8], &str, &str); 12] = [
        (b"t,k\n1,a\n2\n", "in.csv, line 3: found 1 field, expected 2 as in the header", mend),
        (b"t,k\n1,a,b\n", "in.csv, line 2: found 3 fields, expected 2 as in the header", mend),
        (b"t,k\n,a\n", "in.csv, line 2, column t: found nothing, expected TIME", mend),
        (b"t,k\r\n\r\n1e3,a", "in.csv, line 3, column t: found \"1e3\", expected TIME", mend),
        (
            b"t,k\n1.0000000001,a",
            "in.csv, line 2, column t: found \"1.0000000001\", expected a time no finer than a nanosecond",
            mend,
        ),
        (
            b"t,k\n99999999999,a",
            "in.csv, line 2, column t: found \"99999999999\", expected a time within 292 years of 0; is --time-unit s right?",
            mend,
        ),
        (
            b"t,k\n1,\"a\nb\"\n5,a\n4.5,b",
            "in.csv, line 5, column t: found 4.5, which is before the time on line 4",
            sort,
        ),
        (b"t,k\n1,\xff\n", "in.csv, line 2, column k: found \"\u{fffd}\", expected text in UTF-8", mend),
        (b"t,k,v\n1,a,\n", "in.csv, line 2, column v: found nothing, expected VALUE", mend),
        (b"t,k,v\n1,a,one\n", "in.csv, line 2, column v: found \"one\", expected VALUE", mend),
        (
            b"t,k,v\n1,a,-1000000000.000001\n",
            "in.csv, line 2, column v: found \"-1000000000.000001\", expected VALUE",
            mend,
        ),
        (b"t,k,v\n1,a,0.1234567\n", "in.csv, line 2, column v: found \"0.1234567\", expected VALUE", mend),
    ];
    for (text, expected, what_to_do) in cases {
        let flags = if text.starts_with(b"t,k,v") { "--value-column v" } else { "" };
        let expected = expected
            .replace("VALUE", "a number from -1000000000 to 1000000000 with at most 6 decimals")
            .replace("TIME", "a time as a whole or decimal number of s");
        assert_eq!(refusal(text, flags), expected + what_to_do);
    }
}

#[test]
fn an_open_quote_is_refused_even_when_lenient() {
    let what = "a quote is opened and never closed; close it, or double it if it is meant";
    assert_eq!(refusal("t,k\n1,a\n2,\"b\n3,c\n", "--lenient"), format!("in.csv, line 3: {what}"));
    let long = format!("t,k\n1,a\n2,\"{}", "3,c\n".repeat(5_000_000));
    let message = refusal(long, "--lenient");
    assert!(message.starts_with("in.csv, line 3: can't read on"), "{message}");
    assert!(message.ends_with("longer than 16 MiB; is there a quote that is never closed?"), "{message}");
}

#[test]
fn lenient_counts_what_it_skips() {
    let text = b"t,k,v\n5,a,1\n4,b,1\nx,c,1\n6,d\n6,e,z\n6,\xff,1\n7,f,1\n6.5,g,1\n";
    let mut source = open(&file("in.csv", text), "--lenient --value-column v").unwrap();
    let keys: Vec<String> = rows(&mut source).unwrap().into_iter().map(|row| row.event.key).collect();
    assert_eq!(keys, ["a", "f"]);
    let skipped = source.skipped();
    assert_eq!(skipped.total(), 6);
    assert_eq!(skipped.to_string(), "1 wrong number of fields, 1 bad time, 2 out of order, 1 bad key, 1 bad value");
}

#[test]
fn files_that_are_none_are_refused_and_files_without_rows_are_not() {
    assert_eq!(refusal("", ""), "the input in.csv is empty: expected a header line with the names of the columns");
    assert_eq!(refusal("\n\n", ""), "the input in.csv has no header: expected a line with the names of the columns");
    let none = "the header of in.csv: has no column \"k\", which --key-columns names; it has \"t\", \"key\"";
    assert_eq!(refusal("t,key\n1,a\n", ""), none);
    let two = "the header of in.csv: has more than one column \"k\": rename the others";
    assert_eq!(refusal("t,k,k\n1,a,b\n", ""), two);
    let gzip = "the input in.csv is compressed by gzip: unpack it, or compress it with zstd";
    assert_eq!(refusal([0x1f, 0x8b, 8, 0], ""), gzip);
    assert_eq!(read("in.csv", "t,k\n", ""), []);
    let missing = File { path: "no/such.csv".into(), _directory: tempfile::tempdir().unwrap() };
    let error = open(&missing, "").err().unwrap();
    assert!(format!("{error:#}").starts_with("can't open the input no/such.csv: "), "{error:#}");
}

#[test]
fn compressed_files_are_known_by_their_first_bytes_or_their_name() {
    let text = "t,k\n1,a\n2,b\n";
    let whole = zstd::encode_all(text.as_bytes(), 3).unwrap();
    let expected = read("in.csv", text, "");
    assert_eq!(read("in.csv.zst", &whole, ""), expected);
    assert_eq!(read("in.csv", &whole, ""), expected);
    let mut frames = zstd::Encoder::new(Vec::new(), 3).unwrap();
    frames.write_all(&text.as_bytes()[..6]).unwrap();
    let mut frames = frames.finish().unwrap();
    frames.extend(zstd::encode_all(&text.as_bytes()[6..], 3).unwrap());
    assert_eq!(read("in.csv.zst", frames, ""), expected);
    let cut = refusal(&whole[..whole.len() - 3], "");
    assert!(cut.starts_with("in.csv, line 3: can't read on; is the file damaged, or cut short?"), "{cut}");
    let plain = file("in.csv.zst", text);
    let message = format!("{:#}", open(&plain, "").err().unwrap());
    assert!(message.starts_with("can't read the header of "), "{message}");
}

#[test]
fn skipping_goes_on_where_the_checkpoint_was() {
    let file = file("in.csv", "t,k\n1,a\n0,x\n15,b\n27,c\n");
    let all = rows(&mut open(&file, "--lenient").unwrap()).unwrap();
    for skipped in 0..=3 {
        let mut source = open(&file, "--lenient").unwrap();
        source.skip(skipped).unwrap();
        assert_eq!(rows(&mut source).unwrap(), all[skipped as usize..]);
        assert_eq!((source.position(), source.skipped().total()), (3, 1));
        assert_eq!(source.progress().done(), source.progress().total());
    }
    let error = open(&file, "--lenient").unwrap().skip(4).unwrap_err().to_string();
    assert_eq!(
        error,
        "the checkpoint was taken after 4 records, but the input has only 3: resume with the input it was taken from"
    );
}
