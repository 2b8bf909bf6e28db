//! Streams of vsock in any pieces: what comes out is packets of good length, and the same however the stream was cut.
#![no_main]

use arrayvec::ArrayVec;
use libfuzzer_sys::fuzz_target;
use paraclock::wire::frame::{FrameError, Frames};

/// All packets, and what ended them.
fn packets(stream: &[u8], most: usize) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let (mut frames, mut packet, mut found, mut rest) = (Frames::default(), ArrayVec::new(), Vec::new(), stream);
    loop {
        match frames.take(&mut packet) {
            Ok(true) => found.push(packet.to_vec()),
            Err(error) => return (found, Some(error)),
            Ok(false) if rest.is_empty() => return (found, None),
            Ok(false) => {
                let room = frames.room();
                assert!(!room.is_empty(), "no packet, and no room for one");
                let count = room.len().min(rest.len()).min(most);
                room[..count].copy_from_slice(&rest[..count]);
                frames.fill(count);
                rest = &rest[count..];
            }
        }
    }
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (most, stream) = input;
    let whole = packets(&stream, usize::MAX);
    assert!(whole.0.iter().all(|p| (1..=1024).contains(&p.len())));
    assert_eq!(packets(&stream, usize::from(most.max(1))), whole);
});
