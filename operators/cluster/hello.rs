use std::io::{self, ErrorKind, Read, Write};

use super::Cluster;
use crate::error::Error;

/// What a connection between two processes begins with, so that strangers are known: port scans, health checks.
const MAGIC: [u8; 8] = *b"thalweg1";

/// The longest agreement that is read, in bytes: more is a stranger's.
const LONGEST_AGREEMENT: u32 = 1 << 16;

/// What processes tell each other before they work together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub process: u32,
    processes: u32,
    workers: u32,
    agreement: String,
}

impl Hello {
    pub fn of(cluster: &Cluster) -> Self {
        let [process, processes, workers] = [cluster.process, cluster.processes(), cluster.workers]
            .map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        Hello { process, processes, workers, agreement: cluster.agreement.clone() }
    }

    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.process, self.processes, self.workers, self.agreement.len() as u32] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(self.agreement.as_bytes());
        to.write_all(&bytes)
    }

    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(io::Error::new(ErrorKind::InvalidData, "it is no process of this library"));
        }
        let mut number = || {
            let mut bytes = [0; 4];
            from.read_exact(&mut bytes).map(|()| u32::from_be_bytes(bytes))
        };
        let (process, processes, workers, length) = (number()?, number()?, number()?, number()?);
        if length > LONGEST_AGREEMENT {
            return Err(io::Error::new(ErrorKind::InvalidData, "its agreement is too long"));
        }
        let mut agreement = vec![0; length as usize];
        from.read_exact(&mut agreement)?;
        let agreement = String::from_utf8(agreement).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(Hello { process, processes, workers, agreement })
    }

    /// Refuses to work with a process that runs something else.
    pub fn check(&self, other: &Hello) -> Result<(), Error> {
        let differ = |what: String, mend: &str| {
            let (this, that) = (self.process, other.process);
            Err(Error::usage(format!("processes {this} and {that} can't run together: {what}: {mend}")))
        };
        let (this, that) = ((self.processes, self.workers), (other.processes, other.workers));
        if this != that {
            let shape = |(processes, workers): (u32, u32)| format!("{processes} processes of {workers} workers");
            let what = format!("the one is of {}, the other of {}", shape(this), shape(that));
            return differ(what, "start all with the same numbers");
        }
        if self.agreement != other.agreement {
            let what = format!("the one says {:?}, the other {:?}", self.agreement, other.agreement);
            return differ(what, "start all again, once none of an earlier run is left, on the same store");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(agreement: &str) -> Hello {
        let addresses = vec!["a:1".into(), "b:1".into()];
        Hello::of(&Cluster { agreement: agreement.into(), ..Cluster::new(3, 1, addresses) })
    }

    #[test]
    fn what_is_said_is_understood_and_nothing_else() {
        let mut bytes = Vec::new();
        hello("from 12").write(&mut bytes).unwrap();
        assert_eq!(Hello::read(&mut &bytes[..]).unwrap(), hello("from 12"));
        for cut in 0..bytes.len() {
            Hello::read(&mut &bytes[..cut]).unwrap_err();
        }
        Hello::read(&mut &b"GET /healthz HTTP/1.1\r\n\r\n"[..]).unwrap_err();
        bytes[20..24].copy_from_slice(&u32::MAX.to_be_bytes());
        Hello::read(&mut &bytes[..]).unwrap_err();
    }

    #[test]
    fn processes_that_run_something_else_are_refused() {
        let this = hello("from 12");
        this.check(&Hello { process: 0, ..this.clone() }).unwrap();
        let more = this.check(&Hello { workers: 4, process: 0, ..this.clone() }).unwrap_err().to_string();
        assert!(more.contains("processes 1 and 0") && more.contains("2 processes of 4 workers"), "{more}");
        let later = this.check(&hello("from 15")).unwrap_err().to_string();
        assert!(later.contains(r#"the one says "from 12", the other "from 15""#), "{later}");
    }
}
