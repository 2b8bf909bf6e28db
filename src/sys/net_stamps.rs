//! What network cards can stamp, and switching that on: `ETHTOOL_GET_TS_INFO`, `SIOCSHWTSTAMP`, `SIOCGHWTSTAMP`.
//!
//! The stamps themselves come through sockets ([`socket`](super::socket), [`server_socket`](super::server_socket)).
#![allow(unsafe_code, reason = "ioctls read and fill structures that we lend to the kernel")]

use std::ffi::c_void;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::net::if_::{if_nameindex, if_nametoindex};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::config::RxFilter;

const SIOCETHTOOL: u32 = 0x8946;
const SIOCSHWTSTAMP: u32 = 0x89b0;
const SIOCGHWTSTAMP: u32 = 0x89b1;
const ETHTOOL_GET_TS_INFO: u32 = 0x41;
/// `SOF_TIMESTAMPING_TX_HARDWARE`, `_RX_HARDWARE`, `_RAW_HARDWARE`.
const TX_HARDWARE: u32 = 1;
const RX_HARDWARE: u32 = 1 << 2;
const RAW_HARDWARE: u32 = 1 << 6;
/// `HWTSTAMP_TX_ON`.
const TX_ON: i32 = 1;
/// `HWTSTAMP_FILTER_ALL`, `_PTP_V2_EVENT`, `_NTP_ALL`.
const ALL: i32 = 1;
const PTP: i32 = 12;
const NTP: i32 = 15;

/// `struct ifreq` with a pointer in its union.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut c_void,
    rest: [u8; 16],
}

/// `struct hwtstamp_config`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Config {
    flags: i32,
    tx_type: i32,
    rx_filter: i32,
}

/// `struct ethtool_ts_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Info {
    command: u32,
    flags: u32,
    phc: i32,
    tx_types: u32,
    tx_reserved: [u32; 3],
    rx_filters: u32,
    rx_reserved: [u32; 3],
}

const _: () = {
    assert!(size_of::<Request>() == size_of::<libc::ifreq>());
    assert!(size_of::<Config>() == 12);
    assert!(size_of::<Info>() == 44);
};

/// What a card can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ability {
    /// The number of its clock, `/dev/ptpN`.
    pub phc: Option<u32>,
    /// It stamps what is sent.
    pub sent: bool,
    /// It stamps at least some of what is received.
    pub received: bool,
    filters: u32,
}

/// What a card does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// It stamps what is sent.
    pub sent: bool,
    filter: i32,
}

impl Ability {
    fn from_info(info: &Info) -> Self {
        let has = |flag: u32| info.flags & flag != 0 && info.flags & RAW_HARDWARE != 0;
        Self {
            phc: if info.phc >= 0 { Some(info.phc.unsigned_abs()) } else { None },
            sent: has(TX_HARDWARE) && info.tx_types & (1 << TX_ON) != 0,
            received: has(RX_HARDWARE) && info.rx_filters & !1 != 0,
            filters: info.rx_filters,
        }
    }

    /// Whether its stamps are of any use.
    #[must_use]
    pub const fn is_useful(&self) -> bool {
        self.phc.is_some() && (self.sent || self.received)
    }

    /// The setting for what is wanted: the filter named, or the narrowest that takes NTP packets.
    #[must_use]
    pub fn setting(&self, wanted: Option<RxFilter>) -> Setting {
        let can = |filter: i32| self.received && self.filters & (1 << filter) != 0;
        let filter = match wanted {
            Some(RxFilter::None) => 0,
            Some(RxFilter::All) => ALL,
            Some(RxFilter::Ntp) => NTP,
            Some(RxFilter::Ptp) => PTP,
            None if can(NTP) => NTP,
            None if can(ALL) => ALL,
            None => 0,
        };
        Setting { sent: self.sent, filter }
    }
}

impl Setting {
    /// Whether received NTP packets are stamped, as far as the filter tells.
    #[must_use]
    pub const fn stamps_received(&self) -> bool {
        matches!(self.filter, ALL | NTP)
    }

    /// The filter in a word.
    #[must_use]
    pub const fn filter(&self) -> &'static str {
        match self.filter {
            0 => "none",
            ALL => "all",
            NTP => "ntp",
            _ => "some",
        }
    }
}

/// The interfaces of this network namespace but the loopback.
#[must_use]
pub fn interfaces() -> Vec<String> {
    let Ok(all) = if_nameindex() else { return Vec::new() };
    all.iter().map(|interface| interface.name().to_string_lossy().into_owned()).filter(|name| name != "lo").collect()
}

/// The number of an interface.
#[must_use]
pub fn index(name: &str) -> Option<u32> {
    if_nametoindex(name).ok()
}

/// What the card of an interface can stamp.
///
/// # Errors
/// The kernel's error number (also below).
pub fn ability(name: &str) -> nix::Result<Ability> {
    let mut info = Info { command: ETHTOOL_GET_TS_INFO, ..Info::default() };
    call(name, SIOCETHTOOL, &mut info)?;
    Ok(Ability::from_info(&info))
}

/// Tells the card what to stamp; it answers with what it does, which may be more.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN`, `ERANGE` for a filter that the card does not have.
pub fn set(name: &str, wanted: Setting) -> nix::Result<Setting> {
    let mut config = Config { flags: 0, tx_type: if wanted.sent { TX_ON } else { 0 }, rx_filter: wanted.filter };
    call(name, SIOCSHWTSTAMP, &mut config)?;
    Ok(Setting { sent: config.tx_type != 0, filter: config.rx_filter })
}

/// What the card was told.
///
/// # Errors
/// The kernel's error number.
pub fn get(name: &str) -> nix::Result<Setting> {
    let mut config = Config::default();
    call(name, SIOCGHWTSTAMP, &mut config)?;
    Ok(Setting { sent: config.tx_type != 0, filter: config.rx_filter })
}

fn call<T: Copy>(name: &str, number: u32, data: &mut T) -> nix::Result<()> {
    let fd: OwnedFd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut request = Request { name: [0; libc::IFNAMSIZ], data: (&raw mut *data).cast(), rest: [0; 16] };
    let bytes = name.as_bytes();
    // One byte is the end of the name.
    request.name[..libc::IFNAMSIZ - 1].get_mut(..bytes.len()).ok_or(Errno::ENODEV)?.copy_from_slice(bytes);
    // SAFETY: the request has the size of an `ifreq`, and its pointer leads to the structure that this call reads and fills, which outlives the call.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::Ioctl::from(number), &raw mut request) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_no_card() {
        assert!(index("lo").is_some() && index("nosuch0").is_none());
        // Some kernels know no ethtool calls at all; none finds a clock behind the loopback.
        assert!(!ability("lo").is_ok_and(|ability| ability.is_useful()));
        assert!(set("lo", Setting { sent: true, filter: ALL }).is_err() && get("lo").is_err());
        assert_eq!(ability("a-name-that-is-too-long").unwrap_err(), Errno::ENODEV);
        assert!(!interfaces().contains(&"lo".to_owned()));
    }

    #[test]
    fn the_narrowest_filter_that_takes_ntp_is_chosen() {
        let info = Info {
            flags: TX_HARDWARE | RX_HARDWARE | RAW_HARDWARE,
            phc: 3,
            tx_types: 3,
            rx_filters: 1 | 1 << ALL | 1 << NTP,
            ..Info::default()
        };
        let ability = Ability::from_info(&info);
        assert!(ability.is_useful() && ability.phc == Some(3));
        assert_eq!(ability.setting(None), Setting { sent: true, filter: NTP });
        assert_eq!(Ability::from_info(&Info { rx_filters: 3, ..info }).setting(None).filter(), "all");
        let ptp_only = Ability::from_info(&Info { rx_filters: 1 | 1 << PTP, ..info }).setting(None);
        assert!(ptp_only.sent && !ptp_only.stamps_received(), "only what is sent");
        assert_eq!(ability.setting(Some(RxFilter::Ptp)).filter(), "some");
        for useless in
            [Info { phc: -1, ..info }, Info { flags: TX_HARDWARE | RX_HARDWARE, ..info }, Info { tx_types: 1, rx_filters: 1, ..info }]
        {
            assert!(!Ability::from_info(&useless).is_useful(), "{useless:?}");
        }
    }
}
