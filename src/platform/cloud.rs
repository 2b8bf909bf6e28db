//! Which cloud this is (by DMI, never by address: clouds share link-local addresses) and which
//! NTP servers it gives to its guests.

use std::fmt;

use super::evidence::Dmi;
use super::table::{CLOUDS, CloudFacts};
use crate::units::Timescale;

/// A cloud.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cloud {
    /// Amazon EC2.
    Aws,
    /// Google Compute Engine.
    Google,
    /// Microsoft Azure.
    Azure,
    /// Oracle Cloud.
    Oracle,
    /// Alibaba Cloud.
    Alibaba,
    /// NAVER Cloud.
    Naver,
    /// Hetzner Cloud.
    Hetzner,
    /// DigitalOcean.
    DigitalOcean,
    /// IBM Cloud.
    Ibm,
    /// Some OpenStack.
    OpenStack,
    /// None that we know.
    Unknown,
}

/// What in DMI gives a cloud away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// `sys_vendor` is this.
    Vendor(&'static str),
    /// `product_name` is this.
    Product(&'static str),
    /// `chassis_asset_tag` is this, in whatever case.
    Tag(&'static str),
    /// `bios_version` contains this, in whatever case.
    BiosVersion(&'static str),
    /// Any field contains this, in whatever case.
    Anywhere(&'static str),
}

impl Mark {
    fn is_on(self, dmi: &Dmi) -> bool {
        match self {
            Self::Vendor(name) => dmi.sys_vendor == name,
            Self::Product(name) => dmi.product_name == name,
            Self::Tag(tag) => dmi.chassis_asset_tag.eq_ignore_ascii_case(tag),
            Self::BiosVersion(part) => dmi.bios_version.to_lowercase().contains(part),
            Self::Anywhere(word) => dmi.mentions(word),
        }
    }
}

impl Cloud {
    /// Its row of the table.
    #[must_use]
    pub fn facts(self) -> &'static CloudFacts {
        CLOUDS.iter().find(|row| row.cloud == self).unwrap_or(&CLOUDS[CLOUDS.len() - 1])
    }

    /// Lower-case word for tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.facts().word
    }

    /// The cloud and what gave it away.
    pub(super) fn detect(dmi: &Dmi) -> (Self, &'static str) {
        let found = CLOUDS.iter().find(|row| row.marks.iter().any(|mark| mark.is_on(dmi)));
        match found {
            Some(row) => (row.cloud, row.reason),
            None if dmi.is_empty() => (Self::Unknown, "there is no DMI to tell"),
            None => (Self::Unknown, Self::Unknown.facts().reason),
        }
    }

    /// The servers to use here. `ipv6` says whether this machine has a routable IPv6 address.
    #[must_use]
    pub fn ntp(self, ipv6: bool) -> Vec<NtpSource> {
        self.facts().servers.iter().filter(|source| ipv6 || !source.ipv6).copied().collect()
    }
}

/// An NTP server or pool to use, with its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NtpSource {
    /// Address or name.
    pub address: &'static str,
    /// Whether it is of use only with IPv6.
    pub ipv6: bool,
    /// Whether the name stands for many servers, and how many of them to use.
    pub maxsources: Option<u8>,
    /// log2 of the shortest interval in seconds.
    pub minpoll: Option<i8>,
    /// log2 of the longest interval in seconds.
    pub maxpoll: Option<i8>,
    /// Begin with a burst.
    pub iburst: bool,
    /// Follow it rather than others.
    pub prefer: bool,
    /// What it hands out.
    pub timescale: Timescale,
    /// What to know about it; empty if nothing.
    pub note: &'static str,
}

impl NtpSource {
    /// The public pool.
    pub(super) const POOL: Self = Self { maxsources: Some(4), ..Self::server("pool.ntp.org") };

    /// A server that hands out UTC.
    pub(super) const fn server(address: &'static str) -> Self {
        Self {
            address,
            ipv6: false,
            maxsources: None,
            minpoll: None,
            maxpoll: None,
            iburst: true,
            prefer: false,
            timescale: Timescale::Utc,
            note: "",
        }
    }
}

/// The line of configuration that stands for the source.
impl fmt::Display for NtpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.maxsources.is_some() { "pool" } else { "server" }, self.address)?;
        if self.prefer {
            write!(f, " prefer")?;
        }
        if self.iburst {
            write!(f, " iburst")?;
        }
        for (option, value) in [("minpoll", self.minpoll), ("maxpoll", self.maxpoll)] {
            if let Some(value) = value {
                write!(f, " {option} {value}")?;
            }
        }
        self.maxsources.map_or(Ok(()), |count| write!(f, " maxsources {count}"))
    }
}
