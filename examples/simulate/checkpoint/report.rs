//! The cost ratios as a table.

use std::fmt;

use thalweg::checkpoint::CostModel;

use super::compare::{Comparison, RULES};

/// The cost of each rule relative to the best fixed interval, series by series.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

struct Row {
    series: String,
    model: CostModel,
    /// What the best fixed interval is.
    fixed: String,
    /// In the order of the rules.
    ratios: Vec<f64>,
}

impl Report {
    /// Adds a series.
    pub fn add(&mut self, series: String, comparison: &Comparison) {
        for compared in comparison {
            let fixed = &compared.outcomes[0];
            let ratio = |cost: f64| if fixed.cost > 0.0 { cost / fixed.cost } else { 1.0 };
            self.rows.push(Row {
                series: series.clone(),
                model: compared.costs.model,
                fixed: fixed.rule.clone(),
                ratios: compared.outcomes.iter().map(|outcome| ratio(outcome.cost)).collect(),
            });
        }
    }

    /// By cost model, for each rule the geometric mean of its ratios over all series, and the largest.
    pub fn summary(&self) -> Vec<(CostModel, Vec<(f64, f64)>)> {
        let of = |model: CostModel, rule: usize| {
            let ratios = || self.rows.iter().filter(|row| row.model == model).map(|row| row.ratios[rule]);
            let mean = ratios().map(f64::ln).sum::<f64>() / ratios().count() as f64;
            (mean.exp(), ratios().fold(0.0, f64::max))
        };
        CostModel::ALL.map(|model| (model, (0..RULES.len()).map(|rule| of(model, rule)).collect())).into()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Costs relative to the best fixed interval; literal is with the best threshold.")?;
        let line =
            |f: &mut fmt::Formatter<'_>, series: &str, model: &dyn fmt::Display, fixed: &str, cells: Vec<String>| {
                let cells: String = cells.iter().map(|cell| format!("{cell:>12}")).collect();
                writeln!(f, "{series:<24} {model:<8} {fixed:>10}{cells}")
            };
        let rules = RULES[1..].iter().map(|rule| (*rule).to_owned()).collect();
        line(f, "series", &"costs", "fixed", rules)?;
        for Row { series, model, fixed, ratios } in &self.rows {
            line(f, series, model, fixed, ratios[1..].iter().map(|ratio| format!("{ratio:.3}")).collect())?;
        }
        let summary = self.summary();
        for (model, rules) in &summary {
            line(f, "geometric mean", model, "", rules[1..].iter().map(|rule| format!("{:.3}", rule.0)).collect())?;
        }
        for (model, rules) in &summary {
            line(f, "worst", model, "", rules[1..].iter().map(|rule| format!("{:.3}", rule.1)).collect())?;
        }
        Ok(())
    }
}
