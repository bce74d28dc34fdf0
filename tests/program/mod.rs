//! An example, run as a user runs it. A hang is a failure, not a hang.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::{Read, Seek};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Generous: a machine may be busy.
const DEADLINE: Duration = Duration::from_secs(180);

/// The example of this name, which `cargo test` builds next to the tests.
pub fn command(name: &str, arguments: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(program.is_file(), "{} is missing: build it with `cargo build --example {name}`", program.display());
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

/// Runs an example to its end.
pub fn run(name: &str, arguments: &str) -> Output {
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let mut command = command(name, arguments);
    command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("{arguments}: it does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
    for (file, bytes) in [(&mut stdout, &mut output.stdout), (&mut stderr, &mut output.stderr)] {
        file.rewind().unwrap();
        file.read_to_end(bytes).unwrap();
    }
    output
}

/// What it prints; it must succeed.
pub fn succeeds(name: &str, arguments: &str) -> String {
    let output = run(name, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments}: {errors}\n{printed}");
    printed
}

/// Its errors; it must end with this code.
pub fn fails(name: &str, arguments: &str, code: i32) -> String {
    let output = run(name, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments}: {errors}");
    errors
}
