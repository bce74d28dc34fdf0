//! The part of the command line that says what the program runs on, as in timely.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::TypedValueParser;
use thalweg::cluster::{Cluster, DEFAULT_CONNECT_TIMEOUT, DEFAULT_GRACE, DEFAULT_SILENCE};

/// What it runs on.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Workers")]
pub struct ClusterArguments {
    /// Worker threads per process.
    #[arg(long, short = 'w', default_value_t = 8, value_parser = count(1, 1024))]
    pub workers: usize,

    /// Processes.
    #[arg(long, short = 'n', default_value_t = 1, value_parser = count(1, 1024))]
    pub processes: usize,

    /// Which of the processes this is, from 0.
    #[arg(long, short = 'p', default_value_t = 0)]
    pub process: usize,

    /// Start all processes from this one, on this machine, and when one of them fails all again, from the last
    /// checkpoint, so many times at most.
    #[arg(long, value_name = "RESTARTS", requires = "checkpoint", conflicts_with = "process")]
    pub supervise: Option<u32>,

    /// File with a line HOST:PORT per process. [default: localhost, ports from 2101]
    #[arg(long, value_name = "FILE")]
    pub hostfile: Option<PathBuf>,

    /// Wait so many seconds for the other processes to come up.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_CONNECT_TIMEOUT.as_secs())]
    pub connect_timeout: u64,

    /// End with an error so many seconds after another process has ended well.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_GRACE.as_secs())]
    pub grace: u64,

    /// Give up another machine that has not answered for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_SILENCE.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    pub silence: u64,
}

fn count(least: u64, most: u64) -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u64).range(least..=most).map(|number| number as usize)
}

impl ClusterArguments {
    /// The same for the library. All processes must have found the same to be agreed on.
    pub fn cluster(&self, agreement: String) -> Result<Cluster, String> {
        Ok(Cluster {
            connect_timeout: Duration::from_secs(self.connect_timeout),
            grace: Duration::from_secs(self.grace),
            silence: Duration::from_secs(self.silence),
            agreement,
            ..Cluster::new(self.workers, self.process, self.addresses()?)
        })
    }

    fn addresses(&self) -> Result<Vec<String>, String> {
        let Some(path) = &self.hostfile else {
            return Ok((0..self.processes).map(|process| format!("localhost:{}", 2101 + process)).collect());
        };
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("can't read --hostfile {name}: {error}"))?;
        let lines: Vec<String> = text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect();
        if lines.len() < self.processes {
            return Err(format!(
                "--hostfile {name} names {} hosts, but --processes is {}: add a line HOST:PORT for each process",
                lines.len(),
                self.processes
            ));
        }
        if let Some(line) = lines.iter().find(|line| !line.contains(':')) {
            return Err(format!("--hostfile {name} has the line {line:?}: expected HOST:PORT"));
        }
        Ok(lines.into_iter().take(self.processes).collect())
    }

    /// Refuses what no cluster can be made of.
    pub fn validate(&self) -> Result<(), String> {
        if self.process >= self.processes {
            let (process, last) = (self.process, self.processes - 1);
            return Err(format!("--process {process} is not one of the {} processes, 0 to {last}", self.processes));
        }
        self.addresses().map(|_| ())
    }
}
