//! Arbitrary bytes as a kvm-clock page: no panic, and only plausible frequencies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paraclock::sys::pvclock::Page;

fuzz_target!(|input: (u64, &[u8])| {
    let (counter, bytes) = input;
    if let Ok(page) = Page::decode(bytes) {
        assert!((1e8..=2e10).contains(&page.frequency_hz()));
        let _ = page.system_time_at(counter);
    }
});
