//! What dataflows do, over the public API: same answer, one owner, aligned, quiet ends, crashes. In one program, as that
//! takes less long to build than one for each.

#[path = "../common/mod.rs"]
mod common;

mod commit;
mod driver;
mod edges;
mod exactly_once;
mod fine_times;
mod folds;
mod foresight;
mod incremental;
mod outcomes;
mod outside;
mod processes;
mod profile;
mod quiet_ends;
mod recovery;
mod regressions;
mod reports;
mod routing;
mod same_answer;
mod saving_all;
mod scripted;
mod several;
mod sources_and_sinks;
mod store;
mod store_faults;
mod two_inputs;
mod windowed;
