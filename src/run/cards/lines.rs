//! What a network card's stamp means on the timebase, for the loop and for everybody who serves; a stamp that cannot be true means nothing.

use arrayvec::ArrayVec;

use crate::clock::{PIECE_WORDS, PhcPiece};
use crate::sys::server_socket::CardStamp;
use crate::units::{Instant, Offset, number, word};

/// So many cards' stamps are used.
pub const CARDS: usize = 4;
/// Interface, two compensations and the piece.
const LINE: usize = PIECE_WORDS + 3;
/// Words of all lines, their number first.
pub const LINES_WORDS: usize = 1 + CARDS * LINE;
/// Two stamps of one packet may cross by this, beside what is known of the card's line: the kernel's are placed by readings too.
const CROSS: Offset = Offset::from_nanos(5_000);
/// A packet that was stamped by the card waits no longer than this for the kernel's stamp.
const WAITS: Offset = Offset::from_nanos(100_000_000);
/// A packet leaves the card within this after it was handed over.
const LEAVES: Offset = Offset::from_nanos(200_000_000);

/// Why a card's stamp was not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unusable {
    /// Too little is known of that card's clock.
    Unplaced,
    /// The packet cannot have been there then.
    Impossible,
}

/// One card.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CardLine {
    /// The number of its interface.
    pub interface: u32,
    /// Added to stamps of what was sent.
    pub tx_comp: Offset,
    /// Subtracted from stamps of what was received.
    pub rx_comp: Offset,
    /// Its clock.
    pub piece: PhcPiece,
}

/// All cards whose clocks are known at present.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CardLines {
    /// The only card in use, even while little is known of its clock: what the kernel names no interface for is its.
    pub only: bool,
    /// Each.
    pub lines: ArrayVec<CardLine, CARDS>,
}

impl CardLines {
    fn line(&self, stamp: &CardStamp) -> Option<&CardLine> {
        match stamp.interface {
            // One card behind whatever interface the packet came by: a bridge, a bond, a VLAN.
            _ if self.only => self.lines.first(),
            Some(interface) => self.lines.iter().find(|line| line.interface == interface),
            None => None,
        }
    }

    /// When a packet was received that the kernel saw at `seen`.
    pub fn received(&self, stamp: &CardStamp, seen: Instant) -> Result<Instant, Unusable> {
        let line = self.line(stamp).ok_or(Unusable::Unplaced)?;
        let at = line.piece.instant_of(stamp.stamp).ok_or(Unusable::Unplaced)?;
        let early = seen.since(at);
        let is_possible = early >= -(line.piece.error_at(at) + CROSS) && early <= WAITS;
        if is_possible { Ok((at + -line.rx_comp).min(seen)) } else { Err(Unusable::Impossible) }
    }

    /// When a packet left that was handed over at `handed`.
    pub fn sent(&self, stamp: &CardStamp, handed: Instant) -> Result<Instant, Unusable> {
        let line = self.line(stamp).ok_or(Unusable::Unplaced)?;
        let at = line.piece.instant_of(stamp.stamp).ok_or(Unusable::Unplaced)?;
        let late = at.since(handed);
        let is_possible = late >= -(line.piece.error_at(at) + CROSS) && late <= LEAVES;
        if is_possible { Ok((at + line.tx_comp).max(handed)) } else { Err(Unusable::Impossible) }
    }

    /// As words, for a seqlock.
    #[must_use]
    pub fn to_words(&self) -> [u64; LINES_WORDS] {
        let mut words = [0; LINES_WORDS];
        words[0] = u64::from(self.only);
        for (place, line) in words[1..].chunks_exact_mut(LINE).zip(&self.lines) {
            place[..3].copy_from_slice(&[u64::from(line.interface), word(line.tx_comp.nanos()), word(line.rx_comp.nanos())]);
            place[3..].copy_from_slice(&line.piece.to_words());
        }
        words
    }

    /// The same back.
    #[must_use]
    pub fn from_words(words: &[u64; LINES_WORDS]) -> Self {
        let offset = |word: u64| Offset::from_nanos(number(word));
        let mut all = Self { only: words[0] != 0, lines: ArrayVec::new() };
        for place in words[1..].chunks_exact(LINE) {
            let (head, piece) = place.split_at(3);
            // Interfaces are numbered from one.
            if let (Some(piece), Ok(interface @ 1..)) = (piece.first_chunk(), u32::try_from(head[0])) {
                let piece = PhcPiece::from_words(piece);
                all.lines.push(CardLine { interface, tx_comp: offset(head[1]), rx_comp: offset(head[2]), piece });
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::Course;
    use crate::units::{Ppm, Timestamp};

    /// A card that is 1000 s ahead of the timebase.
    fn line(interface: u32) -> CardLine {
        let course = Course {
            at: Instant::from_nanos(1_000_000),
            time: Timestamp::from_nanos(1_000_001_000_000),
            rate: Ppm::ZERO,
            until: None,
            error: Duration::from_nanos(300),
        };
        let (tx_comp, rx_comp) = (Offset::from_nanos(70), Offset::from_nanos(40));
        CardLine { interface, tx_comp, rx_comp, piece: PhcPiece { course, until: Instant::from_nanos(9_000_000_000) } }
    }

    fn stamp(raw: i64, interface: Option<u32>) -> CardStamp {
        CardStamp { stamp: Timestamp::from_nanos(1_000_000_000_000 + raw), interface }
    }

    #[test]
    fn each_card_has_its_clock() {
        let mut lines = CardLines { only: false, lines: [line(2), line(3)].into_iter().collect() };
        assert_eq!(CardLines::from_words(&lines.to_words()), lines);
        let seen = Instant::from_nanos(3_000_000);
        assert_eq!(lines.received(&stamp(2_990_000, Some(3)), seen), Ok(Instant::from_nanos(2_989_960)));
        assert_eq!(lines.sent(&stamp(3_010_000, Some(2)), seen), Ok(Instant::from_nanos(3_010_070)));
        for interface in [None, Some(4)] {
            assert_eq!(lines.received(&stamp(2_990_000, interface), seen), Err(Unusable::Unplaced));
        }
        assert_eq!(lines.received(&stamp(20_000_000_000, Some(3)), seen), Err(Unusable::Unplaced), "long after the last reading");
        lines.lines.pop();
        lines.only = true;
        assert!(lines.received(&stamp(2_990_000, Some(9)), seen).is_ok(), "the only card is behind every interface");
        assert_eq!(CardLines::from_words(&CardLines::default().to_words()), CardLines::default());
    }

    #[test]
    fn what_cannot_be_is_not_used() {
        let lines = CardLines { only: true, lines: [line(2)].into_iter().collect() };
        let seen = Instant::from_nanos(500_000_000);
        for (raw, possible) in [(500_004_000, true), (500_006_000, false), (401_000_000, true), (399_000_000, false)] {
            assert_eq!(lines.received(&stamp(raw, None), seen).is_ok(), possible, "received {raw}");
        }
        for (raw, possible) in [(499_996_000, true), (499_994_000, false), (699_000_000, true), (701_000_000, false)] {
            assert_eq!(lines.sent(&stamp(raw, None), seen).is_ok(), possible, "sent {raw}");
        }
        assert!(lines.received(&stamp(500_004_000, None), seen).unwrap() <= seen, "nothing is received after it was seen");
        assert_eq!(lines.sent(&stamp(499_996_000, None), seen), Ok(seen), "or leaves before it was there");
    }
}
