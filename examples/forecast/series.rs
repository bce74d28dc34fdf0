//! The series of a CSV file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use csv::ByteRecord;
use indexmap::IndexMap;

use crate::file;

/// A CSV file, and the columns of it that matter.
#[derive(Clone, Debug, Args)]
pub struct Input {
    /// CSV file with a header, each series in time order, plain or compressed by zstd.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,

    /// Column with the time of a value: a number, or a date like 2014-07-01 00:30:00. Times that a series leaves out
    /// are missing values.
    #[arg(long, value_name = "COLUMN")]
    pub time_column: String,

    /// Column with the value: a number; nothing, or NaN, where it is missing.
    #[arg(long, value_name = "COLUMN")]
    pub value_column: String,

    /// Column that tells series apart. [default: all is one series]
    #[arg(long, value_name = "COLUMN")]
    pub series_column: Option<String>,
}

impl Input {
    /// Reads all series, in the order in which they begin.
    pub fn read(&self) -> Result<Vec<Series>> {
        let Input { input, time_column: time, value_column: value, series_column } = self;
        read(input, &Columns { time, value, series: series_column.as_deref() })
    }
}

/// Where in the rows a series is: the names of columns.
pub struct Columns<'a> {
    pub time: &'a str,
    pub value: &'a str,
    /// What tells series apart; without it, all is one.
    pub series: Option<&'a str>,
}

/// A series: its name, and one value per step, NaN where it is missing.
pub struct Series {
    pub name: String,
    /// The time of the first value, and from one to the next; in seconds where times are dates.
    pub start: f64,
    pub step: f64,
    pub values: Vec<f64>,
}

/// No more steps than this are filled in at once: a longer gap is the beginning of another recording, or an error.
const LONGEST_GAP: f64 = 100_000.0;

/// Reads all series, in the order in which they begin.
pub fn read(input: &Path, columns: &Columns<'_>) -> Result<Vec<Series>> {
    let name = input.display().to_string();
    let (bytes, watch, _) = file::open(input)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(bytes);
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record).with_context(|| format!("can't read the header of {name}"))? {
        bail!("the input {name} has no header: expected a line with the names of the columns");
    }
    let places = Places::of(&record, columns).with_context(|| format!("the header of {name}"))?;
    let mut rows: IndexMap<Vec<u8>, Points> = IndexMap::new();
    while reader.read_byte_record(&mut record).with_context(|| format!("can't read the input {name}"))? {
        watch.row_ends(reader.position().byte());
        let line = record.position().map_or(0, csv::Position::line);
        let (series, time, value) = places.row(&record).map_err(|what| anyhow!("{name}, line {line}{what}"))?;
        let points = match rows.get_mut(series) {
            Some(points) => points,
            None => rows.entry(series.to_vec()).or_default(),
        };
        if let Some((before, known)) = points.last()
            && time <= *before
        {
            bail!(
                "{name}, line {line}, column {}: found {time}, which is not after the {before} on line {known} \
                 of the same series; sort the file by this column, or name the --series-column",
                columns.time
            );
        }
        points.push(time, value, line);
    }
    if rows.is_empty() {
        bail!("the input {name} has no rows: expected values below the header");
    }
    let named = |(series, points): (Vec<u8>, Points)| {
        let name = if columns.series.is_some() { text(&series) } else { stem(input) };
        points.regular(name)
    };
    Ok(rows.into_iter().map(named).collect())
}

/// The same columns by their places.
struct Places<'a> {
    time: usize,
    value: usize,
    series: Option<usize>,
    columns: &'a Columns<'a>,
    count: usize,
}

impl<'a> Places<'a> {
    fn of(header: &ByteRecord, columns: &'a Columns<'a>) -> Result<Self> {
        let clean = |field: &[u8]| text(field).trim_start_matches('\u{feff}').trim().to_owned();
        let names: Vec<String> = header.iter().map(clean).collect();
        let find = |name: &str| match names.iter().filter(|n| *n == name).count() {
            1 => Ok(names.iter().position(|n| n == name).unwrap_or_default()),
            0 => Err(anyhow!("there is no column {name:?}; the columns are {}", names.join(", "))),
            _ => Err(anyhow!("there is more than one column {name:?}")),
        };
        Ok(Places {
            time: find(columns.time)?,
            value: find(columns.value)?,
            series: columns.series.map(find).transpose()?,
            columns,
            count: names.len(),
        })
    }

    fn row<'r>(&self, record: &'r ByteRecord) -> Result<(&'r [u8], f64, f64), String> {
        if record.len() != self.count {
            return Err(format!(": found {} fields, expected {} as in the header", record.len(), self.count));
        }
        let field = |column: usize| record[column].trim_ascii();
        let series = self.series.map_or(&b""[..], field);
        let time = time(&text(field(self.time))).ok_or_else(|| {
            let (column, found) = (self.columns.time, text(field(self.time)));
            format!(", column {column}: found {found:?}, expected a number, or a date like 2014-07-01 00:30:00")
        })?;
        let value = value(&text(field(self.value))).ok_or_else(|| {
            let (column, found) = (self.columns.value, text(field(self.value)));
            format!(", column {column}: found {found:?}, expected a number, or nothing where it is missing")
        })?;
        Ok((series, time, value))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn value(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "" | "nan" | "na" | "null" => Some(f64::NAN),
        _ => text.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// A number, or the seconds since 1970 of a date and, perhaps, a time of day.
fn time(text: &str) -> Option<f64> {
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let (date, clock) = text.split_once([' ', 'T']).unwrap_or((text, "0:0:0"));
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.trim_end_matches('Z').splitn(3, ':').map(|part| part.parse::<f64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next().unwrap_or(Some(0.0))?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year.abs() > 9_999 {
        return None;
    }
    // Years begin in March, so that the leap day is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = days + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days as f64 * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second)
}

/// The rows of one series.
#[derive(Default)]
struct Points {
    times: Vec<f64>,
    values: Vec<f64>,
    line: u64,
}

impl Points {
    fn push(&mut self, time: f64, value: f64, line: u64) {
        self.times.push(time);
        self.values.push(value);
        self.line = line;
    }

    /// The last time, and its line.
    fn last(&self) -> Option<(&f64, u64)> {
        self.times.last().map(|time| (time, self.line))
    }

    /// One value per step, the step being the median difference of times. Where times are further apart than that,
    /// values are missing.
    fn regular(self, name: String) -> Series {
        let start = self.times.first().copied().unwrap_or_default();
        let steps = || self.times.windows(2).map(|pair| pair[1] - pair[0]);
        let mut sorted: Vec<f64> = steps().collect();
        sorted.sort_by(f64::total_cmp);
        let Some(step) = sorted.get(sorted.len() / 2).copied() else {
            return Series { name, start, step: 1.0, values: self.values };
        };
        let mut values = Vec::with_capacity(self.values.len());
        for (value, gap) in self.values.iter().zip(std::iter::once(step).chain(steps())) {
            let missing = (gap / step).round() - 1.0;
            if (1.0..=LONGEST_GAP).contains(&missing) {
                values.resize(values.len() + missing as usize, f64::NAN);
            }
            values.push(*value);
        }
        Series { name, start, step, values }
    }
}
