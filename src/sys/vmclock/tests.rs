use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::core::Generation;
use crate::units::{Leap, Timescale, Timestamp};

/// A page under construction.
struct Draft([u8; SIZE]);

impl Draft {
    fn put<const N: usize>(mut self, at: usize, bytes: [u8; N]) -> Self {
        self.0[at..at + N].copy_from_slice(&bytes);
        self
    }

    fn u64(self, at: usize, value: u64) -> Self {
        self.put(at, value.to_le_bytes())
    }

    fn page(&self) -> Page {
        Page::decode(&self.0).unwrap()
    }
}

const OURS: u8 = if cfg!(target_arch = "aarch64") { 0 } else { 1 };

/// A synchronized UTC page for a 1 GHz counter: at tick 1000 it was 2023-11-14T22:13:20.5.
fn good() -> Draft {
    Draft([0; SIZE])
        .put(0, MAGIC.to_le_bytes())
        .put(4, 112_u32.to_le_bytes())
        .put(8, 1_u16.to_le_bytes())
        .put(10, [OURS])
        .put(12, 4_u32.to_le_bytes())
        .u64(16, 7)
        .u64(24, 1 | (1 << 4) | (1 << 6) | (1 << 8))
        .put(34, [2])
        .put(36, 37_i16.to_le_bytes())
        .put(38, [1])
        .put(39, [29])
        .u64(40, 1000)
        // 2^(64+29) / 10^9
        .u64(48, 9_903_520_314_283_042_199)
        // 10 ppm of that
        .u64(64, 99_035_203_142_830)
        .u64(72, 1_700_000_000)
        .u64(80, 1 << 63)
        .u64(96, 250)
        .u64(104, 3)
}

const MAGIC: u32 = 0x4b4c_4356;

#[test]
fn a_good_page_tells_the_time() {
    let page = good().page();
    assert_eq!(page.timescale(), Some(Timescale::Utc));
    assert_eq!(page.tai_offset, Some(37));
    assert_eq!(page.leap(), Leap::Insert);
    assert_eq!(page.generation, Generation { disruption_marker: 7, vm_generation: Some(3) });
    let start = Timestamp::from_parts(1_700_000_000, 500_000_000);
    let moment = page.time_at(1000).unwrap();
    assert_eq!((moment.time, moment.max_error), (start, Some(Duration::from_nanos(251))));
    // Two seconds of ticks later: two seconds more, and 10 ppm of them uncertain.
    let moment = page.time_at(2_000_001_000).unwrap();
    assert!(moment.time.since(start).nanos().abs_diff(2_000_000_000) <= 1, "{moment:?}");
    assert!(moment.max_error.unwrap().as_nanos().abs_diff(20_250) <= 2, "{moment:?}");
    // A CPU that lags a little behind the one that wrote the page.
    let moment = page.time_at(400).unwrap();
    assert!(moment.time.since(start).nanos().abs_diff(-600) <= 1, "{moment:?}");
}

#[test]
fn the_fraction_carries_into_the_seconds() {
    let page = good().u64(80, u64::MAX).page();
    assert!(page.time_at(1001).unwrap().time.since(Timestamp::from_parts(1_700_000_001, 0)).nanos().abs() <= 1);
}

#[test]
fn fields_beyond_the_stated_size_are_not_read() {
    let before_generation = good().put(4, 104_u32.to_le_bytes()).page();
    assert_eq!(before_generation.generation.vm_generation, None);
    assert!(before_generation.time_at(1000).is_ok());
    let smallest = good().put(4, 32_u32.to_le_bytes()).page();
    assert_eq!((smallest.tai_offset, smallest.line, smallest.status), (None, None, ClockStatus::Unknown));
    assert!(smallest.is_signal_only());
    assert_eq!(smallest.generation, Generation { disruption_marker: 7, vm_generation: None });
    // A size that promises more than there is does not help.
    assert_eq!(Page::decode(&good().put(4, u32::MAX.to_le_bytes()).0[..100]).unwrap().generation.vm_generation, None);
}

#[test]
fn flags_say_which_fields_hold() {
    let page = good().u64(24, 0).page();
    assert_eq!((page.tai_offset, page.generation.vm_generation), (None, None));
    assert_eq!(page.time_at(1000).unwrap().max_error, None);
}

#[test]
fn bad_pages_are_refused_with_the_reason() {
    assert_eq!(Page::decode(&good().0[..31]), Err(PageError::Short(31)));
    assert_eq!(Page::decode(&good().put(4, 8_u32.to_le_bytes()).0), Err(PageError::Short(8)));
    assert_eq!(Page::decode(&good().put(0, [0]).0), Err(PageError::Magic(0x4b4c_4300)));
    assert_eq!(Page::decode(&good().put(8, [2]).0), Err(PageError::Version(2)));
    assert_eq!(Page::decode(&good().put(12, [5]).0), Err(PageError::Updating));
    let reason = |draft: Draft, counter: u64| draft.page().time_at(counter).unwrap_err().to_string();
    assert!(reason(good().put(11, [2]), 1000).contains("time type 2"));
    assert!(reason(good().put(10, [1 - OURS]), 1000).contains("another counter"));
    assert!(reason(good().put(34, [4]), 1000).contains("Unreliable"));
    assert!(reason(good().put(34, [0]), 1000).contains("Unknown"));
    assert!(reason(good().u64(40, 3_000_000_000), 1000).contains("ahead of the counter"));
}

#[test]
fn a_free_running_clock_needs_a_largest_error() {
    assert!(good().put(34, [3]).page().time_at(1000).is_ok());
    assert!(good().put(34, [3]).u64(24, 0).page().time_at(1000).is_err());
}

#[test]
fn tai_and_smeared_time_are_told_apart() {
    assert_eq!(good().put(11, [1]).page().timescale(), Some(Timescale::Tai));
    assert_eq!(good().put(11, [3]).page().timescale(), Some(Timescale::Smeared));
    assert_eq!(good().put(11, [4]).page().timescale(), Some(Timescale::Unknown));
    assert_eq!(good().put(11, [9]).page().timescale(), None);
}

#[test]
fn a_stated_error_grows_with_the_counter_by_what_is_known_of_the_period() {
    let second = 1_000_000_000 + 1000;
    let nanos = |draft: Draft| draft.page().time_at(second).unwrap().max_error.map(|error| error.as_nanos());
    let about = |draft: Draft, expected: u128| nanos(draft).is_some_and(|found| found.abs_diff(expected) <= 2);
    let flags = |bits: &[u32]| bits.iter().fold(0_u64, |flags, bit| flags | 1 << bit);
    // Largest errors of time and period: 250 ns and 10 ppm.
    assert!(about(good(), 10_251));
    // Nothing is stated of the period: 50 ppm.
    assert!(about(good().u64(24, flags(&[6])), 50_251));
    // Estimates alone count four times: 40 ns and 1 ppm.
    let estimates = || good().u64(88, 40).u64(56, 9_903_520_314_283).u64(24, flags(&[3, 5]));
    assert!(about(estimates(), 4_161));
    // What is largest comes before what is estimated.
    assert!(about(estimates().u64(24, flags(&[3, 4, 5, 6])), 10_251));
    // And of time nothing at all.
    assert_eq!(nanos(good().u64(24, flags(&[3, 4]))), None);
}

#[test]
fn what_the_host_announces_is_read() {
    assert_eq!(good().page().disruption_within(), None);
    assert_eq!(good().u64(24, 1 << 1).page().disruption_within(), Some(Duration::from_secs(86_400)));
    assert_eq!(good().u64(24, 3 << 1).page().disruption_within(), Some(Duration::from_secs(3_600)));
    let hint = |value: u8| good().put(35, [value]).page().smearing_hint;
    assert_eq!(
        [hint(0), hint(1), hint(2), hint(9)],
        [SmearingHint::Strict, SmearingHint::NoonLinear, SmearingHint::UtcSls, SmearingHint::Other(9)]
    );
    for (indicator, leap) in
        [(0, Leap::Normal), (1, Leap::Insert), (2, Leap::Delete), (3, Leap::Insert), (4, Leap::Normal), (5, Leap::Normal)]
    {
        assert_eq!(good().put(38, [indicator]).page().leap(), leap);
    }
}

/// A regular file can stand in for the device.
fn device(bytes: &[u8]) -> (tempfile::NamedTempFile, Device) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let device = Device::open(file.path()).unwrap();
    (file, device)
}

#[test]
fn the_device_is_read_against_the_real_counter() {
    let now = counter::now();
    let (_file, device) = device(&good().u64(40, now).0);
    let reading = device.read().unwrap();
    assert!(reading.before <= reading.after);
    assert!(reading.reference >= Timestamp::from_parts(1_700_000_000, 500_000_000));
    assert_eq!(reading.generation.unwrap().disruption_marker, 7);
}

#[test]
fn a_signal_only_device_gives_its_counters() {
    // As Firecracker and QEMU offer it.
    let (_file, device) = device(&good().put(10, [255]).put(34, [0]).0);
    let ReadError::SignalOnly { generation, .. } = device.read().unwrap_err() else { panic!("not signal-only") };
    assert_eq!(generation, Generation { disruption_marker: 7, vm_generation: Some(3) });
}

#[test]
fn absent_empty_short_and_torn_devices_are_errors() {
    assert!(matches!(Device::open(Path::new("/nonexistent/vmclock0")), Err(ReadError::Absent { .. })));
    // Touching the mapping of an empty file would raise SIGBUS.
    assert!(matches!(device(&[]).1.read(), Err(ReadError::Absent { .. })));
    assert!(matches!(device(&good().0[..20]).1.read(), Err(ReadError::Invalid { .. })));
    let torn = device(&good().put(12, [5]).0).1.read().unwrap_err();
    assert!(torn.to_string().contains("updating"), "{torn}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..160), counter: u64) {
        if let Ok(page) = Page::decode(&bytes) {
            let _ = page.time_at(counter);
        }
    }

    #[test]
    fn arbitrary_fields_behind_a_good_head_never_panic(tail in proptest::collection::vec(any::<u8>(), SIZE - 34), counter: u64) {
        let mut draft = good();
        draft.0[34..].copy_from_slice(&tail);
        let page = draft.put(34, [2]).page();
        let _ = (page.time_at(counter), page.leap());
    }
}
