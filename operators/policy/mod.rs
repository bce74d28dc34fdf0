//! What to do: pure functions from profiles to commands. [`Static`] does nothing, a [`Script`] what it says,
//! [`Reactive`] what the load that was asks for, and [`Proactive`], the default, what the load that will be asks for,
//! as far as it can be foreseen:
//!
//! ```text
//!   profiles ──▶ foresight ──▶ fold ────▶ loads ────▶ scale ────▶ planning ──▶ commands
//!                where load    keys that  of shards,  workers     merges,
//!                will lie, if  are too    that were   to be       splits and
//!                it can be     hot        or will be  in use      moves that pay
//!                told
//! ```

mod balancer;
mod cells;
mod config;
mod fold;
mod foresight;
mod holdings;
mod loads;
mod proactive;
mod reactive;
mod scale;
mod script;
mod trust;

pub use config::PolicyConfig;
pub use fold::FOLDED_PER_WORKER;
pub use proactive::Proactive;
pub use reactive::Reactive;
pub use script::{Script, ScriptError};

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::error::Error;
use crate::keyspace::{Assignment, Command};
use crate::profile::Profile;

/// What a policy may look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The epoch that has just become complete.
    pub epoch: u64,
    /// The boundary at which the commands will take effect: `epoch + lead`.
    pub boundary: u64,
    /// The assignment just before that boundary: all commands given so far are in it.
    pub assignment: &'a Assignment,
    /// The shards that saw records in the epoch, in order of their ranges: those of the assignment that was in
    /// force *then*, which with a lead of more than 1 need not be those of `assignment`.
    pub profiles: &'a [Profile],
    /// Whether keys can be folded: whether all operators that the assignment routes to have a merge.
    pub can_fold: bool,
    /// What the folded keys saw in the epoch, at all gates together: those that were folded *then*, by a command or
    /// because gates found them hot. No profile has these records. Each worker takes in what its source gives it of
    /// them, so that they can't be moved and need not be.
    pub folded: &'a [FoldedKey],
}

/// What a folded key, or several, saw in one complete epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldedKey {
    /// The routing key; `None` for all those together which gates have found hot, and which are too light to be told of
    /// one by one.
    pub key: Option<u64>,
    /// The records, at all gates together.
    pub records: u64,
}

/// What a policy looks at of profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Nothing: a view has none.
    Nothing,
    /// What they say of the newest epoch: the rolling figures are those of that epoch.
    Epoch,
    /// What they say of all epochs of the window.
    Window,
}

/// Decides, from one complete epoch's profiles, what to do `lead` epochs later. A pure function of what it has
/// been shown so far: no clock, no I/O, no unseeded randomness.
pub trait Policy: 'static {
    /// The commands for the view's boundary, to be applied in their order. It is asked once for each epoch in which
    /// there was anything but state that moved. So while no data comes, it is not asked: what it spreads over several
    /// boundaries goes on when some does.
    fn decide(&mut self, view: &View<'_>) -> Vec<Command>;

    /// What it looks at of profiles: of what it doesn't, none are made of the workers' reports.
    fn sight(&self) -> Sight {
        Sight::Window
    }

    /// Commands known before the run, by boundary: those after the epoch `from`, with which the run begins with the
    /// assignment `start`. An error if one of them can't be carried out, or if the policy does not fit the assignment.
    fn known(&mut self, start: &Assignment, from: u64) -> Result<BTreeMap<u64, Vec<Command>>, Error> {
        let _ = (start, from);
        Ok(BTreeMap::new())
    }
}

/// Changes nothing, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Static;

impl Policy for Static {
    fn decide(&mut self, _: &View<'_>) -> Vec<Command> {
        Vec::new()
    }

    fn sight(&self) -> Sight {
        Sight::Nothing
    }
}
