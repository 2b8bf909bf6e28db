//! The host's side of KVM (`/dev/kvm`): which clock this machine gives to guests.
//!
//! [`ask`] makes an empty virtual machine, reads its clock, and lets it go. No guest runs and nothing outlives the
//! call. It judges nothing.
#![allow(unsafe_code, reason = "ioctls fill structures that we lend to the kernel, and return descriptors")]

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use kvm_bindings::{KVM_CAP_ADJUST_CLOCK, KVM_CAP_PTP_KVM, KVMIO};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use vmm_sys_util::ioctl::ioctl_with_val;

pub use kvm_bindings::{KVM_CLOCK_HOST_TSC, KVM_CLOCK_REALTIME, KVM_CLOCK_TSC_STABLE};

/// What KVM answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answers {
    /// `KVM_GET_API_VERSION`: 12 for ever.
    pub api_version: u32,
    /// `KVM_CAP_ADJUST_CLOCK`: the flags that `KVM_GET_CLOCK` can return; 0 if it does not exist.
    pub adjust_clock: u32,
    /// `KVM_CAP_PTP_KVM` (aarch64 alone).
    pub ptp_kvm: bool,
    /// The clock of a fresh machine; `None` where there is no such call (aarch64).
    pub clock: Option<GuestClock>,
}

/// `KVM_GET_CLOCK` on a fresh machine with one CPU, after its clock was set to zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuestClock {
    /// `KVM_CLOCK_*`.
    pub flags: u32,
    /// The host's `CLOCK_REALTIME` in nanoseconds, if the flags say so.
    pub realtime: u64,
    /// The counter's frequency for guests in kHz; `None` if KVM does not say.
    pub tsc_khz: Option<u32>,
}

/// Why KVM did not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What we asked.
    pub call: &'static str,
    /// What it said.
    pub errno: Errno,
}

#[allow(missing_docs, reason = "the macros take no documentation")]
mod number {
    use super::KVMIO;
    #[cfg(target_arch = "x86_64")]
    use kvm_bindings::kvm_clock_data;
    use vmm_sys_util::ioctl_io_nr;
    #[cfg(target_arch = "x86_64")]
    use vmm_sys_util::{ioctl_ior_nr, ioctl_iow_nr};

    ioctl_io_nr!(KVM_GET_API_VERSION, KVMIO, 0x00);
    ioctl_io_nr!(KVM_CHECK_EXTENSION, KVMIO, 0x03);
    #[cfg(target_arch = "x86_64")]
    ioctl_io_nr!(KVM_CREATE_VM, KVMIO, 0x01);
    #[cfg(target_arch = "x86_64")]
    ioctl_io_nr!(KVM_CREATE_VCPU, KVMIO, 0x41);
    #[cfg(target_arch = "x86_64")]
    ioctl_io_nr!(KVM_GET_TSC_KHZ, KVMIO, 0xa3);
    #[cfg(target_arch = "x86_64")]
    ioctl_iow_nr!(KVM_SET_CLOCK, KVMIO, 0x7b, kvm_clock_data);
    #[cfg(target_arch = "x86_64")]
    ioctl_ior_nr!(KVM_GET_CLOCK, KVMIO, 0x7c, kvm_clock_data);
}

/// Opens the device and asks all there is to ask.
///
/// # Errors
/// The first call that failed.
pub fn ask(device: &Path) -> Result<Answers, Refusal> {
    let open = nix::fcntl::open(device, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
    let kvm = open.map_err(|errno| Refusal { call: "open", errno })?;
    let api_version = call(&kvm, "KVM_GET_API_VERSION", number::KVM_GET_API_VERSION(), 0)?;
    let extension = |which| call(&kvm, "KVM_CHECK_EXTENSION", number::KVM_CHECK_EXTENSION(), which);
    let adjust_clock = extension(KVM_CAP_ADJUST_CLOCK)?;
    let ptp_kvm = extension(KVM_CAP_PTP_KVM)? != 0;
    Ok(Answers { api_version, adjust_clock, ptp_kvm, clock: guest_clock(&kvm)? })
}

/// The clock of a machine made for the purpose. KVM decides whether a machine's clock can follow the counter when a CPU
/// first runs or when the clock is set: so it is set.
#[cfg(target_arch = "x86_64")]
fn guest_clock(kvm: &OwnedFd) -> Result<Option<GuestClock>, Refusal> {
    use kvm_bindings::kvm_clock_data;
    use vmm_sys_util::ioctl::{ioctl_with_mut_ref, ioctl_with_ref};

    let machine = descriptor(call(kvm, "KVM_CREATE_VM", number::KVM_CREATE_VM(), 0)?);
    let cpu = descriptor(call(&machine, "KVM_CREATE_VCPU", number::KVM_CREATE_VCPU(), 0)?);
    let zero = kvm_clock_data::default();
    // SAFETY: the structure has the size that the ioctl number states and outlives the call.
    let set = unsafe { ioctl_with_ref(&machine, number::KVM_SET_CLOCK(), &zero) };
    Errno::result(set).map_err(|errno| Refusal { call: "KVM_SET_CLOCK", errno })?;
    let mut data = kvm_clock_data::default();
    // SAFETY: as above; the kernel fills it.
    let got = unsafe { ioctl_with_mut_ref(&machine, number::KVM_GET_CLOCK(), &mut data) };
    Errno::result(got).map_err(|errno| Refusal { call: "KVM_GET_CLOCK", errno })?;
    let tsc_khz = call(&cpu, "KVM_GET_TSC_KHZ", number::KVM_GET_TSC_KHZ(), 0).ok();
    Ok(Some(GuestClock { flags: data.flags, realtime: data.realtime, tsc_khz }))
}

#[cfg(not(target_arch = "x86_64"))]
fn guest_clock(_: &OwnedFd) -> Result<Option<GuestClock>, Refusal> {
    Ok(None)
}

fn call(fd: &impl AsRawFd, name: &'static str, number: libc::c_ulong, argument: u32) -> Result<u32, Refusal> {
    // SAFETY: these calls take a number and touch no memory of ours.
    let answer = unsafe { ioctl_with_val(fd, number, libc::c_ulong::from(argument)) };
    let answer = Errno::result(answer).map_err(|errno| Refusal { call: name, errno })?;
    // Not negative, or it would be an error.
    u32::try_from(answer).map_err(|_| Refusal { call: name, errno: Errno::EINVAL })
}

#[cfg(target_arch = "x86_64")]
fn descriptor(number: u32) -> OwnedFd {
    use std::os::fd::FromRawFd;

    let number = i32::try_from(number).unwrap_or(-1);
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn numbers_are_those_of_the_kernel() {
        assert_eq!(number::KVM_GET_API_VERSION(), 0xae00);
        assert_eq!(number::KVM_CHECK_EXTENSION(), 0xae03);
        assert_eq!(number::KVM_SET_CLOCK(), 0x4030_ae7b);
        assert_eq!(number::KVM_GET_CLOCK(), 0x8030_ae7c);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_fresh_machine_has_a_clock() {
        match ask(Path::new("/dev/kvm")) {
            Ok(answers) => {
                assert_eq!(answers.api_version, 12);
                let clock = answers.clock.unwrap();
                assert_eq!(clock.flags & !answers.adjust_clock, 0, "{answers:?}");
                assert_eq!(clock.flags & KVM_CLOCK_REALTIME != 0, clock.realtime != 0, "{answers:?}");
            }
            Err(refusal) => {
                assert_eq!(refusal.call, "open", "{refusal:?}");
                eprintln!("not tried: /dev/kvm: {}", refusal.errno.desc());
            }
        }
    }

    #[test]
    fn what_is_no_kvm_is_refused() {
        assert_eq!(ask(Path::new("/nowhere/kvm")), Err(Refusal { call: "open", errno: Errno::ENOENT }));
        assert_eq!(ask(Path::new("/dev/null")), Err(Refusal { call: "KVM_GET_API_VERSION", errno: Errno::ENOTTY }));
    }
}
