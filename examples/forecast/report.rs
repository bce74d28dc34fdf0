//! What is printed at the end.

use std::collections::BTreeMap;
use std::fmt;

use indicatif::HumanCount;

use crate::backtest::{Backtest, METHODS, STEPS};
use crate::predict::Predicted;

/// What was forecast.
pub struct Summary<'a> {
    pub predicted: &'a [Predicted],
    pub horizon: usize,
    pub output: String,
    pub seconds: f64,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: usize = self.predicted.iter().map(|p| p.values).sum();
        let missing: usize = self.predicted.iter().map(|p| p.missing).sum();
        writeln!(f, "{} with {} values", plural(self.predicted.len(), "series", "series"), HumanCount(values as u64))?;
        if missing > 0 {
            writeln!(f, "  missing        {}, taken for what was expected", HumanCount(missing as u64))?;
        }
        let mut seasons: BTreeMap<String, usize> = BTreeMap::new();
        for predicted in self.predicted {
            let name = match predicted.seasons {
                None => "none".to_owned(),
                Some(found) => match found.long {
                    None => found.period.to_string(),
                    Some(long) => format!("{} and {long}", found.period),
                },
            };
            *seasons.entry(name).or_default() += 1;
        }
        let mut seasons: Vec<_> = seasons.into_iter().collect();
        seasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let shown: Vec<String> = seasons.iter().take(4).map(|(name, count)| format!("{name} ({count})")).collect();
        let more = seasons.len().saturating_sub(shown.len());
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        writeln!(f, "  seasons        {}{rest}", shown.join(", "))?;
        let mut skills: Vec<f64> = self.predicted.iter().filter_map(|p| p.skill).collect();
        skills.sort_by(f64::total_cmp);
        match skills.get(skills.len() / 2) {
            Some(skill) => writeln!(
                f,
                "  skill          {skill:.2} (median; 0 is that of the last or the same phase's last value)"
            )?,
            None => writeln!(f, "  skill          can't be told from so few values")?,
        }
        let helpless = skills.iter().filter(|skill| **skill <= 0.0).count();
        if helpless > 0 {
            writeln!(f, "  no skill       in {}", plural(helpless, "series", "series"))?;
        }
        writeln!(
            f,
            "  time           {:.2} s, {:.2} µs per value",
            self.seconds,
            self.seconds * 1e6 / values.max(1) as f64
        )?;
        writeln!(f, "  forecasts      {} steps of each, in {}", self.horizon, self.output)
    }
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", HumanCount(count as u64), if count == 1 { one } else { many })
}

impl fmt::Display for Backtest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tested, origins) = (self.tallies[0].steps.len(), self.origins);
        let from = if origins == 1 { "their last origin".to_owned() } else { format!("up to {origins} origins") };
        writeln!(f, "{} forecast from {from}", plural(tested, "series", "series"))?;
        if self.short > 0 {
            writeln!(f, "{} too short to hold anything out", plural(self.short, "series is", "series are"))?;
        }
        writeln!(f)?;
        write!(f, "{:<22}{:>7}{:>9}{:>7}{:>11}{:>10}", "", "MASE", "sMAPE %", "OWA", "coverage %", "µs/value")?;
        let shown = || (0..STEPS.len()).filter(|step| STEPS[*step] <= self.horizon());
        shown().try_for_each(|step| write!(f, "{:>9}", format!("step {}", STEPS[step])))?;
        writeln!(f)?;
        let last_value = &self.tallies[1];
        for (method, tally) in METHODS.iter().zip(&self.tallies) {
            let micros = tally.seconds * 1e6 / tally.values.max(1) as f64;
            let owa = tally.owa(&self.naive2);
            write!(f, "{:<22}{:>7.3}{:>9.2}{owa:>7.3}", method.name, tally.mase.mean(), tally.smape.mean())?;
            write!(f, "{:>11.1}{micros:>10.2}", 100.0 * tally.covered.mean())?;
            let relative = tally.relative(last_value);
            shown().try_for_each(|step| write!(f, "{:>9.3}", relative[step]))?;
            writeln!(f)?;
        }
        let (mase, smape) = (self.naive2.mase.mean(), self.naive2.smape.mean());
        writeln!(f, "{:<22}{mase:>7.3}{smape:>9.2}{:>7.3}", "Naive2", 1.0)?;
        writeln!(f)?;
        writeln!(f, "OWA is relative to Naive2; the steps are mean absolute errors relative to the last value's.")
    }
}
