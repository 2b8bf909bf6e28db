//! What an agent decided: a digest of everything, and the last of it for whoever looks for a fault.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::agent::Output;
use crate::core::Correction;
use crate::units::{Instant, Offset, word};

/// Decisions kept.
const KEPT: usize = 32;

/// The decisions of one agent.
#[derive(Clone, Debug)]
pub(super) struct Decisions {
    digest: u64,
    made: u64,
    last: VecDeque<(Instant, Output)>,
}

impl Decisions {
    pub(super) fn new() -> Self {
        Self { digest: 0, made: 0, last: VecDeque::with_capacity(KEPT) }
    }

    /// The same decisions at the same instants have the same digest.
    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }

    /// How many there were.
    pub(super) const fn made(&self) -> u64 {
        self.made
    }

    /// The last of them, oldest first; what was only noted or published is left out.
    pub(super) fn last(&self) -> impl DoubleEndedIterator<Item = &(Instant, Output)> {
        self.last.iter()
    }

    fn mix(&mut self, word: u64) {
        // The multiplier of a linear congruential generator of full period: every bit reaches the upper ones.
        self.digest = (self.digest.rotate_left(23) ^ word).wrapping_mul(6_364_136_223_846_793_005);
    }

    fn mix_offset(&mut self, offset: Offset) {
        self.mix(word(offset.nanos()));
    }

    pub(super) fn add(&mut self, now: Instant, output: &Output) {
        self.mix_offset(now.since(Instant::ZERO));
        match output {
            Output::Read(source) => self.mix(u64::from(source.0)),
            Output::Open { source, .. } => self.mix(!u64::from(source.0)),
            Output::Send { token, to, bytes } => {
                self.mix(token.0);
                if let IpAddr::V4(v4) = to.ip() {
                    self.mix(u64::from(v4.to_bits()));
                }
                for word in bytes.chunks_exact(8) {
                    self.mix(word.iter().fold(0, |all, &byte| all << 8 | u64::from(byte)));
                }
            }
            Output::Close(token) => self.mix(!token.0),
            Output::Apply(adjustment) => {
                let (kind, offset, over, frequency) = match adjustment.correction {
                    Correction::Hold => (1, Offset::ZERO, Offset::ZERO, 0.0),
                    Correction::Slew { offset, over, frequency } => (2, offset, over.into(), frequency.ppm()),
                    Correction::Step { offset, frequency } => (3, offset, Offset::ZERO, frequency.ppm()),
                };
                self.mix(kind);
                self.mix_offset(offset);
                self.mix_offset(over);
                self.mix(frequency.to_bits());
                self.mix(u64::from(adjustment.announcement.synchronised));
                self.mix_offset(adjustment.announcement.max_error.into());
            }
            Output::Resolve(name) => self.mix(u64::from(name.0)),
            Output::Save { frequency, skew } => {
                self.mix(frequency.ppm().to_bits());
                self.mix(skew.ppm().to_bits());
            }
            Output::Publish | Output::Note(_) => return,
        }
        self.made += 1;
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back((now, output.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::SourceId;

    #[test]
    fn the_digest_tells_order_time_and_content_apart() {
        let of = |list: &[(i64, u32)]| {
            let mut decisions = Decisions::new();
            for &(at, source) in list {
                decisions.add(Instant::from_nanos(at), &Output::Read(SourceId(source)));
            }
            decisions.digest()
        };
        let all = [of(&[(1, 1), (2, 2)]), of(&[(1, 2), (2, 1)]), of(&[(1, 1), (3, 2)]), of(&[(1, 1)]), of(&[])];
        for (i, a) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|b| a != b), "{all:?}");
        }
        assert_eq!(of(&[(1, 1), (2, 2)]), of(&[(1, 1), (2, 2)]));
    }

    #[test]
    fn only_the_last_are_kept() {
        let mut decisions = Decisions::new();
        for i in 0..100 {
            decisions.add(Instant::from_nanos(i), &Output::Read(SourceId(0)));
            decisions.add(Instant::from_nanos(i), &Output::Publish);
        }
        let kept: Vec<i64> = decisions.last().map(|(at, _)| at.nanos()).collect();
        assert_eq!(kept, (68..100).collect::<Vec<_>>());
    }
}
