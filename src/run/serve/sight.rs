//! What one who serves sees of the clocks: the slate's snapshot ready for replies, and where the kernel's and cards' stamps lie on the timebase.

use std::sync::Arc;
use std::time::Duration;

use super::slate::{Notice, Slate};
use crate::clock::read_pair;
use crate::ntp::Prepared;
use crate::run::cards::{CardLines, Unusable};
use crate::sys::server_socket::CardStamp;
use crate::sys::time;
use crate::units::{Instant, Offset, Timestamp};

/// A reading of both clocks serves for so long.
const FRESH: Offset = Offset::from_nanos(250_000);
/// A stamp may lie so far ahead of a reading, beside [`FRESH`].
const AHEAD: Offset = Offset::from_nanos(50_000);
/// A request that waited longer in the queue, by its stamp, has crossed a step of the clock.
const OLDEST: Offset = Offset::from_nanos(-2_000_000_000);
/// What is prepared for replies holds for so long, and is stated for its end.
const PREPARED: Duration = Duration::from_millis(4);
/// After a pause like this, or a jump of the clocks against each other, the machine may have slept.
const PAUSE: Offset = Offset::from_nanos(10_000_000);
const JUMP: Offset = Offset::from_nanos(1_000_000);
/// A shorter sleep is none.
const SHORTEST_SUSPEND: Duration = Duration::from_millis(50);

fn both_clocks() -> (Instant, Timestamp) {
    let pair = read_pair();
    (pair.at(), pair.time)
}

/// What one thread sees of the clocks.
#[derive(Debug)]
pub(super) struct Sight {
    slate: Arc<Slate>,
    sequence: u64,
    notice: Notice,
    prepared: Prepared,
    prepared_at: Instant,
    /// Both clocks at one moment.
    raw: Instant,
    real: Timestamp,
    /// What is known of network cards' clocks, and which news of it that was.
    cards: (u64, CardLines),
    /// Stamps of cards used since they were counted: of requests, of replies, and those that could not be.
    uses: [u64; 3],
    /// The machine slept, and the slate does not say so yet.
    asleep: bool,
}

impl Sight {
    pub(super) fn new(slate: Arc<Slate>) -> Self {
        let (sequence, notice) = slate.read();
        let (raw, real) = both_clocks();
        let prepared = Prepared::new(&notice.snapshot, raw);
        let cards = slate.cards();
        Self { slate, sequence, notice, prepared, prepared_at: raw, raw, real, cards, uses: [0; 3], asleep: false }
    }

    /// Nothing is served any more.
    pub(super) fn is_over(&self) -> bool {
        self.slate.stopped()
    }

    /// What replies are made of.
    pub(super) const fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Reads both clocks again, and notices that the machine slept.
    pub(super) fn refresh(&mut self) {
        let (raw, real) = both_clocks();
        let pause = raw.since(self.raw);
        let drift = real.since(self.real) - pause;
        (self.raw, self.real) = (raw, real);
        if pause > PAUSE || drift.abs() > JUMP.abs() || self.asleep {
            self.look_for_sleep();
        }
    }

    fn look_for_sleep(&mut self) {
        let slept = time::suspended().unwrap_or_default().saturating_sub(self.notice.suspended);
        let asleep = slept >= SHORTEST_SUSPEND;
        if asleep != self.asleep {
            self.asleep = asleep;
            self.prepare(self.raw);
        }
    }

    fn prepare(&mut self, now: Instant) {
        let snapshot = if self.asleep { self.notice.snapshot.distrusted() } else { self.notice.snapshot };
        self.prepared = Prepared::new(&snapshot, now + PREPARED);
        self.prepared_at = now;
    }

    /// Before a batch whose first stamp this is.
    pub(super) fn look(&mut self, stamp: Option<Timestamp>) {
        let fresh = stamp.is_some_and(|stamp| {
            let age = stamp.since(self.real);
            age <= FRESH && age >= -FRESH
        });
        let changed = self.slate.changed(self.sequence);
        if changed {
            (self.sequence, self.notice) = self.slate.read();
        }
        if changed || !fresh {
            self.refresh();
        }
        if changed || self.raw.since(self.prepared_at) >= Offset::from(PREPARED) {
            if self.asleep {
                self.look_for_sleep();
            }
            self.prepare(self.raw);
        }
    }

    /// When a stamp was made, on the timebase; now, if it cannot be told.
    pub(super) fn instant_of(&self, stamp: Option<Timestamp>) -> Instant {
        let Some(stamp) = stamp else { return time::raw() };
        let along = stamp.since(self.real);
        if along > FRESH + AHEAD || along < OLDEST {
            return time::raw();
        }
        self.raw + along + Offset::from_seconds(-along.seconds() * self.notice.rate)
    }

    /// Adds what became of cards' stamps to everybody's.
    pub(super) fn count_uses(&mut self) {
        if self.uses != [0; 3] {
            self.slate.count_uses(std::mem::take(&mut self.uses));
        }
    }

    /// When a request came, by the best stamp that is credible.
    pub(super) fn received(&mut self, stamp: Option<Timestamp>, card: Option<&CardStamp>) -> Instant {
        let seen = self.instant_of(stamp);
        self.best(card, seen, CardLines::received, 0)
    }

    /// When a reply left.
    pub(super) fn sent(&mut self, card: &CardStamp, handed: Instant) -> Option<Instant> {
        let before = self.uses[1];
        let at = self.best(Some(card), handed, CardLines::sent, 1);
        (self.uses[1] > before).then_some(at)
    }

    fn best(
        &mut self,
        card: Option<&CardStamp>,
        kernel: Instant,
        place: fn(&CardLines, &CardStamp, Instant) -> Result<Instant, Unusable>,
        count: usize,
    ) -> Instant {
        let Some(card) = card else { return kernel };
        if self.slate.cards_changed(self.cards.0) {
            self.cards = self.slate.cards();
        }
        let placed = place(&self.cards.1, card, kernel);
        self.uses[if placed.is_ok() { count } else { 2 }] += 1;
        placed.unwrap_or(kernel)
    }
}
