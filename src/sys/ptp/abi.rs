//! The PTP character device's structures and ioctl numbers (`linux/ptp_clock.h`).

/// The most windows that one ioctl measures.
pub const MAX_SAMPLES: usize = 25;
/// The letter of PTP ioctls.
const PTP: u32 = 0x3d;

/// `struct ptp_clock_time`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockTime {
    /// Seconds; their sign is the sign of the whole.
    pub seconds: i64,
    /// Nanoseconds, below 10^9.
    pub nanos: u32,
    /// Unused.
    pub reserved: u32,
}

/// `struct ptp_sys_offset`: system, device, system, device, ..., system.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SysOffset {
    /// How many device readings.
    pub samples: u32,
    /// Zero.
    pub reserved: [u32; 3],
    /// The stamps.
    pub stamps: [ClockTime; 2 * MAX_SAMPLES + 1],
}

/// `struct ptp_sys_offset_extended`: triples of system, device, system.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SysOffsetExtended {
    /// How many triples.
    pub samples: u32,
    /// The clock of the system stamps (Linux 6.12 and later; zero means `CLOCK_REALTIME`).
    pub clock: u32,
    /// Zero.
    pub reserved: [u32; 2],
    /// The stamps.
    pub stamps: [[ClockTime; 3]; MAX_SAMPLES],
}

/// `struct ptp_sys_offset_precise`: three clocks at one moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SysOffsetPrecise {
    /// The device.
    pub device: ClockTime,
    /// `CLOCK_REALTIME`.
    pub realtime: ClockTime,
    /// `CLOCK_MONOTONIC_RAW`.
    pub raw: ClockTime,
    /// Zero.
    pub reserved: [u32; 4],
}

/// `struct ptp_clock_caps`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    /// Largest frequency adjustment in ppb; zero for clocks that cannot be steered.
    pub max_adjustment_ppb: i32,
    /// Programmable alarms.
    pub alarms: i32,
    /// External stamp channels.
    pub external_stamps: i32,
    /// Periodic outputs.
    pub periodic_outputs: i32,
    /// Whether it feeds a PPS.
    pub pps: i32,
    /// Pins.
    pub pins: i32,
    /// Whether `PTP_SYS_OFFSET_PRECISE` is answered.
    pub cross_timestamping: i32,
    /// Later fields.
    pub reserved: [i32; 13],
}

impl SysOffset {
    /// An empty request.
    pub(super) const fn new(samples: u32) -> Self {
        Self { samples, reserved: [0; 3], stamps: [ClockTime { seconds: 0, nanos: 0, reserved: 0 }; 2 * MAX_SAMPLES + 1] }
    }
}

impl SysOffsetExtended {
    /// An empty request.
    pub(super) const fn new(samples: u32, clock: u32) -> Self {
        let none = ClockTime { seconds: 0, nanos: 0, reserved: 0 };
        Self { samples, clock, reserved: [0; 2], stamps: [[none; 3]; MAX_SAMPLES] }
    }
}

const _: () = {
    assert!(size_of::<ClockTime>() == 16);
    assert!(size_of::<SysOffset>() == 832);
    assert!(size_of::<SysOffsetExtended>() == 1216);
    assert!(size_of::<SysOffsetPrecise>() == 64);
    assert!(size_of::<Capabilities>() == 80);
};

/// The ioctl numbers, as functions named after the kernel's constants.
#[allow(missing_docs, reason = "the macros take no documentation")]
pub mod number {
    use vmm_sys_util::{ioctl_ior_nr, ioctl_iow_nr, ioctl_iowr_nr};

    use super::{Capabilities, PTP, SysOffset, SysOffsetExtended, SysOffsetPrecise};

    ioctl_ior_nr!(PTP_CLOCK_GETCAPS, PTP, 1, Capabilities);
    ioctl_iow_nr!(PTP_SYS_OFFSET, PTP, 5, SysOffset);
    ioctl_iowr_nr!(PTP_SYS_OFFSET_PRECISE, PTP, 8, SysOffsetPrecise);
    ioctl_iowr_nr!(PTP_SYS_OFFSET_EXTENDED, PTP, 9, SysOffsetExtended);
    ioctl_iowr_nr!(PTP_SYS_OFFSET_EXTENDED2, PTP, 18, SysOffsetExtended);
}

#[cfg(test)]
mod tests {
    use super::number::*;

    #[test]
    fn numbers_are_those_of_the_kernel() {
        assert_eq!(PTP_CLOCK_GETCAPS(), 0x8050_3d01);
        assert_eq!(PTP_SYS_OFFSET(), 0x4340_3d05);
        assert_eq!(PTP_SYS_OFFSET_PRECISE(), 0xc040_3d08);
        assert_eq!(PTP_SYS_OFFSET_EXTENDED(), 0xc4c0_3d09);
        assert_eq!(PTP_SYS_OFFSET_EXTENDED2(), 0xc4c0_3d12);
    }
}
