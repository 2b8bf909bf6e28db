use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The page seen on a real KVM guest with a 2300 MHz TSC.
fn real_page() -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes[0..4].copy_from_slice(&16_u32.to_le_bytes());
    bytes[8..16].copy_from_slice(&1_000_000_u64.to_le_bytes());
    bytes[16..24].copy_from_slice(&5_000_000_000_u64.to_le_bytes());
    bytes[24..28].copy_from_slice(&3_734_754_170_u32.to_le_bytes());
    bytes[28] = 0xff;
    bytes[29] = TSC_STABLE;
    bytes
}

#[test]
fn a_real_page_is_a_2300_mhz_counter() {
    let page = Page::decode(&real_page()).unwrap();
    assert_eq!((page.version, page.shift, page.flags), (16, -1, TSC_STABLE));
    assert!((page.frequency_hz() / 2.3e9 - 1.0).abs() < 1e-6);
    // One second of ticks later, one second of time later, to the rounding of the multiplier.
    let later = page.system_time_at(1_000_000 + 2_300_000_000);
    assert!(later.abs_diff(6_000_000_000) < 100, "{later}");
    // A counter read just before the page was written counts backwards.
    let earlier = page.system_time_at(1_000_000 - 2_300);
    assert!(earlier.abs_diff(4_999_999_000) < 3, "{earlier}");
}

#[test]
fn bad_pages_are_refused_with_the_reason() {
    assert_eq!(Page::decode(&real_page()[..31]), Err(PageError::Short(31)));
    assert_eq!(Page::decode(&[0; SIZE]), Err(PageError::Implausible("it was never written")));
    let spoiled = |at: usize, value: u8| {
        let mut bytes = real_page();
        bytes[at] = value;
        Page::decode(&bytes)
    };
    assert_eq!(spoiled(0, 17), Err(PageError::Updating));
    assert!(matches!(spoiled(5, 1), Err(PageError::Implausible(_))));
    assert!(matches!(spoiled(31, 1), Err(PageError::Implausible(_))));
    assert!(matches!(spoiled(28, 100), Err(PageError::Implausible(_))));
    assert!(matches!(spoiled(27, 0), Err(PageError::Implausible(_))));
    assert!(matches!(Page::decode(&[0xff; SIZE]), Err(PageError::Updating)));
}

#[test]
fn the_page_is_found_in_new_and_old_maps() {
    let new = "7f0000000000-7f0000004000 r--p 00000000 00:00 0                          [vvar]\n\
               7f0000004000-7f0000006000 r--p 00000000 00:00 0                          [vvar_vclock]\n";
    assert_eq!(page_address(new), Some(0x7f00_0000_4000));
    let old = "7ffd10000000-7ffd10004000 r--p 00000000 00:00 0                          [vvar]\n";
    assert_eq!(page_address(old), Some(0x7ffd_1000_1000));
    let one_page = "7ffd10000000-7ffd10001000 r--p 00000000 00:00 0                          [vvar]\n";
    assert_eq!(page_address(one_page), None);
    assert_eq!(page_address("nonsense\n- [vvar]\n"), None);
}

#[test]
fn this_machine_has_a_sane_page_or_says_why_not() {
    let reader = match Reader::find() {
        Err(error) => {
            eprintln!("kvm-clock page: none ({error})");
            return;
        }
        Ok(reader) => reader,
    };
    let first = reader.observe().unwrap();
    let measured = measured_hz(Duration::from_millis(50));
    let page_hz = first.page.frequency_hz();
    eprintln!("kvm-clock page: {:?}, {page_hz:.0} Hz; the counter measured {measured:.0} Hz", first.page);
    assert!((0.5e9..=10e9).contains(&page_hz));
    assert!((page_hz / measured - 1.0).abs() < 0.01, "page {page_hz}, measured {measured}");
    let second = reader.observe().unwrap();
    let by_page = second.page.system_time_at(second.counter).saturating_sub(first.page.system_time_at(first.counter));
    let by_raw = second.after.elapsed_since(first.before);
    let difference = Duration::from_nanos(by_page).abs_diff(by_raw);
    assert!(difference < by_raw / 50, "page {by_page} ns, raw {by_raw:?}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), counter: u64) {
        if let Ok(page) = Page::decode(&bytes) {
            prop_assert!(page.frequency_hz().is_finite());
            let _ = page.system_time_at(counter);
        }
    }

    #[test]
    fn any_fields_give_a_time(tsc_timestamp: u64, system_time: u64, mul: u32, shift: i8, counter: u64) {
        let page = Page { version: 2, tsc_timestamp, system_time, mul, shift, flags: 0 };
        let _ = page.system_time_at(counter);
        prop_assert!(!page.frequency_hz().is_nan());
    }
}
