//! What serving threads are told: the snapshot, how fast the kernel's clock runs, and how long the machine has slept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::agent::Published;
use crate::ntp::{SNAPSHOT_WORDS, Snapshot};
use crate::sys::seqlock::Seqlock;
use crate::sys::time;

const WORDS: usize = SNAPSHOT_WORDS + 2;

/// Written by the main loop, read by everybody who serves, without a lock.
#[derive(Debug)]
pub struct Slate {
    words: Seqlock<WORDS>,
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
        let slate = Self { words: Seqlock::new([0; WORDS]), stopped: AtomicBool::new(false) };
        slate.write(&Snapshot::unsynchronised(), 0.0);
        slate
    }

    /// Tells everybody at once.
    pub fn publish(&self, published: &Published) {
        self.write(&published.snapshot, published.course.rate.ratio());
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
