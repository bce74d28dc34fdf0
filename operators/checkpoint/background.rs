//! The threads that write and merge checkpoints. Where no core is to spare, the workers come first.

/// By how much they are nicer than the workers: where both always have something to do, one of these gets a quarter of
/// the core, so that a checkpoint is there nevertheless.
///
/// They don't give way between two pieces of work by `yield_now`: on Linux that costs a thread its turn, and the turns
/// of a nice one are far apart.
#[cfg(target_os = "linux")]
const NICER: i32 = 5;

/// Makes the thread that calls such a one. Where that can't be done, it is as any other.
pub(super) fn begin() {
    // Here, and on no other system, both are about a thread and not about its process.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        _ = getpriority_process(None).and_then(|nice| setpriority_process(None, nice + NICER));
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn only_the_thread_that_begins_is_nicer() {
        let nice = || getpriority_process(None).unwrap();
        let before = nice();
        let begun = thread::spawn(move || {
            begin();
            nice()
        });
        assert_eq!(begun.join().unwrap(), (before + NICER).min(19));
        assert_eq!(nice(), before);
    }
}
