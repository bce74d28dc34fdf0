//! What checkpoints and failures cost with each trigger, relative to the best fixed interval chosen in hindsight.
//!
//! Traces of eleven kinds are built in; recorded ones are added by argument. The very triggers of the dataflow are
//! driven, by what `simulate checkpoint` compares them with.

#[path = "../examples/simulate/checkpoint/mod.rs"]
#[allow(dead_code, reason = "an example's")]
mod checkpoint;
#[path = "common/mod.rs"]
mod common;
#[path = "../examples/replay/file.rs"]
#[allow(dead_code, reason = "an example's")]
mod file;
#[path = "../examples/forecast/series.rs"]
#[allow(dead_code, reason = "an example's")]
mod series;
#[path = "common/traces.rs"]
mod traces;

use std::error::Error;
use std::str::FromStr;

use checkpoint::arrivals;
use checkpoint::compare::{RULES, compare};
use checkpoint::report::Report;
use checkpoint::setting::Setting;
use clap::Parser;
use common::finish;
use serde_json::{Map, Value, json};
use series::Input;

#[derive(Parser)]
#[group(skip)]
struct Arguments {
    #[command(flatten)]
    common: common::Arguments,
    /// CSV files with their columns: FILE,TIME,VALUE or FILE,TIME,VALUE,SERIES.
    files: Vec<File>,
}

#[derive(Clone)]
struct File(Input);

impl FromStr for File {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::to_owned);
        let (Some(input), Some(time_column), Some(value_column), series_column) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("expected FILE,TIME,VALUE or FILE,TIME,VALUE,SERIES".into());
        };
        Ok(File(Input { input: input.into(), time_column, value_column, series_column }))
    }
}

/// By how many epochs the best interval at the mean rate is long, how many times the peak rate is served, and the lead.
const SETTINGS: [(f64, f64, u64); 6] =
    [(30.0, 2.0, 1), (10.0, 2.0, 1), (90.0, 2.0, 1), (200.0, 2.0, 1), (30.0, 1.2, 1), (30.0, 2.0, 2)];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let (epochs, settings) = (arguments.common.sized(3_000, 10_000), arguments.common.sized(1, 6));
    let generated = traces::KINDS.map(|(name, make)| (name.to_owned(), make(epochs as usize, 1)));
    let mut all = Vec::from(generated);
    for File(input) in &arguments.files {
        for series in input.read()? {
            all.push((series.name.clone(), arrivals(&series)?));
        }
    }
    let mut found = Vec::new();
    for (interval, service_rate, lead) in &SETTINGS[..settings as usize] {
        let setting = Setting { interval: *interval, service_rate: *service_rate, lead: *lead, ..Setting::default() };
        let mut report = Report::default();
        for (name, records) in &all {
            report.add(name.clone(), &compare(records, &setting)?);
        }
        println!(
            "Best at the mean rate: {interval} epochs; {service_rate} x the peak rate is served; lead {lead}.\n{report}"
        );
        let rules = |rules: Vec<(f64, f64)>| {
            let rule =
                |(rule, (mean, worst)): (&str, (f64, f64))| (rule.to_owned(), json!({ "mean": mean, "worst": worst }));
            Value::Object(RULES.into_iter().zip(rules).skip(1).map(rule).collect())
        };
        let models: Map<_, _> =
            report.summary().into_iter().map(|(model, of)| (model.to_string(), rules(of))).collect();
        found.push((format!("interval_{interval}_service_{service_rate}_lead_{lead}"), Value::Object(models)));
    }
    finish(found);
    Ok(())
}
