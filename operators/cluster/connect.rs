use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

use super::Cluster;
use super::hello::Hello;
use crate::error::Error;

/// Between two attempts to reach the others: short beside what starting a process takes.
const PAUSE: Duration = Duration::from_millis(20);

/// How long an attempt may take, and what is said over a new connection: the next attempt comes soon.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Probes that must go unanswered within [`Cluster::silence`]: one alone may be lost.
const PROBES: u32 = 3;

/// The connections to all other processes, by process: this one connects to those before it, and is connected to by
/// those after it.
pub(super) fn connect(cluster: &Cluster) -> Result<Vec<Option<TcpStream>>, Error> {
    let mut connecting = Connecting::new(cluster);
    let deadline = Instant::now() + cluster.connect_timeout;
    loop {
        connecting.reach()?;
        connecting.accept()?;
        let missing = connecting.missing();
        if missing.is_empty() {
            return Ok(connecting.streams);
        }
        if Instant::now() >= deadline {
            return Err(connecting.timed_out(missing));
        }
        std::thread::sleep(PAUSE);
    }
}

struct Connecting<'a> {
    cluster: &'a Cluster,
    hello: Hello,
    /// Once the address is free: a process of an earlier run may still have it.
    listener: Option<TcpListener>,
    streams: Vec<Option<TcpStream>>,
    /// Why the last attempt to listen, or to reach somebody, has failed.
    failure: Option<io::Error>,
}

impl<'a> Connecting<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let streams = cluster.addresses.iter().map(|_| None).collect();
        Connecting { cluster, hello: Hello::of(cluster), listener: None, streams, failure: None }
    }

    fn missing(&self) -> Vec<usize> {
        let others = self.streams.iter().enumerate().filter(|(process, _)| *process != self.cluster.process);
        others.filter(|(_, stream)| stream.is_none()).map(|(process, _)| process).collect()
    }

    fn reach(&mut self) -> Result<(), Error> {
        for process in self.missing().into_iter().filter(|process| *process < self.cluster.process) {
            match self.try_to_reach(process) {
                Ok((hello, stream)) if hello.process as usize == process => {
                    self.hello.check(&hello)?;
                    self.streams[process] = Some(stream);
                }
                Ok(_) => self.failure = Some(io::Error::other("another process answers at its address")),
                Err(error) => self.failure = Some(error),
            }
        }
        Ok(())
    }

    fn try_to_reach(&self, process: usize) -> io::Result<(Hello, TcpStream)> {
        let mut failure = io::Error::new(ErrorKind::NotFound, "its host has no address");
        for address in self.cluster.addresses[process].to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, ATTEMPT).and_then(|stream| self.greet(stream)) {
                Err(error) => failure = error,
                greeted => return greeted,
            }
        }
        Err(failure)
    }

    /// Takes in who has connected; strangers are sent away.
    fn accept(&mut self) -> Result<(), Error> {
        if self.listener.is_none() && self.cluster.process + 1 < self.cluster.processes() {
            let listener = TcpListener::bind(&self.cluster.addresses[self.cluster.process]);
            match listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener)) {
                Ok(listener) => self.listener = Some(listener),
                Err(error) => self.failure = Some(error),
            }
        }
        let Some(listener) = &self.listener else { return Ok(()) };
        let mut greeted = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            greeted.extend(stream.set_nonblocking(false).and_then(|()| self.greet(stream)).ok());
        }
        for (hello, stream) in greeted {
            self.hello.check(&hello)?;
            // One that has been started again takes the place of the one before.
            if let Some(place) = self.streams.get_mut(hello.process as usize) {
                *place = Some(stream);
            }
        }
        Ok(())
    }

    fn greet(&self, mut stream: TcpStream) -> io::Result<(Hello, TcpStream)> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ATTEMPT))?;
        self.hello.write(&mut stream)?;
        let hello = Hello::read(&mut stream)?;
        stream.set_read_timeout(None)?;
        let probe = (self.cluster.silence / (PROBES + 1)).max(Duration::from_secs(1));
        let keepalive = TcpKeepalive::new().with_time(probe);
        #[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
        let keepalive = keepalive.with_interval(probe).with_retries(PROBES);
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.cluster.silence))?;
        Ok((hello, stream))
    }

    fn timed_out(&self, missing: Vec<usize>) -> Error {
        let waited = self.cluster.connect_timeout;
        let name = |process: &usize| format!("process {process} at {}", self.cluster.addresses[*process]);
        let names: Vec<String> = missing.iter().map(name).collect();
        let failure = self.failure.as_ref().map(|failure| format!(" ({failure})")).unwrap_or_default();
        let what = format!("no connection within {waited:?} with {}{failure}", names.join(", "));
        Error::Lost { processes: missing, what }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn free() -> String {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
    }

    #[test]
    fn processes_find_each_other_in_any_order_among_strangers() {
        let addresses: Vec<String> = (0..3).map(|_| free()).collect();
        let first = addresses[0].clone();
        let start = |process: usize| {
            let cluster = Cluster::new(1, process, addresses.clone());
            std::thread::spawn(move || connect(&cluster).unwrap())
        };
        let (two, one) = (start(2), start(1));
        std::thread::sleep(Duration::from_millis(30));
        let zero = start(0);
        let stranger = std::thread::spawn(move || {
            if let Ok(mut stream) = TcpStream::connect(first) {
                _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
            }
        });
        for (process, started) in [zero, one, two].into_iter().enumerate() {
            let streams = started.join().unwrap();
            let connected: Vec<bool> = streams.iter().map(Option::is_some).collect();
            assert_eq!(connected, (0..3).map(|other| other != process).collect::<Vec<_>>());
        }
        stranger.join().unwrap();
    }

    #[test]
    fn who_never_comes_is_named() {
        let (there, gone) = (free(), free());
        for process in [0, 1] {
            let mut cluster = Cluster::new(1, process, vec![there.clone(), gone.clone()]);
            cluster.connect_timeout = Duration::from_millis(100);
            let error = connect(&cluster).unwrap_err();
            let Error::Lost { processes, what } = &error else { panic!("{error}") };
            assert_eq!(processes, &[1 - process]);
            assert!(what.contains("no connection within 100ms"), "{what}");
        }
    }

    #[test]
    fn processes_that_disagree_both_say_so() {
        let addresses: Vec<String> = (0..2).map(|_| free()).collect();
        let ends = [0, 1].map(|process| {
            let mut cluster = Cluster::new(1, process, addresses.clone());
            cluster.agreement = format!("from {process}");
            std::thread::spawn(move || connect(&cluster).unwrap_err().to_string())
        });
        for end in ends {
            assert!(end.join().unwrap().contains("start all again"));
        }
    }
}
