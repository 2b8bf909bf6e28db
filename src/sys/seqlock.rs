//! A value that one thread publishes and others read without a lock, as plain words.
//!
//! The writer makes the sequence odd, writes, and makes it even again; a reader that saw it odd or changing reads again. The words are atomics,
//! so that this needs no `unsafe`; a writer that dies in between leaves readers waiting, which only the end of the program can do.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// `N` words under one sequence.
#[derive(Debug)]
pub struct Seqlock<const N: usize> {
    sequence: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Seqlock<N> {
    /// Holds `words`.
    #[must_use]
    pub fn new(words: [u64; N]) -> Self {
        Self { sequence: AtomicU64::new(0), words: words.map(AtomicU64::new) }
    }

    /// Publishes `words`. There is one writer.
    pub fn write(&self, words: &[u64; N]) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        // What follows is not seen before the sequence is odd.
        fence(Ordering::Release);
        for (cell, word) in self.words.iter().zip(words) {
            cell.store(*word, Ordering::Relaxed);
        }
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// The words and their sequence, which changes with each [`Seqlock::write`].
    #[must_use]
    pub fn read(&self) -> (u64, [u64; N]) {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            let words = std::array::from_fn(|i| self.words[i].load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if before % 2 == 0 && self.sequence.load(Ordering::Relaxed) == before {
                return (before, words);
            }
            std::hint::spin_loop();
        }
    }

    /// Whether something was published since `sequence`.
    #[must_use]
    pub fn changed(&self, sequence: u64) -> bool {
        self.sequence.load(Ordering::Acquire) != sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_never_see_half_of_it() {
        let lock = Seqlock::new([0; 16]);
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=200_000).for_each(|n| lock.write(&[n; 16])));
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 200_000 {
                        let (sequence, words) = lock.read();
                        assert!(words.iter().all(|w| *w == words[0]), "{words:?}");
                        assert!(words[0] >= last && sequence == words[0] * 2);
                        last = words[0];
                    }
                });
            }
        });
        let (sequence, _) = lock.read();
        assert!(!lock.changed(sequence));
        lock.write(&[1; 16]);
        assert!(lock.changed(sequence));
    }
}
