//! What serving threads are told: the snapshot, how fast the kernel's clock runs, and how long the machine has slept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::agent::Published;
use crate::ntp::{SNAPSHOT_WORDS, Snapshot};
use crate::run::cards::{CardLines, LINES_WORDS};
use crate::sys::seqlock::Seqlock;
use crate::sys::time;

const WORDS: usize = SNAPSHOT_WORDS + 2;

/// Written by the main loop, read by everybody who serves, without a lock.
#[derive(Debug)]
pub struct Slate {
    words: Seqlock<WORDS>,
    /// What is known of network cards' clocks.
    cards: Seqlock<LINES_WORDS>,
    /// Stamps of network cards: of requests and replies used, and those that could not be.
    uses: [AtomicU64; 3],
    stopped: AtomicBool,
}

/// What stood on the slate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notice {
    pub(super) snapshot: Snapshot,
    /// The kernel's clock against the timebase, as a ratio.
    pub(super) rate: f64,
    /// How long the machine had slept when it was written.
    pub(super) suspended: Duration,
}

impl Slate {
    /// Nothing is known yet: whoever reads it serves no time.
    #[must_use]
    pub fn new() -> Self {
        let slate = Self {
            words: Seqlock::new([0; WORDS]),
            cards: Seqlock::new([0; LINES_WORDS]),
            uses: Default::default(),
            stopped: AtomicBool::new(false),
        };
        slate.write(&Snapshot::unsynchronised(), 0.0);
        slate
    }

    /// Tells everybody at once.
    pub fn publish(&self, published: &Published) {
        self.write(&published.snapshot, published.course.rate.ratio());
    }

    /// Tells everybody of network cards' clocks.
    pub fn publish_cards(&self, lines: &CardLines) {
        self.cards.write(&lines.to_words());
    }

    pub(super) fn cards(&self) -> (u64, CardLines) {
        let (sequence, words) = self.cards.read();
        (sequence, CardLines::from_words(&words))
    }

    pub(super) fn cards_changed(&self, sequence: u64) -> bool {
        self.cards.changed(sequence)
    }

    pub(super) fn count_uses(&self, uses: [u64; 3]) {
        for (total, n) in self.uses.iter().zip(uses) {
            total.fetch_add(n, Ordering::Relaxed);
        }
    }

    pub(super) fn uses(&self) -> [u64; 3] {
        self.uses.each_ref().map(|n| n.load(Ordering::Relaxed))
    }

    fn write(&self, snapshot: &Snapshot, rate: f64) {
        let suspended = u64::try_from(time::suspended().unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
        let mut words = [0; WORDS];
        words[..SNAPSHOT_WORDS].copy_from_slice(&snapshot.to_words());
        words[SNAPSHOT_WORDS..].copy_from_slice(&[rate.to_bits(), suspended]);
        self.words.write(&words);
    }

    pub(super) fn read(&self) -> (u64, Notice) {
        let (sequence, words) = self.words.read();
        let mut snapshot = [0; SNAPSHOT_WORDS];
        snapshot.copy_from_slice(&words[..SNAPSHOT_WORDS]);
        let notice = Notice {
            snapshot: Snapshot::from_words(&snapshot),
            rate: f64::from_bits(words[SNAPSHOT_WORDS]),
            suspended: Duration::from_nanos(words[SNAPSHOT_WORDS + 1]),
        };
        (sequence, notice)
    }

    pub(super) fn changed(&self, sequence: u64) -> bool {
        self.words.changed(sequence)
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl Default for Slate {
    fn default() -> Self {
        Self::new()
    }
}
