//! A little chaos: `cargo run --example chaos` is for more.

mod program;

use program::run;

/// Whatever is done to runs, their output is right. Where the fault points are compiled in, they are killed there too.
#[test]
fn runs_that_are_killed_and_resumed_give_the_right_output() {
    let folder = tempfile::tempdir().unwrap();
    let output = run("chaos", &format!("--seeds 6 --seed 1 --jobs 2 --results {}", folder.path().display()));
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}{told}");
    let line: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    let kills: u64 = line["kills"].as_object().unwrap().values().map(|kills| kills.as_u64().unwrap()).sum();
    assert!(line["runs"] == 6 && kills > 1 && line["wrong"].as_array().unwrap().is_empty(), "{told}");
    assert_eq!(errors.contains("has no fault points"), !thalweg::fault::ENABLED, "{errors}");
}
