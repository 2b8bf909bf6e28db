//! Which hooks run when: pure bookkeeping.
//!
//! One run of each event at a time. `ondisruption` never waits for `onsync`; `onsync` waits for `ondisruption`, so that
//! what holds a workload is never overtaken by what releases it. Of events that wait, the newest counts.

use crate::config::HookEvent;

/// What waits and what runs.
#[derive(Debug)]
pub(super) struct Queue<F> {
    disruption: Place<F>,
    sync: Place<F>,
}

#[derive(Debug)]
struct Place<F> {
    waits: Option<F>,
    runs: bool,
}

impl<F> Default for Queue<F> {
    fn default() -> Self {
        Self { disruption: Place { waits: None, runs: false }, sync: Place { waits: None, runs: false } }
    }
}

impl<F> Queue<F> {
    /// Something happened. It replaces what waits of its kind; a disruption also takes back a `sync` that has not begun, since
    /// that is no longer true.
    pub(super) fn post(&mut self, event: HookEvent, facts: F) {
        if event == HookEvent::Disruption {
            self.sync.waits = None;
        }
        self.place(event).waits = Some(facts);
    }

    /// What may begin now, if anything; it then runs until [`Queue::done`].
    pub(super) fn next(&mut self) -> Option<(HookEvent, F)> {
        for event in [HookEvent::Disruption, HookEvent::Sync] {
            let held = event == HookEvent::Sync && (self.disruption.runs || self.disruption.waits.is_some());
            let place = self.place(event);
            if place.runs || held {
                continue;
            }
            if let Some(facts) = place.waits.take() {
                place.runs = true;
                return Some((event, facts));
            }
        }
        None
    }

    /// A run has ended.
    pub(super) fn done(&mut self, event: HookEvent) {
        self.place(event).runs = false;
    }

    const fn place(&mut self, event: HookEvent) -> &mut Place<F> {
        match event {
            HookEvent::Disruption => &mut self.disruption,
            HookEvent::Sync => &mut self.sync,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HookEvent::{Disruption, Sync};

    #[test]
    fn one_at_a_time_and_the_newest_waits() {
        let mut queue = Queue::default();
        queue.post(Disruption, 1);
        assert_eq!(queue.next(), Some((Disruption, 1)));
        queue.post(Disruption, 2);
        queue.post(Disruption, 3);
        assert_eq!(queue.next(), None, "one runs");
        queue.done(Disruption);
        assert_eq!(queue.next(), Some((Disruption, 3)), "the older was merged into the newer");
        queue.done(Disruption);
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn what_releases_never_overtakes_what_holds() {
        let mut queue = Queue::default();
        queue.post(Disruption, 1);
        assert_eq!(queue.next(), Some((Disruption, 1)));
        queue.post(Sync, 2);
        assert_eq!(queue.next(), None, "the hold is still being made");
        queue.done(Disruption);
        assert_eq!(queue.next(), Some((Sync, 2)));
        // The next disruption does not wait for the release.
        queue.post(Disruption, 3);
        assert_eq!(queue.next(), Some((Disruption, 3)));
    }

    #[test]
    fn a_sync_that_is_no_longer_true_is_taken_back() {
        let mut queue = Queue::default();
        queue.post(Sync, 1);
        assert_eq!(queue.next(), Some((Sync, 1)));
        queue.post(Sync, 2);
        queue.post(Disruption, 3);
        queue.done(Sync);
        assert_eq!(queue.next(), Some((Disruption, 3)));
        queue.done(Disruption);
        assert_eq!(queue.next(), None, "the second sync was before the disruption");
        queue.post(Sync, 4);
        assert_eq!(queue.next(), Some((Sync, 4)));
    }
}
