//! The file that is written.

use std::fs;
use std::path::Path;

/// Refuses a file of events that can't be written, or would take the place of the input, and says why.
pub fn validate(events: Option<&Path>, input: Option<&Path>) -> Result<(), String> {
    let Some(events) = events else { return Ok(()) };
    let name = events.display();
    if events.is_dir() {
        return Err(format!("can't create the events {name}: it is a directory: name a file in it"));
    }
    match events.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            return Err(format!("can't create the events {name}: there is no directory {}", parent.display()));
        }
        _ => {}
    }
    let same = |input: &Path| matches!((fs::canonicalize(input), fs::canonicalize(events)), (Ok(a), Ok(b)) if a == b);
    match input.is_some_and(same) {
        true => Err(format!("--events {name} is the input, which it would overwrite: name another file")),
        false => Ok(()),
    }
}
