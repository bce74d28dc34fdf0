#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg::source::{CsvFiles, FilePosition, PartitionReader, ReplaySource};

/// Rows until the end or the first error, each with the position before it, and whether it was an error.
fn rows(files: &CsvFiles<Vec<String>>, from: &FilePosition) -> Option<(Vec<(FilePosition, Vec<String>)>, bool)> {
    let mut reader = files.open("rows.csv", from).ok()?;
    let mut rows = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(row)) => rows.push((reader.position().unwrap(), row)),
            Ok(None) => return Some((rows, false)),
            Err(_) => return Some((rows, true)),
        }
    }
}

// Whatever is in the file: from each position that it gives, a reader goes on as if it had never ended.
fuzz_target!(|data: &[u8]| {
    let Some((kind, text)) = data.split_first() else { return };
    let path = std::env::temp_dir().join(format!("thalweg-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    let path = path.join("rows.csv");
    std::fs::write(&path, text).unwrap();
    let files = CsvFiles::<Vec<String>>::new([&path]).unwrap();
    let files = if kind & 1 == 0 { files } else { files.without_headers() };
    let Some((all, failed)) = rows(&files, &FilePosition::default()) else { return };
    for (index, (position, _)) in all.iter().enumerate().take(8) {
        assert_eq!(rows(&files, position).unwrap(), (all[index..].to_vec(), failed));
    }
});
