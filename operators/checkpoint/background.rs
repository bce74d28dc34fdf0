//! Threads that work for checkpoints beside the workers. Where no core is to spare they take what the workers leave, and
//! a worker that has something to do waits for no more than a chunk's worth of their work.

use std::thread;

/// By how much they are nicer than the workers: one that never sleeps leaves them a tenth of its core. Less would often
/// do, but a snapshot that waits for the store takes memory, and in the end holds up data.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

/// Makes the thread that calls such a one. Where that can't be done, it is as any other.
pub(super) fn begin() {
    // Here, and on no other system, both are about a thread and not about its process.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        _ = getpriority_process(None).and_then(|nice| setpriority_process(None, nice + NICER));
    }
}

/// Between two pieces of work, lets those work who have waited for this one.
pub(super) fn give_way() {
    thread::yield_now();
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
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
