//! Floor 6: all unsafe, ioctl and ABI, behind a safe API.
//!
//! Each module that needs `unsafe` opens its own fence with its reason; page decoders and
//! arithmetic are pure functions that tests and fuzzers reach without any device.

pub mod clock_set;
pub mod counter;
pub mod cpuid;
pub mod kvm;
pub mod net_stamps;
mod peek;
pub mod ptp;
pub mod pvclock;
pub mod seqlock;
pub mod server_socket;
pub mod socket;
pub mod thread;
pub mod time;
pub mod timex;
pub mod uevent;
pub mod vmclock;
pub mod vsock;
