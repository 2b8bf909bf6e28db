//! In steady state nothing is allocated: not by the core, not by the agent around it, and not for a packet that is served.

mod counting;
mod serving;
mod steady;

use std::time::Duration;

use counting::allocations;
use steady::{SteadyAgent, SteadyCore};

#[test]
fn the_allocator_counts() {
    let (vector, asked) = allocations(|| vec![1_u8, 2, 3]);
    assert_eq!((vector.len(), asked), (3, 1));
    assert_eq!(allocations(|| 2 + 2), (4, 0));
}

#[test]
fn a_sample_through_the_core_allocates_nothing() {
    for sources in [1, 4, 16, 64] {
        let mut steady = SteadyCore::new(sources);
        let mut adjustments = 0;
        let ((), asked) = allocations(|| {
            for _ in 0..1000 {
                let (now, sample) = steady.next_sample();
                adjustments += u32::from(steady.handle(now, sample).adjustment.is_some());
                let _ = steady.apply();
                let (now, tick) = steady.next_tick();
                let _ = steady.handle(now, tick);
            }
        });
        assert!(adjustments > 0, "{sources} sources: nothing was decided");
        assert_eq!(asked, 0, "{sources} sources: 1000 samples and ticks allocated");
    }
}

#[test]
fn readings_and_answers_through_the_agent_allocate_nothing() {
    let mut steady = SteadyAgent::new();
    let (done, asked) = allocations(|| steady.live(Duration::from_secs(1600)));
    assert!(done.readings > 1500 && done.answers > 90, "{done:?}");
    assert_eq!(asked, 0, "{done:?} allocated");
}

#[test]
fn a_packet_that_is_served_allocates_nothing() {
    let mut desk = serving::Desk::new();
    // Until every client has been seen, the table grows.
    desk.serve(200);
    let (replies, asked) = allocations(|| desk.serve(500));
    assert!(replies > 15_000, "{replies} replies");
    assert_eq!(asked, 0, "{replies} replies allocated");
}
