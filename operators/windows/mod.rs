//! Windows of event time: what they hold, when they close, and what is kept until then. Pure.
//!
//! | type | what it is |
//! |---|---|
//! | [`Window`] | a half-open range of event time |
//! | [`Windows`], [`Gap`] | which windows there are: tumbling or sliding ones, or sessions; both are a [`Windowing`] |
//! | [`Late`] | what becomes of a record that comes after its windows have closed |
//! | [`Panes`], [`Sessions`] | what the records of a key have gathered, per pane or session: merged, closed, encoded |
//! | [`TopK`] | the greatest values of those inserted, as something to gather |
//! | [`Windowed`] | the records of an epoch folded, then merged into the key's state, which closes at the boundary |
//!
//! ```text
//!  event time   0         5         10        15        20        25         Windows::sliding(15, 5)
//!  panes        |    a    |    b    |         |    c    |    d    |          a record is folded into one
//!  windows      |  = a    |                                                  clipped: it reaches back to -10
//!               |  =      a + b     |                                        clipped: it reaches back to -5
//!               |  =           a + b          |
//!                         |  =      b +       c         |                    a window merges its panes, when it closes:
//!                                   |  =           c + d          |          at the first boundary at or after end + grace
//!
//!  records         x  x   x                x x                               Gap::of(10)
//!  sessions        |  =  3 records  |      |  =  2     |                     from the first record to a gap after the last
//! ```
//!
//! Event times are `u64` ticks, and so is `now`: the instant up to which everything has come, which is the start of an
//! epoch, a boundary. Where both are of one clock, a record that comes in its own epoch is never late. A record of the
//! future waits for its window.
//!
//! A record is *late* if all of its windows had closed before its epoch began. That depends on its epoch and its
//! event time alone, not on what other records there are, on which worker it came to, or on when in its epoch.
//! If some of its windows are still open it counts in those. What is given depends on the records of each epoch and
//! on nothing else, and each window of a key is given once.
//!
//! # Sources
//!
//! Panes: J. Li, D. Maier, K. Tufte, V. Papadimos, P. Tucker, "No pane, no gain: efficient evaluation of sliding-window
//! aggregates over data streams", SIGMOD Record 34(1), 2005; ours are as wide as the slide, which has to divide the
//! width. Sessions by a gap, and lateness as something to choose: T. Akidau and others, "The dataflow model", PVLDB
//! 8(12), 2015. That a window is given once, its end and a grace behind, rather than again for each late record, is as
//! in Kafka Streams.

mod aligned;
#[cfg(test)]
mod codec_tests;
mod late;
#[cfg(test)]
mod model_tests;
mod panes;
mod sessions;
#[cfg(test)]
mod tests;
mod top;
mod window;
mod windowed;
mod windowing;

pub use aligned::Windows;
pub use late::Late;
pub use panes::Panes;
pub use sessions::{Gap, Sessions};
pub use top::TopK;
pub use window::Window;
pub use windowed::{Next, Timed, Windowed};
pub use windowing::Windowing;
