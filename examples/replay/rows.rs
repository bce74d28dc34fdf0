//! Rows of a CSV file, in time order.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use csv::ByteRecord;

use crate::decimal::{self, Refusal};
use crate::epoch::TimeUnit;
use crate::event::{Event, ONE, parse_value};
use crate::fault::{Fault, FaultKind, Skipped, shown};
use crate::file::{self, Bytes, Progress, Watch};

/// An event with its time.
pub struct Timed {
    /// Nanoseconds, from whenever the input's clock counts.
    pub time: i64,
    /// The line of the file, or the number of the record in the built-in stream, from 1.
    pub line: u64,
    /// The event.
    pub event: Event,
}

/// What is read of a file: the names of columns, and what is in them.
pub struct Layout<'a> {
    pub time: &'a str,
    pub unit: TimeUnit,
    /// Together the key.
    pub keys: &'a [String],
    /// Without one, every value is 1.
    pub value: Option<&'a str>,
    /// Rows that can't be read are left out.
    pub lenient: bool,
}

/// Which of a row's fields are of interest.
struct Columns {
    names: Vec<String>,
    time: usize,
    keys: Vec<usize>,
    value: Option<usize>,
}

/// Reads a CSV file with a header.
pub struct Rows {
    name: String,
    reader: csv::Reader<Bytes>,
    record: ByteRecord,
    columns: Columns,
    unit: TimeUnit,
    lenient: bool,
    before: Option<(i64, u64)>,
    skipped: Skipped,
    watch: Watch,
    progress: Progress,
}

impl Rows {
    pub fn open(path: &Path, layout: &Layout<'_>) -> Result<Self> {
        let name = path.display().to_string();
        let (bytes, watch, progress) = file::open(path)?;
        // Ending rows at \n alone keeps the count of lines right in files that end them with \r\n.
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .buffer_capacity(1 << 16)
            .from_reader(bytes);
        let mut header = ByteRecord::new();
        let found = reader.read_byte_record(&mut header).with_context(|| format!("can't read the header of {name}"))?;
        if !found {
            bail!("the input {name} has no header: expected a line with the names of the columns");
        }
        let columns = Columns::of(&header, layout).with_context(|| format!("the header of {name}"))?;
        Ok(Rows {
            reader,
            record: header,
            columns,
            unit: layout.unit,
            lenient: layout.lenient,
            before: None,
            skipped: Skipped::default(),
            watch,
            progress,
            name,
        })
    }

    pub fn next(&mut self) -> Result<Option<Timed>> {
        while let Some(line) = self.read()? {
            match self.row(line) {
                Ok(row) => {
                    self.before = Some((row.time, line));
                    return Ok(Some(row));
                }
                Err(fault) if self.lenient => self.skipped.count(fault.kind),
                Err(fault) => bail!("{}, {fault}", self.name),
            }
        }
        Ok(None)
    }

    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Reads one record, and says on which line it begins.
    fn read(&mut self) -> Result<Option<u64>> {
        loop {
            let start = self.reader.position().line();
            let found = self.reader.read_byte_record(&mut self.record);
            if !found.map_err(|error| self.unreadable(start, error))? {
                return Ok(None);
            }
            self.watch.row_ends(self.reader.position().byte());
            let at_end = self.watch.used_up();
            let open = at_end && self.quote_is_open();
            let terminated = !at_end || (self.watch.tail()[7] == b'\n' && !open);
            let line = self.first_line(start, terminated);
            if open {
                let what = "a quote is opened and never closed; close it, or double it if it is meant";
                bail!("{}, line {line}: {what}", self.name);
            }
            let blank = self.record.len() == 1 && self.record.as_slice() == b"\r";
            if !blank {
                return Ok(Some(line));
            }
        }
    }

    /// The line on which the record begins, of which the reader knows only where it began to look for it.
    fn first_line(&self, start: u64, terminated: bool) -> u64 {
        let end = self.reader.position().line();
        if end <= start + 1 {
            return start;
        }
        let inside = self.record.as_slice().iter().filter(|&&byte| byte == b'\n').count() as u64;
        end - inside - u64::from(terminated)
    }

    /// Whether a quote in the record was still open at the end of the file: it has swallowed all rows after it.
    fn quote_is_open(&self) -> bool {
        let of_many_lines = self.record.iter().next_back().is_some_and(|field| field.contains(&b'\n'));
        of_many_lines && !self.watch.tail().trim_ascii_end().ends_with(b"\"")
    }

    fn unreadable(&self, line: u64, error: csv::Error) -> anyhow::Error {
        anyhow!(error).context(format!("{}, line {line}: can't read on; is the file damaged, or cut short?", self.name))
    }

    fn row(&self, line: u64) -> Result<Timed, Fault> {
        let expected = self.columns.names.len();
        if self.record.len() != expected {
            let found = self.record.len();
            let fields = if found == 1 { "field" } else { "fields" };
            let what = format!("found {found} {fields}, expected {expected} as in the header");
            return Err(Fault { kind: FaultKind::Fields, line, column: None, what });
        }
        let time = self.time(line)?;
        let key = self.key(line)?;
        let value = self.columns.value.map_or(Ok(ONE), |column| self.value(line, column))?;
        Ok(Timed { time, line, event: Event { key, value } })
    }

    /// A field without the `\r` that a `\r\n` leaves at the end of a row.
    fn field(&self, column: usize) -> &[u8] {
        let field = &self.record[column];
        if column + 1 == self.record.len() { field.strip_suffix(b"\r").unwrap_or(field) } else { field }
    }

    fn time(&self, line: u64) -> Result<i64, Fault> {
        let (column, unit) = (self.columns.time, self.unit);
        let field = self.field(column);
        let time = decimal::parse(field, unit.places()).map_err(|refusal| {
            let expected = match refusal {
                Refusal::NotANumber => format!("a time as a whole or decimal number of {unit}"),
                Refusal::TooFine => "a time no finer than a nanosecond".into(),
                Refusal::TooLarge => format!("a time within 292 years of 0; is --time-unit {unit} right?"),
            };
            self.fault(FaultKind::Time, line, column, format!("found {}, expected {expected}", shown(field)))
        })?;
        match self.before {
            Some((before, at)) if time < before => {
                let found = String::from_utf8_lossy(field.trim_ascii());
                let what = format!("found {found}, which is before the time on line {at}");
                Err(self.fault(FaultKind::Order, line, column, what))
            }
            _ => Ok(time),
        }
    }

    fn value(&self, line: u64, column: usize) -> Result<i64, Fault> {
        let field = self.field(column);
        parse_value(field).map_err(|_| {
            let expected = "a number from -1000000000 to 1000000000 with at most 6 decimals";
            self.fault(FaultKind::Value, line, column, format!("found {}, expected {expected}", shown(field)))
        })
    }

    /// The key's fields joined by `|`; a `|` or `\` in a field is escaped by `\`, so that no two keys become one.
    fn key(&self, line: u64) -> Result<String, Fault> {
        let mut key = Vec::with_capacity(32);
        for (i, &column) in self.columns.keys.iter().enumerate() {
            if i > 0 {
                key.push(b'|');
            }
            let field = self.field(column);
            if field.iter().any(|byte| matches!(byte, b'|' | b'\\')) {
                key.extend(
                    field.iter().flat_map(|&b| matches!(b, b'|' | b'\\').then_some(b'\\').into_iter().chain([b])),
                );
            } else {
                key.extend_from_slice(field);
            }
        }
        String::from_utf8(key).map_err(|_| {
            let bad = self.columns.keys.iter().copied().find(|&c| std::str::from_utf8(self.field(c)).is_err());
            let column = bad.unwrap_or(self.columns.keys[0]);
            let what = format!("found {}, expected text in UTF-8", shown(self.field(column)));
            self.fault(FaultKind::Key, line, column, what)
        })
    }

    fn fault(&self, kind: FaultKind, line: u64, column: usize, what: String) -> Fault {
        Fault { kind, line, column: Some(self.columns.names[column].clone()), what }
    }
}

impl Columns {
    fn of(header: &ByteRecord, layout: &Layout<'_>) -> Result<Self> {
        let names: Vec<String> = header.iter().map(|n| String::from_utf8_lossy(n.trim_ascii()).into_owned()).collect();
        let find = |wanted: &str, flag: &str| -> Result<usize> {
            let mut places = names.iter().enumerate().filter(|(_, name)| *name == wanted).map(|(i, _)| i);
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (Some(_), Some(_)) => bail!("has more than one column {wanted:?}: rename the others"),
                (None, _) => bail!("has no column {wanted:?}, which {flag} names; it has {}", listed(&names)),
            }
        };
        let time = find(layout.time, "--time-column")?;
        let keys: Result<Vec<_>> = layout.keys.iter().map(|key| find(key, "--key-columns")).collect();
        let value = layout.value.map(|value| find(value, "--value-column")).transpose()?;
        Ok(Columns { time, keys: keys?, value, names })
    }
}

fn listed(names: &[String]) -> String {
    const MOST: usize = 40;
    let mut shown: Vec<String> = names.iter().take(MOST).map(|name| shown(name.as_bytes())).collect();
    if names.len() > MOST {
        shown.push(format!("and {} more", names.len() - MOST));
    }
    shown.join(", ")
}
