//! When requests left and answers came: by the network card where it says so credibly, else by the kernel, else by our own clock.

use std::time::Duration;

use super::{Executor, Flight};
use crate::clock::Clock;
use crate::ntp::StampedBy;
use crate::run::cards::Cards;
use crate::sys::socket::{Received, SentStamps};
use crate::sys::time;
use crate::units::{Instant, Offset, Timestamp};

/// A kernel's stamp of sending is believed if it lies within this after our own.
const SEND_TIME: Offset = Offset::from_nanos(200_000_000);
/// A kernel's stamp of receiving may seem so late: it is placed with the clock's precision.
const LATE: Duration = Duration::from_micros(100);

/// The kernel's stamp of sending as an instant, if it is credible.
fn sent_at(clock: &mut dyn Clock, stamp: Timestamp, before: Instant) -> Option<Instant> {
    let at = clock.instant_of(stamp)?;
    let after = at.since(before);
    // A stamp may seem a little early: it is placed with the clock's precision.
    (after >= Offset::from_nanos(-50_000) && after <= SEND_TIME).then(|| at.max(before))
}

/// The best of what is known of a request that was handed over at `before`.
pub(super) fn sent(clock: &mut dyn Clock, cards: &mut Cards, stamps: &SentStamps, before: Instant) -> (Instant, StampedBy) {
    let kernel = stamps.stamp.and_then(|stamp| sent_at(clock, stamp, before));
    if let Some(stamp) = &stamps.card {
        // The card's comes after the kernel's.
        let result = cards.lines().sent(stamp, kernel.unwrap_or(before));
        if let Some(at) = cards.count_sent(result) {
            return (at, StampedBy::Hardware);
        }
    }
    kernel.map_or((before, StampedBy::Daemon), |at| (at, StampedBy::Kernel))
}

impl Executor {
    /// The stamps of an answered request, for which a card's may be waited a little; tells the agent if they are better than what it knows.
    pub(super) fn settle_sent(&mut self, index: usize) -> Option<(Instant, StampedBy)> {
        let flight = self.flights.get_mut(index)?;
        let before = flight.sent.take()?;
        let timeout = if flight.by_cards { self.cards.timeout() } else { Duration::ZERO };
        let socket = flight.socket.get_mut();
        let stamps = if timeout.is_zero() { socket.sent_stamps() } else { socket.await_sent_stamps(timeout) };
        if !timeout.is_zero() {
            self.cards.have_waited(stamps.card.is_some());
        }
        if flight.by_cards && self.cards.read_fresh(time::raw()) {
            self.publish_cards();
        }
        Some(sent(self.clock.as_mut(), &mut self.cards, &stamps, before))
    }

    /// When an answer came that was there at `arrived`; `None` if its stamp falls on no piece of the clock's course.
    pub(super) fn came_at(&mut self, received: &Received, arrived: Instant) -> (Option<Instant>, StampedBy) {
        let kernel = match received.stamp {
            Some(stamp) => (self.clock.instant_of(stamp).filter(|&at| at <= arrived + LATE), StampedBy::Kernel),
            None => (Some(arrived), StampedBy::Daemon),
        };
        let Some(stamp) = &received.card else { return kernel };
        let result = self.cards.lines().received(stamp, kernel.0.unwrap_or(arrived));
        self.cards.count_received(result).map_or(kernel, |at| (Some(at), StampedBy::Hardware))
    }

    /// Whether stamps of a card may still come for a request.
    pub(super) const fn is_settled(flight: &Flight, by: StampedBy) -> bool {
        match by {
            StampedBy::Hardware => true,
            StampedBy::Kernel => !flight.by_cards,
            StampedBy::Daemon => false,
        }
    }

    /// Tells those who serve of the cards' clocks.
    pub(super) fn publish_cards(&mut self) {
        if let Some((slate, _)) = &self.slate {
            slate.publish_cards(self.cards.lines());
        }
        self.shared.set_hardware(self.cards.show());
    }
}
