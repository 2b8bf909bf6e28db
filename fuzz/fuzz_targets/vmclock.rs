//! Arbitrary bytes as a vmclock page: no panic, and only plausible results.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paraclock::sys::vmclock::Page;

fuzz_target!(|input: (u64, &[u8])| {
    let (counter, bytes) = input;
    if let Ok(page) = Page::decode(bytes) {
        let _ = (page.time_at(counter), page.timescale(), page.leap(), page.notifies(), page.is_signal_only());
    }
});
