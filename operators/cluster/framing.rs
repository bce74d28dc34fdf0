/// Bytes of the header of one of timely's messages.
const HEADER: usize = 48;

/// Where in the header the length of the message behind it is, a big-endian number of eight bytes.
const LENGTH: std::ops::Range<usize> = 32..40;

/// Follows the messages in a stream of bytes from another process, as far as to know whether it may end.
///
/// Timely says farewell with the header of an empty message; a stream that ends without one was cut off.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// What has come of the next header.
    header: Vec<u8>,
    /// Bytes of the message that are still to come.
    rest: usize,
    farewell: bool,
}

impl Framing {
    /// Follows the bytes that come next.
    pub fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (next, after) = bytes.split_at(bytes.len().min(self.missing()));
            bytes = after;
            if self.rest > 0 {
                self.rest -= next.len();
                continue;
            }
            self.header.extend_from_slice(next);
            if self.header.len() == HEADER {
                let length = self.header[LENGTH].try_into().map_or(0, u64::from_be_bytes);
                self.rest = length as usize;
                self.farewell = length == 0;
                self.header.clear();
            }
        }
    }

    /// Whether the other process has said that nothing follows.
    pub fn has_farewell(&self) -> bool {
        self.farewell
    }

    /// How many bytes complete the message, or the header, that comes next or has begun to come.
    ///
    /// Zeros will do: what was cut off becomes a message of no more than its length, and the header after it a
    /// farewell.
    pub fn missing(&self) -> usize {
        if self.rest > 0 { self.rest } else { HEADER - self.header.len() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use timely::communication::networking::MessageHeader;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let header =
            MessageHeader { channel: 3, source: usize::MAX, target_lower: 1, target_upper: 2, length, seqno: 1 << 40 };
        let mut bytes = Vec::new();
        header.write_to(&mut bytes).unwrap();
        assert_eq!(bytes.len(), HEADER);
        bytes.extend(std::iter::repeat_n(0, length));
        bytes
    }

    proptest! {
        /// However the bytes are cut into reads, and wherever the stream is cut off.
        #[test]
        fn a_stream_may_end_only_after_a_farewell(
            lengths in prop::collection::vec(1usize..200, 0..10),
            reads in prop::collection::vec(1usize..100, 1..20),
            cut in 0.0f64..1.0,
        ) {
            let whole: Vec<u8> = lengths.into_iter().chain([0]).flat_map(message).collect();
            let cut = (cut * whole.len() as f64) as usize;
            let mut framing = Framing::default();
            let mut rest = &whole[..cut];
            for read in reads.into_iter().cycle() {
                let (bytes, after) = rest.split_at(read.min(rest.len()));
                framing.advance(bytes);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert!(!framing.has_farewell());
            let mut zeros = 0;
            while !framing.has_farewell() {
                zeros += framing.missing();
                framing.advance(&vec![0; framing.missing()]);
            }
            prop_assert!(zeros <= 200 + 2 * HEADER);
            framing = Framing::default();
            framing.advance(&whole);
            prop_assert!(framing.has_farewell());
        }
    }
}
