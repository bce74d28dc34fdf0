use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use timely::communication::allocator::zero_copy::stream::Stream;

use super::framing::Framing;
use super::peers::Peers;

/// A connection to another process that notes when it is lost.
///
/// Timely's threads panic when a connection fails, and with them the workers, in the middle of whatever they do. So
/// they never see it: what is read waits until the workers have ended by themselves, and then ends in order; what is
/// written goes nowhere.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    /// The other process.
    process: usize,
    /// How long this process may go on after the other one has ended well.
    grace: Duration,
    peers: Peers,
    framing: Framing,
    /// Nothing comes any more, or can be sent.
    ended: bool,
}

impl Watched {
    pub fn new(stream: TcpStream, process: usize, grace: Duration, peers: Peers) -> Self {
        Watched { stream, process, grace, peers, framing: Framing::default(), ended: false }
    }

    fn lose(&self, why: &str) {
        self.peers.lose(self.process, format!("process {} is gone: {why}", self.process));
    }

    /// Nothing comes any more: waits until this process is over, or should have been.
    fn end(&mut self, why: Option<io::Error>) {
        self.ended = true;
        if !self.framing.has_farewell() {
            self.lose(&why.map_or_else(|| "its connection was closed".to_owned(), |error| error.to_string()));
        } else if !self.peers.wait_until_over(Some(self.grace)) {
            let process = self.process;
            self.peers
                .lose(process, format!("process {process} has ended, and this one goes on {:?} later", self.grace));
        }
        self.peers.wait_until_over(None);
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            match self.stream.read(buffer) {
                Ok(0) => self.end(None),
                Ok(read) => {
                    self.framing.advance(&buffer[..read]);
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.end(Some(error)),
            }
        }
        if self.framing.has_farewell() {
            return Ok(0);
        }
        let zeros = self.framing.missing().min(buffer.len());
        buffer[..zeros].fill(0);
        self.framing.advance(&buffer[..zeros]);
        Ok(zeros)
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.ended || self.peers.is_ending() {
            return Ok(bytes.len());
        }
        match self.stream.write(bytes) {
            // The reading side sees it as well, and knows whether it was to be expected.
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                self.ended = true;
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Watched {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Watched::new(self.stream.try_clone()?, self.process, self.grace, self.peers.clone()))
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.stream.set_nonblocking(nonblocking)
    }

    /// Timely says only that it has nothing more to say; the other process may have gone already.
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        _ = self.stream.shutdown(how);
        Ok(())
    }
}
