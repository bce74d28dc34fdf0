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

    /// Nothing comes any more. After a farewell that is as it should be, if this process is over soon as well;
    /// otherwise waits until it is.
    fn end(&mut self, why: Option<io::Error>) {
        self.ended = true;
        if self.framing.has_farewell() {
            self.peers.expect_end(self.process, self.grace);
        } else {
            self.lose(&why.map_or_else(|| "its connection was closed".to_owned(), |error| error.to_string()));
            self.peers.wait_until_over(None);
        }
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::channel;

    use timely::communication::networking::MessageHeader;

    use super::*;
    use crate::error::Error;

    /// Against hangs only: a machine may be busy.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn message(length: usize) -> Vec<u8> {
        let header = MessageHeader { channel: 0, source: 0, target_lower: 0, target_upper: 1, length, seqno: 0 };
        let mut bytes = Vec::new();
        header.write_to(&mut bytes).unwrap();
        bytes.extend(vec![7; length]);
        bytes
    }

    /// What is read of these bytes, from process 1, until the end of the stream.
    fn read_all(sent: &[u8], peers: &Peers, grace: Duration) -> std::sync::mpsc::Receiver<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = listener.accept().unwrap().0;
        other.write_all(sent).unwrap();
        drop(other);
        let mut watched = Watched::new(stream, 1, grace, peers.clone());
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            watched.read_to_end(&mut bytes).unwrap();
            sender.send(bytes)
        });
        receiver
    }

    fn wait_for_loss(peers: &Peers) -> Error {
        let begin = std::time::Instant::now();
        loop {
            match peers.check() {
                Err(error) => return error,
                Ok(()) => assert!(begin.elapsed() < DEADLINE, "nothing is lost"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Timely hands over what came with a farewell only when it has seen the end of the stream.
    #[test]
    fn after_a_farewell_the_end_is_seen_at_once() {
        let peers = Peers::default();
        let sent = [message(5), message(0)].concat();
        let bytes = read_all(&sent, &peers, Duration::from_secs(3600)).recv_timeout(DEADLINE).unwrap();
        assert!(bytes == sent);
        peers.check().unwrap();
    }

    #[test]
    fn who_goes_on_for_too_long_after_a_farewell_is_told() {
        let peers = Peers::default();
        let bytes = read_all(&message(0), &peers, Duration::from_millis(50));
        assert!(bytes.recv_timeout(DEADLINE).unwrap() == message(0));
        let error = wait_for_loss(&peers);
        assert!(error.to_string().contains("process 1 has ended, and this one goes on 50ms later"), "{error}");
    }

    #[test]
    fn a_stream_that_is_cut_off_is_a_loss_and_ends_in_order_when_all_is_over() {
        let whole = [message(500), message(0)].concat();
        for cut in [0, 20, 47, 48, 49, 300, 548, 549, 595] {
            let peers = Peers::default();
            let bytes = read_all(&whole[..cut], &peers, Duration::from_secs(3600));
            let error = wait_for_loss(&peers);
            assert!(matches!(&error, Error::Lost { processes, .. } if processes == &[1]), "{error}");
            assert!(bytes.try_recv().is_err());
            peers.finish();
            let bytes = bytes.recv_timeout(DEADLINE).unwrap();
            let mut framing = Framing::default();
            framing.advance(&bytes);
            assert!(bytes.starts_with(&whole[..cut]) && framing.has_farewell(), "{cut}");
        }
    }
}
