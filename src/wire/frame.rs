//! NTP packets on a stream, as they go over vsock: each after its length, two bytes in network order.
//!
//! A stream has no edges of its own. What cannot be a packet ends it: there is no way back into step.

use arrayvec::ArrayVec;

/// The longest packet.
pub const MAX_PACKET: usize = 1024;
const LENGTH: usize = 2;
const ROOM: usize = LENGTH + MAX_PACKET;

/// A packet after its length.
pub type Frame = ArrayVec<u8, ROOM>;

/// What stands in the stream is no packet's length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} bytes are announced, and a packet has 1 to {MAX_PACKET}")]
pub struct FrameError(pub u16);

/// Puts a packet's length before it; `None` if it is none that may be sent.
#[must_use]
pub fn emit(packet: &[u8]) -> Option<Frame> {
    let length = u16::try_from(packet.len()).ok().filter(|_| (1..=MAX_PACKET).contains(&packet.len()))?;
    let mut frame = Frame::new();
    frame.try_extend_from_slice(&length.to_be_bytes()).ok()?;
    frame.try_extend_from_slice(packet).ok()?;
    Some(frame)
}

/// Finds the packets in what a stream brings.
#[derive(Clone, Debug)]
pub struct Frames {
    bytes: [u8; ROOM],
    filled: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { bytes: [0; ROOM], filled: 0 }
    }
}

impl Frames {
    /// Where to put what comes next; never empty after [`Frames::take`] found no packet.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// So many bytes were put there.
    pub fn fill(&mut self, count: usize) {
        self.filled = (self.filled + count).min(ROOM);
    }

    /// The next packet, if all of it is there, into `out`.
    ///
    /// # Errors
    /// If what stands there is no packet.
    pub fn take(&mut self, out: &mut ArrayVec<u8, MAX_PACKET>) -> Result<bool, FrameError> {
        let Some(length) = self.bytes[..self.filled].first_chunk().map(|bytes| u16::from_be_bytes(*bytes)) else { return Ok(false) };
        let size = usize::from(length);
        if !(1..=MAX_PACKET).contains(&size) {
            return Err(FrameError(length));
        }
        let end = LENGTH + size;
        if self.filled < end {
            return Ok(false);
        }
        out.clear();
        // It is no longer than a packet may be.
        let _ = out.try_extend_from_slice(&self.bytes[LENGTH..end]);
        self.bytes.copy_within(end..self.filled, 0);
        self.filled -= end;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_packet_ends_the_stream() {
        for length in [0_u16, 1025, u16::MAX] {
            let mut frames = Frames::default();
            frames.room()[..2].copy_from_slice(&length.to_be_bytes());
            frames.fill(2);
            assert_eq!(frames.take(&mut ArrayVec::new()), Err(FrameError(length)));
        }
        assert_eq!(emit(&[]), None);
        assert_eq!(emit(&[0; MAX_PACKET + 1]), None);
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=MAX_PACKET), 1..6), cuts in prop::collection::vec(1_usize..1500, 1..40)) {
            let stream: Vec<u8> = packets.iter().flat_map(|p| emit(p).unwrap()).collect();
            let (mut frames, mut found, mut rest) = (Frames::default(), Vec::new(), stream.as_slice());
            let mut cuts = cuts.iter().cycle();
            let mut packet = ArrayVec::new();
            while !rest.is_empty() {
                let room = frames.room();
                prop_assert!(!room.is_empty(), "a stream that is in step never stops");
                let count = room.len().min(rest.len()).min(*cuts.next().unwrap());
                room[..count].copy_from_slice(&rest[..count]);
                frames.fill(count);
                rest = &rest[count..];
                while frames.take(&mut packet).unwrap() {
                    found.push(packet.to_vec());
                }
            }
            prop_assert_eq!(found, packets);
        }

        #[test]
        fn noise_is_borne(noise in prop::collection::vec(any::<u8>(), 0..4000)) {
            let (mut frames, mut packet) = (Frames::default(), ArrayVec::new());
            for part in noise.chunks(333) {
                let count = part.len().min(frames.room().len());
                frames.room()[..count].copy_from_slice(&part[..count]);
                frames.fill(count);
                loop {
                    match frames.take(&mut packet) {
                        Ok(true) => prop_assert!((1..=MAX_PACKET).contains(&packet.len())),
                        Ok(false) => break,
                        Err(_) => return Ok(()),
                    }
                }
            }
        }
    }
}
